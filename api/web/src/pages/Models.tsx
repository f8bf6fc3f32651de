import { Collapse } from 'antd'
import type { EChartsOption } from 'echarts'
import { useMemo, type ReactNode } from 'react'
import { api, type Card } from '../api'
import { Chart } from '../components/Chart'
import { Meter, PageHead, Section } from '../components/Parts'
import { EmptyState, Load, Num } from '../components/State'
import { useFormats, type Formats } from '../context'
import { useLoad, useTitle } from '../hooks'
import { has, useText, type Key, type T } from '../i18n'
import { color } from '../theme'
import { featureName } from '../words'

const better: Record<string, Key> = {
  auc: 'mm.higher',
  pr_auc: 'mm.higher',
  ngini: 'mm.higher',
  spearman: 'mm.higher',
  top_decile_share: 'mm.higher',
  log_loss: 'mm.lower',
  brier: 'mm.lower',
  ece: 'mm.lower',
  mae: 'mm.lower',
  rmse: 'mm.lower',
  bias: 'mm.near0',
  calibration: 'mm.near1',
}
const shownOf = { churn: ['auc', 'log_loss', 'brier', 'ece'], ltv: ['ngini', 'spearman', 'top_decile_share', 'mae', 'bias', 'calibration'] } as const

function metricText(f: Formats, name: string, x: number): string {
  if (name === 'top_decile_share') return f.percent(x)
  if (name === 'mae' || name === 'rmse') return f.money(x)
  if (name === 'bias') return Math.abs(x) <= 5 ? f.percent(x, { signed: true }) : f.money(x, true)
  return f.number(x, 4)
}

/** A learner or rule in words; one that nobody translated keeps its name. */
function learnerName(t: (key: Key) => string, name: string): string {
  const key = `learner.${name}`
  if (has(key)) return t(key)
  const feature = featureName(t as T, name)
  return feature
}

/** The model beside simple rules and other learners, on the same test period. */
function Comparison({ c }: { c: Card }) {
  const { t } = useText()
  const f = useFormats()
  const rows = [
    { name: c.learner, kind: 'model' as const, values: c.metrics },
    ...Object.entries(c.baselines ?? {}).map(([name, values]) => ({ name, kind: 'baseline' as const, values })),
    ...Object.entries(c.candidates ?? {}).filter(([name]) => name !== c.learner).map(([name, values]) => ({ name, kind: 'candidate' as const, values })),
  ]
  const columns = shownOf[c.target].filter((m) => rows.some((r) => typeof r.values[m] === 'number'))
  const label = (m: string) => (has(`mm.${m}`) ? t(`mm.${m}` as Key) : m)
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t('model.metrics')}>
      <table className="plain rows">
        <thead>
          <tr>
            <th scope="col">{t('model.col.learner')}</th>
            {columns.map((m) => (
              <th scope="col" key={m} className="num">
                {label(m)}
                {better[m] && <span className="quiet small block">{t(better[m])}</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={`${r.kind}/${r.name}`} className={r.kind === 'model' ? 'own' : ''}>
              <th scope="row">
                <span title={r.name}>{learnerName(t, r.name)}</span> <span className={`role role-${r.kind}`}>{t(`model.kind.${r.kind}`)}</span>
              </th>
              {columns.map((m) => {
                const [low, high] = [r.values[`${m}_low`], r.values[`${m}_high`]]
                return (
                  <td key={m} className="num">
                    <Num x={r.values[m]} format={(x) => metricText(f, m, x)} />
                    {typeof low === 'number' && typeof high === 'number' && <span className="quiet small block">{t('model.interval', { low: metricText(f, m, low), high: metricText(f, m, high) })}</span>}
                  </td>
                )
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Said against seen: a calibrated model lies on the diagonal. */
function Calibration({ c }: { c: Card }) {
  const { t } = useText()
  const f = useFormats()
  const bins = useMemo(() => (c.calibration ?? []).filter((b) => b.n > 0), [c])
  const churn = c.target === 'churn'
  const text = churn ? (x: number) => f.percent(x, { digits: 0 }) : f.moneyShort
  const option = useMemo<EChartsOption>(() => {
    const top = churn ? 1 : Math.max(...bins.flatMap((b) => [b.predicted, b.observed]), 1) * 1.05
    const most = Math.max(...bins.map((b) => b.n), 1)
    const axis = (name: string) => ({
      type: 'value' as const,
      name,
      nameLocation: 'middle' as const,
      nameGap: 30,
      min: 0,
      max: top,
      nameTextStyle: { color: color.inkSoft },
      axisLabel: { color: color.inkSoft, formatter: (x: number) => text(x), hideOverlap: true },
      splitLine: { lineStyle: { color: color.line } },
      ...(churn ? { interval: 0.25 } : { splitNumber: 4 }),
    })
    return {
      grid: { left: 34, right: 16, top: 12, bottom: 28, containLabel: true },
      xAxis: axis(t('model.calibration.predicted')),
      yAxis: { ...axis(t('model.calibration.observed')), nameGap: churn ? 42 : 54 },
      tooltip: {
        trigger: 'item',
        formatter: (p: unknown) => {
          const b = bins[(p as { dataIndex: number }).dataIndex]
          return b ? `${t('model.calibration.predicted')} ${text(b.predicted)}<br>${t('model.calibration.observed')} ${text(b.observed)}<br>${t('model.calibration.n')} ${f.number(b.n, 0)}` : ''
        },
      },
      series: [
        { type: 'line', name: t('model.calibration.perfect'), data: [[0, 0], [top, top]], showSymbol: false, silent: true, tooltip: { show: false }, lineStyle: { color: '#8a918d', type: 'dashed', width: 1.5 } },
        {
          type: 'line',
          name: t('model.calibration.observed'),
          data: bins.map((b) => ({ value: [b.predicted, b.observed], symbolSize: 7 + 6 * Math.sqrt(b.n / most) })),
          symbol: 'circle',
          lineStyle: { color: color.pine, width: 1.5 },
          itemStyle: { color: color.pine, borderColor: '#fff', borderWidth: 1.5 },
        },
      ],
    }
  }, [bins, churn, t, f])
  if (bins.length === 0) return null
  return (
    <div>
      <h3>{t('model.calibration')}</h3>
      <p className="quiet small tight">{t(churn ? 'model.calibration.lead' : 'model.calibration.lead.ltv')}</p>
      <Chart option={option} height={300} label={`${t('model.calibration')}: ${bins.map((b) => `${text(b.predicted)} → ${text(b.observed)}`).join(', ')}`} />
    </div>
  )
}

function Importance({ c }: { c: Card }) {
  const { t } = useText()
  const f = useFormats()
  const top = [...(c.importance ?? [])].sort((a, b) => b.share - a.share).slice(0, 10)
  if (top.length === 0) return null
  const most = top[0]?.share || 1
  return (
    <div>
      <h3>{t('model.importance')}</h3>
      <p className="quiet small tight">{t('model.importance.lead')}</p>
      <ul className="bars">
        {top.map((i) => (
          <li key={i.feature}>
            <span title={i.feature}>{featureName(t, i.feature)}</span>
            <Meter share={i.share / most}>{f.percent(i.share, { digits: 1 })}</Meter>
          </li>
        ))}
      </ul>
    </div>
  )
}

function plain(t: (key: Key, v?: Record<string, string>) => string, f: Formats, c: Card): ReactNode {
  const [key, metric] = c.target === 'churn' ? (['model.churn.plain', c.metrics.auc] as const) : (['model.ltv.plain', c.metrics.top_decile_share] as const)
  return typeof metric === 'number' ? t(key, { share: f.percent(metric, { digits: 0 }) }) : undefined
}

/** The card whose figures judge a model: its own, or the newest backtest of the same learner when it was refitted on everything. */
export function judgedBy(c: Card, all: Card[]): Card | undefined {
  const judged = (x: Card) => x.rows_test > 0 && Object.keys(x.metrics ?? {}).length > 0
  if (judged(c)) return c
  const same = all.filter((x) => x.target === c.target && x.horizon_days === c.horizon_days && judged(x))
  return same.find((x) => x.learner === c.learner) ?? undefined
}

function CardView({ c, all }: { c: Card; all: Card[] }) {
  const { t } = useText()
  const f = useFormats()
  const j = judgedBy(c, all)
  const role = c.role === 'champion' || c.role === 'challenger' ? t(`model.role.${c.role}`) : c.role
  return (
    <Section
      title={
        <>
          {t(`model.${c.target}`)} <span className={`pill ${c.role === 'champion' ? 'status-running' : 'status-draft'}`}>{role}</span>
        </>
      }
      lead={j && plain(t, f, j)}
      aside={<code className="quiet small">{c.version}</code>}
    >
      <ul className="facts">
        <li>{t('model.horizon', { days: c.horizon_days })}</li>
        {c.of && has(`model.of.${c.of}`) && <li>{t(`model.of.${c.of}` as Key)}</li>}
        {j && <li>{t('model.trained', { train: (j.train_as_of ?? []).map((d) => f.day(d)).join(', '), test: f.day(j.test_as_of) })}</li>}
        {j && <li>{t('model.rows', { train: f.number(j.rows_train, 0), test: f.number(j.rows_test, 0) })}</li>}
      </ul>
      {j !== c && <p className="quiet small">{j ? t('model.judged', { version: j.version }) : t('model.unjudged')}</p>}
      {j && (
        <>
          <h3>{t('model.metrics')}</h3>
          <p className="quiet small tight">{t('model.metrics.lead')}</p>
          <Comparison c={j} />
        </>
      )}
      <div className="two inner">
        {j && <Calibration c={j} />}
        <Importance c={c} />
      </div>
      <Collapse
        ghost
        items={[
          { key: 'features', label: t('model.features', { n: c.features?.length ?? 0 }), children: <p className="small">{(c.features ?? []).map((n) => featureName(t, n)).join(' · ')}</p> },
          ...(c.parameters ? [{ key: 'parameters', label: t('model.parameters'), children: <pre className="sql">{JSON.stringify(c.parameters, null, 2)}</pre> }] : []),
          ...(c.notes?.length ? [{ key: 'notes', label: t('model.notes'), children: <ul className="bullets">{c.notes.map((n) => <li key={n}>{n}</li>)}</ul> }] : []),
        ]}
      />
    </Section>
  )
}

export default function Models() {
  const { t } = useText()
  const f = useFormats()
  useTitle(t('model.title'))
  const load = useLoad((s) => api.models(s), [])
  return (
    <>
      <PageHead title={t('model.title')} lead={t('model.lead')} />
      <Load from={load}>
        {(all) => {
          if (all.length === 0) return <EmptyState title={t('model.none.title')} text={t('model.none.text')} command={'perennial train churn --help\nperennial nightly'} />
          // The model in use per target is shown in full, or the newest where none is in use yet; the others follow as a list.
          const main = (['churn', 'ltv'] as const).flatMap((target) => {
            const mine = all.filter((c) => c.target === target)
            const shown = mine.find((c) => c.role === 'champion') ?? mine[0]
            return shown ? [shown] : []
          })
          const rest = all.filter((c) => !main.includes(c))
          return (
            <>
              {main.map((c) => (
                <CardView key={c.version} c={c} all={all} />
              ))}
              {rest.length > 0 && (
                <Section title={t('model.older')}>
                  <div className="scroll" tabIndex={0} role="region" aria-label={t('model.older')}>
                    <table className="plain rows">
                      <thead>
                        <tr>
                          <th scope="col">{t('model.version')}</th>
                          <th scope="col">{t('model.col.learner')}</th>
                          <th scope="col" className="num">{`${t('mm.auc')} / ${t('mm.ngini')}`}</th>
                        </tr>
                      </thead>
                      <tbody>
                        {rest.map((c) => (
                          <tr key={c.version}>
                            <th scope="row" className="mono">
                              {c.version}
                            </th>
                            <td>
                              {learnerName(t, c.learner)} · {t(`model.${c.target}`)}
                            </td>
                            <td className="num">
                              <Num x={c.target === 'churn' ? c.metrics.auc : c.metrics.ngini} format={(x) => f.number(x, 4)} />
                            </td>
                          </tr>
                        ))}
                      </tbody>
                    </table>
                  </div>
                </Section>
              )}
            </>
          )
        }}
      </Load>
    </>
  )
}

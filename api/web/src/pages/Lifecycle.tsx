import { Segmented, Select } from 'antd'
import type { EChartsOption } from 'echarts'
import { useMemo, useState } from 'react'
import { api, ApiError, type Cohorts, type Economics, type Retention, type StageHistory, type Transitions } from '../api'
import { Chart } from '../components/Chart'
import { Figure, PageHead, Section, StageTag } from '../components/Parts'
import { EmptyState, Load, Num } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useNarrow, useTitle } from '../hooks'
import { useText } from '../i18n'
import { color, stageColors } from '../theme'
import { say, stageName } from '../words'

const stages = ['prospect', 'new', 'active', 'loyal', 'reactivated', 'declining', 'lapsed']

/** How many customers stood in each phase, day by day, in the words of the chosen vocabulary. */
function HistoryChart({ data }: { data: StageHistory }) {
  const { t, lang } = useText()
  const f = useFormats()
  const narrow = useNarrow()
  const phases = useMemo(() => data.vocabulary.phases.filter((p) => !p.goal), [data])
  const option = useMemo<EChartsOption>(
    () => ({
      grid: { left: 4, right: 12, top: narrow ? 84 : 44, bottom: 4, containLabel: true },
      legend: { top: 0, left: 0, icon: 'roundRect', itemWidth: 12, itemHeight: 12, textStyle: { color: color.ink, fontSize: 13 } },
      tooltip: { trigger: 'axis', valueFormatter: (v) => f.number(Number(v), 0) },
      xAxis: { type: 'category', boundaryGap: false, data: data.days.map((d) => f.day(d.date)), axisTick: { show: false }, axisLabel: { color: color.inkSoft }, axisLine: { lineStyle: { color: '#8a918d' } } },
      yAxis: { type: 'value', axisLabel: { color: color.inkSoft, formatter: (x: number) => f.number(x, 0) }, splitLine: { lineStyle: { color: color.line } } },
      series: phases.map((p) => ({
        type: 'line',
        stack: 'all',
        name: say(lang, p.label),
        symbol: 'none',
        lineStyle: { width: 1 },
        areaStyle: { opacity: 0.85 },
        color: stageColors[p.stages?.[p.stages.length - 1] ?? ''] ?? '#999',
        data: data.days.map((d) => d.phases[p.key] ?? 0),
      })),
    }),
    [data, phases, f, lang, narrow],
  )
  const last = data.days[data.days.length - 1]
  return <Chart option={option} height={narrow ? 320 : 340} label={`${t('life.history')}: ${phases.map((p) => `${say(lang, p.label)} ${f.number(last?.phases[p.key] ?? 0, 0)}`).join(', ')}`} />
}

/** From the stage in the row to the stage in the column; who stayed is not counted. */
function Moves({ data }: { data: Transitions }) {
  const { t } = useText()
  const f = useFormats()
  const users = new Map(data.sum.map((m) => [`${m.from} ${m.to}`, m.users]))
  const most = Math.max(1, ...data.sum.map((m) => m.users))
  const rows = stages.filter((s) => data.sum.some((m) => m.from === s))
  const columns = stages.filter((s) => data.sum.some((m) => m.to === s))
  if (rows.length === 0) return <p className="quiet">{t('life.moves.none')}</p>
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t('life.moves')}>
      <table className="heat">
        <thead>
          <tr>
            <th scope="col">{t('life.moves.from')}</th>
            {columns.map((s) => (
              <th scope="col" key={s} className="num">
                {stageName(t, s)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((from) => (
            <tr key={from}>
              <th scope="row">
                <StageTag stage={from} />
              </th>
              {columns.map((to) => {
                const n = users.get(`${from} ${to}`)
                return (
                  <td key={to} className="num" style={n ? { background: `rgba(79, 155, 125, ${0.08 + (0.42 * n) / most})` } : undefined}>
                    {n ? f.number(n, 0) : <span className="quiet">·</span>}
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

function Comeback({ data }: { data: Retention }) {
  const { t } = useText()
  const f = useFormats()
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t('life.retention')}>
      <table className="plain rows">
        <thead>
          <tr>
            <th scope="col">{t('life.retention.day')}</th>
            <th scope="col" className="num">{t('life.retention.users')}</th>
            <th scope="col" className="num">{t('life.retention.classic')}</th>
            <th scope="col" className="num">{t('life.retention.unbounded')}</th>
          </tr>
        </thead>
        <tbody>
          {data.points.map((p) => (
            <tr key={p.n}>
              <th scope="row">{t('life.retention.n', { n: p.n })}</th>
              <td className="num">{f.number(p.users, 0)}</td>
              <td className="num">
                <Num x={p.classic_rate} reason={p.reason} format={(x) => f.percent(x, { digits: 1 })} />
              </td>
              <td className="num">
                <Num x={p.unbounded_rate} reason={p.reason} format={(x) => f.percent(x, { digits: 1 })} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The cohort heat map as a table: every cell has its number; a period that is not over for everybody is hatched. */
function HeatMap({ data }: { data: Cohorts }) {
  const { t } = useText()
  const f = useFormats()
  const rows = data.cohorts.filter((c) => c.users > 0)
  const width = Math.max(0, ...rows.map((c) => c.cells.length))
  const most = Math.max(0.05, ...rows.flatMap((c) => c.cells.filter((x) => x.k > 0).map((x) => x.rate ?? 0)))
  if (rows.length === 0) return <p className="quiet">{t('life.cohorts.none')}</p>
  return (
    <>
      <div className="scroll" tabIndex={0} role="region" aria-label={t('life.cohorts')}>
        <table className="heat">
          <thead>
            <tr>
              <th scope="col">{t('life.cohorts.start')}</th>
              <th scope="col" className="num">{t('cust.col.users')}</th>
              {Array.from({ length: width }, (_, k) => (
                <th scope="col" className="num" key={k}>
                  {k}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((c) => (
              <tr key={c.start}>
                <th scope="row">{f.day(c.start)}</th>
                <td className="num">{f.number(c.users, 0)}</td>
                {Array.from({ length: width }, (_, k) => {
                  const cell = c.cells[k]
                  if (!cell || cell.rate === null) return <td key={k} className={cell ? 'hatched' : ''} aria-label={cell ? t('life.cohorts.open') : undefined} />
                  return (
                    <td key={k} className={cell.mature ? 'num' : 'num hatched'} style={{ backgroundColor: `rgba(79, 155, 125, ${Math.min(0.5, (0.5 * cell.rate) / most)})` }} title={cell.mature ? undefined : t('life.cohorts.open')}>
                      {f.percent(cell.rate, { digits: cell.rate < 0.1 ? 1 : 0 })}
                    </td>
                  )
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="quiet small legend-line">
        <span className="hatched swatch" aria-hidden="true" /> {t('life.cohorts.open')}
      </p>
    </>
  )
}

function Money({ data }: { data: Economics }) {
  const { t } = useText()
  const f = useFormats()
  const share = (x: number) => f.percent(x, { digits: 1 })
  return (
    <>
      <section className="figures four inset" aria-label={t('life.money')}>
        <Figure label={t('life.arpu')} help={t('life.arpu.help')} value={<Num x={data.arpu} format={(x) => f.money(x)} />} />
        <Figure label={t('life.arppu')} help={t('life.arppu.help')} value={<Num x={data.arppu} format={(x) => f.money(x)} />} />
        <Figure label={t('metric.aov')} value={<Num x={data.aov} format={(x) => f.money(x)} />} />
        <Figure label={t('life.repurchase')} help={t('life.repurchase.help')} value={<Num x={data.repurchase_rate} format={share} />} />
        <Figure label={t('life.again')} value={<Num x={data.repeat_within[0]?.rate} reason="immature" format={share} />} />
        <Figure label={t('life.reactivation')} help={t('life.reactivation.help')} value={<Num x={data.reactivation.rate} reason={data.reactivation.reason} format={share} />} />
        <Figure label={t('life.refund')} value={<Num x={data.refund_share} format={share} />} />
        <Figure label={t('life.newCustomers')} value={f.number(data.new_customers, 0)} />
      </section>
      <h3>{t('life.channels')}</h3>
      <p className="section-lead">{t('life.channels.lead', { from: f.day(data.acquired_from), to: f.day(data.acquired_to), days: data.ltv_horizon_days })}</p>
      <div className="scroll" tabIndex={0} role="region" aria-label={t('life.channels')}>
        <table className="plain rows">
          <thead>
            <tr>
              <th scope="col">{t('life.channel')}</th>
              <th scope="col" className="num">{t('life.newCustomers')}</th>
              <th scope="col" className="num">{t('life.media')}</th>
              <th scope="col" className="num">{t('life.promo')}</th>
              <th scope="col" className="num">{t('life.cac')}</th>
              <th scope="col" className="num">{t('life.ltv')}</th>
              <th scope="col" className="num">{t('life.ratio')}</th>
              <th scope="col" className="num">{t('life.payback')}</th>
            </tr>
          </thead>
          <tbody>
            {data.channels.map((c) => (
              <tr key={c.channel}>
                <th scope="row">{c.channel || t('life.channel.none')}</th>
                <td className="num">{f.number(c.new_customers, 0)}</td>
                <td className="num">
                  <Num x={c.media_cost} reason="no_costs" format={(x) => f.money(x)} />
                </td>
                <td className="num">{f.money(c.promo_cost)}</td>
                <td className="num">
                  <Num x={c.cac} reason={c.reason} format={(x) => f.money(x)} />
                </td>
                <td className="num">
                  <Num x={c.ltv} reason={c.reason} format={(x) => f.money(x)} />
                </td>
                <td className="num">
                  <Num x={c.ltv_to_cac} reason={c.reason} format={(x) => f.number(x, 2)} />
                </td>
                <td className="num">
                  <Num x={c.payback_days} reason={c.reason} format={(x) => t('life.days', { n: x })} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {data.channels.every((c) => c.media_cost === null) && (
        <p className="quiet small">
          {t('life.costs.hint')} <code>perennial import costs FILE</code>
        </p>
      )}
    </>
  )
}

export default function LifecyclePage() {
  const { t, lang } = useText()
  const f = useFormats()
  useTitle(t('life.title'))
  const [vocabulary, setVocabulary] = useState('')
  const [unit, setUnit] = useState('month')
  const [definition, setDefinition] = useState('classic')
  const words = useLoad((s) => api.vocabularies(s), [])
  const history = useLoad((s) => api.stages(vocabulary, s), [vocabulary])
  const moves = useLoad((s) => api.transitions(s), [])
  const retention = useLoad((s) => api.retention(s), [])
  const cohorts = useLoad((s) => api.cohorts({ unit, definition }, s), [unit, definition])
  const money = useLoad((s) => api.economics(s), [])
  if (history.error instanceof ApiError && history.error.status === 422 && history.error.errors.some((e) => e.field === 'as_of'))
    return (
      <>
        <PageHead title={t('life.title')} lead={t('life.lead')} />
        <EmptyState title={t('life.none.title')} text={t('life.none.text')} command="perennial import events FILE" />
      </>
    )
  return (
    <>
      <PageHead title={t('life.title')} lead={t('life.lead')} eyebrow={history.data && <span>{t('life.asOf', { date: f.day(history.data.as_of) })}</span>} />
      <Section
        title={t('life.history')}
        lead={t('life.history.lead')}
        aside={
          <Select
            aria-label={t('life.words')}
            value={vocabulary || history.data?.vocabulary.key}
            style={{ minWidth: 190 }}
            onChange={setVocabulary}
            options={(words.data?.vocabularies ?? []).map((v) => ({ value: v.key, label: say(lang, v.label) }))}
          />
        }
      >
        <Load from={history}>{(data) => <HistoryChart data={data} />}</Load>
      </Section>
      <Section title={t('life.moves')} lead={moves.data ? t('life.moves.lead', { from: f.day(moves.data.from), to: f.day(moves.data.as_of) }) : undefined}>
        <Load from={moves}>{(data) => <Moves data={data} />}</Load>
      </Section>
      <Section title={t('life.retention')} lead={t('life.retention.lead')}>
        <Load from={retention}>{(data) => <Comeback data={data} />}</Load>
      </Section>
      <Section
        title={t('life.cohorts')}
        lead={t('life.cohorts.lead')}
        aside={
          <div className="choices">
            <Segmented
              aria-label={t('life.unit')}
              value={unit}
              onChange={setUnit}
              options={['week', 'month'].map((u) => ({ value: u, label: t(`life.unit.${u as 'week'}`) }))}
            />
            <Segmented
              aria-label={t('life.definition')}
              value={definition}
              onChange={setDefinition}
              options={['classic', 'unbounded'].map((d) => ({ value: d, label: t(`life.definition.${d as 'classic'}`) }))}
            />
          </div>
        }
      >
        <Load from={cohorts}>{(data) => <HeatMap data={data} />}</Load>
      </Section>
      <Section title={t('life.money')} lead={money.data ? t('life.money.lead', { from: f.day(money.data.from), to: f.day(money.data.to) }) : undefined}>
        <Load from={money}>{(data) => <Money data={data} />}</Load>
      </Section>
    </>
  )
}

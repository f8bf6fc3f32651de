import { PlusOutlined, SearchOutlined } from '@ant-design/icons'
import { Button, Input, Segmented } from 'antd'
import { useEffect, useMemo, useState } from 'react'
import { Link, useNavigate } from 'react-router'
import { api, type Effect, type Experiment, type MetricDef, type Results, type Status } from '../api'
import { axisOf, Interval, toneOf } from '../components/Interval'
import { ActionTag, PageHead, SimulatedTag, StatusTag } from '../components/Parts'
import { EmptyState, Load } from '../components/State'
import { mayWrite, useFormats, useMe } from '../context'
import { metricUnit } from '../format'
import { useLoad, useTitle } from '../hooks'
import { useText } from '../i18n'
import { beganAt, metricName, say } from '../words'

type Shown = Results | 'none' | undefined

/** Results of the started experiments, three requests at a time, newest first. */
function useResults(list: Experiment[] | undefined): Record<string, Shown> {
  const [results, setResults] = useState<Record<string, Shown>>({})
  useEffect(() => {
    if (!list) return
    const abort = new AbortController()
    const queue = list.filter((e) => e.status !== 'draft').map((e) => e.key)
    const work = async () => {
      for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
        const asked = key
        const got = await api.results(asked, abort.signal).catch(() => 'none' as const)
        if (abort.signal.aborted) return
        setResults((r) => ({ ...r, [asked]: got }))
      }
    }
    void Promise.all([work(), work(), work()])
    return () => abort.abort()
  }, [list])
  return results
}

/** The result that the list shows: the primary metric of the variant the decision names, else the strongest one. */
export function headline(r: Results): Effect | undefined {
  const primary = r.results.filter((x) => x.role === 'primary' && !x.segment)
  return primary.find((x) => x.variant === r.decision.variant) ?? [...primary].sort((a, b) => (b.effect ?? -Infinity) - (a.effect ?? -Infinity))[0]
}

/** The chip with the main result. A very wide relative interval is shown on the metric's own scale. */
function EffectChip({ e, result, defs }: { e: Experiment; result: Shown; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const x = result && result !== 'none' ? headline(result) : undefined
  if (!x || x.effect === null) return <span className="quiet">{t('list.noResult')}</span>
  const name = metricName(t, lang, x.metric, defs)
  const unit = metricUnit(x.metric, x.kind, defs?.find((d) => d.key === x.metric)?.field)
  const text = x.rel_effect !== null ? f.percent(x.rel_effect, { signed: true }) : f.delta(unit, x.effect)
  // Before the first look of a sequential plan only the fixed-horizon interval is known: it is drawn dashed.
  const ghost = x.effect_low === null
  const [low, high] = ghost ? [x.fixed?.effect_low ?? null, x.fixed?.effect_high ?? null] : [x.effect_low, x.effect_high]
  const tone = ghost ? 'open' : toneOf(low, high, x.direction === 'down')
  return (
    <div className="chip-effect">
      <span className={`chip ${tone}`}>{text}</span>
      {low !== null && high !== null && (
        <Interval axis={axisOf([low, high])} value={x.effect} low={low} high={high} tone={ghost ? 'ghost' : tone}
          label={t('res.interval.aria', { metric: name, variant: x.variant, effect: f.delta(unit, x.effect), low: f.delta(unit, low), high: f.delta(unit, high) })} />
      )}
      <span className="quiet small">
        {name} · {say(lang, e.variants.find((v) => v.key === x.variant)?.name) || x.variant}
      </span>
    </div>
  )
}

/** How far along, how long still, whether the data are sound, and the money. */
function Standing({ e, r }: { e: Experiment; r: Results }) {
  const { t } = useText()
  const f = useFormats()
  const me = useMe()
  const worst = (r.health ?? []).some((h) => h.verdict === 'fail') ? 'fail' : (r.health ?? []).some((h) => h.verdict === 'warning') ? 'warning' : 'ok'
  const x = headline(r)
  const profit = r.profit?.find((p) => p.variant === x?.variant)
  const information = r.state?.information
  const due = e.decided?.revalidate_at && new Date(e.decided.revalidate_at) <= new Date(me.now)
  return (
    <div className="standing small">
      {profit && profit.per_unit !== null && (
        <span>
          {t('list.profit', { money: f.money(profit.per_unit, true) })}
          {typeof r.decision.monthly === 'number' && <span className="quiet"> · {t('list.monthly', { money: f.money(Math.round(r.decision.monthly), true) })}</span>}
        </span>
      )}
      {e.status === 'running' && typeof information === 'number' && (
        <span className="progress-line">
          <span className="bar" role="img" aria-label={t('list.progress', { share: f.percent(information) })}>
            <span style={{ width: `${Math.round(Math.min(1, information) * 100)}%` }} />
          </span>
          <span className="quiet">
            {f.percent(information)}
            {typeof r.decision.days_left === 'number' && ` · ${t('list.daysLeft', { days: r.decision.days_left })}`}
          </span>
        </span>
      )}
      <span className={`dot-line ${worst}`}>
        <i aria-hidden="true" /> {t(`list.health.${worst}`)}
      </span>
      {due && <span className="warn">{t('list.due')}</span>}
    </div>
  )
}

function Row({ e, result, defs }: { e: Experiment; result: Shown; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  return (
    <li className="exp-row">
      <div className="exp-name">
        <Link to={`/experiments/${encodeURIComponent(e.key)}`} className="exp-link">
          {say(lang, e.name) || e.key}
        </Link>
        <div className="exp-tags">
          <StatusTag status={e.status} />
          {e.simulated && <SimulatedTag />}
          <code className="quiet">{e.key}</code>
        </div>
        <div className="quiet small">
          {beganAt(e) ? t('list.started', { date: f.day(beganAt(e) ?? '') }) : t('list.created', { date: f.day(e.created_at) })}
          {e.stopped_at && ` · ${t('list.stopped', { date: f.day(e.stopped_at) })}`}
        </div>
      </div>
      <div className="exp-variants">
        {e.variants.map((v) => (
          <span key={v.key} className={v.key === e.control ? 'variant control' : 'variant'}>
            {say(lang, v.name) || v.key}
            {v.key === e.control && <small> {t('list.control')}</small>}
          </span>
        ))}
      </div>
      <div className="exp-effect">{e.status === 'draft' ? <span className="quiet">{t('list.notStarted')}</span> : <EffectChip e={e} result={result} defs={defs} />}</div>
      <div className="exp-advice">
        {result && result !== 'none' && <Standing e={e} r={result} />}
        {e.decided ? <span className="decided">{t('list.decided', { variant: e.decided.variant })}</span> : result && result !== 'none' ? <ActionTag action={result.decision.action} /> : null}
      </div>
    </li>
  )
}

export default function Experiments() {
  const { t, lang } = useText()
  const me = useMe()
  const go = useNavigate()
  useTitle(t('list.title'))
  const list = useLoad((s) => api.experiments(s), [])
  const defs = useLoad((s) => api.metrics(s), [])
  const results = useResults(list.data)
  const [filter, setFilter] = useState<Status | 'all'>('all')
  const [search, setSearch] = useState('')
  const shown = useMemo(() => {
    const q = search.trim().toLowerCase()
    return (list.data ?? []).filter(
      (e) => (filter === 'all' || e.status === filter) && (q === '' || [e.key, e.name.zh, e.name.en, say(lang, e.name)].some((x) => (x ?? '').toLowerCase().includes(q))),
    )
  }, [list.data, filter, search, lang])
  const create = mayWrite(me) && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => go('/experiments/new')}>
      {t('list.new')}
    </Button>
  )
  return (
    <>
      <PageHead title={t('list.title')} lead={t('list.lead')} aside={create} />
      <Load from={list}>
        {(all) =>
          all.length === 0 ? (
            <EmptyState title={t('list.empty.title')} text={t('list.empty.text')}>
              {create}
            </EmptyState>
          ) : (
            <>
              <div className="filters">
                <Input allowClear prefix={<SearchOutlined />} placeholder={t('list.search')} aria-label={t('list.search')} value={search} onChange={(e) => setSearch(e.target.value)} />
                <Segmented<Status | 'all'>
                  aria-label={t('list.filter.label')}
                  value={filter}
                  onChange={setFilter}
                  options={[
                    { value: 'all', label: t('list.filter.all') },
                    ...(['running', 'draft', 'stopped', 'archived'] as const)
                      .filter((s) => all.some((e) => e.status === s))
                      .map((s) => ({ value: s, label: t(`status.${s}`) })),
                  ]}
                />
                <span className="quiet small" role="status">
                  {t('list.count', { shown: shown.length, total: all.length })}
                </span>
              </div>
              {shown.length === 0 ? (
                <EmptyState title={t('list.noMatch.title')} text={t('list.noMatch.text')}>
                  <Button
                    onClick={() => {
                      setFilter('all')
                      setSearch('')
                    }}
                  >
                    {t('list.noMatch.clear')}
                  </Button>
                </EmptyState>
              ) : (
                <div className="card">
                  <div className="exp-head" aria-hidden="true">
                    <span>{t('list.col.name')}</span>
                    <span>{t('list.col.variants')}</span>
                    <span>{t('list.col.effect')}</span>
                    <span>{t('list.col.advice')}</span>
                  </div>
                  <ul className="exp-list">
                    {shown.map((e) => (
                      <Row key={e.key} e={e} result={results[e.key]} defs={defs.data} />
                    ))}
                  </ul>
                </div>
              )}
            </>
          )
        }
      </Load>
    </>
  )
}

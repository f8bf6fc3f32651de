import { Segmented } from 'antd'
import { useState } from 'react'
import type { Effect, Experiment, MetricDef, Results } from '../../api'
import { AxisLabels, axisOf, Interval, toneOf } from '../../components/Interval'
import { Section } from '../../components/Parts'
import { Num } from '../../components/State'
import { useFormats } from '../../context'
import { metricUnit, type Unit } from '../../format'
import { useText } from '../../i18n'
import { metricName, say } from '../../words'

const order = { primary: 0, secondary: 1, guardrail: 2 } as const

/** Every metric and variant: means, difference, interval on a shared axis, p. */
export function ResultsTable({ e, r, defs }: { e: Experiment; r: Results; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const [scale, setScale] = useState<'relative' | 'absolute'>('relative')
  const rows = r.results.filter((x) => !x.segment).sort((a, b) => order[a.role ?? 'secondary'] - order[b.role ?? 'secondary'])
  const shared = axisOf(rows.flatMap((x) => [x.rel_low, x.rel_high]))
  const unitOf = (x: Effect): Unit => metricUnit(x.metric, x.kind, defs?.find((d) => d.key === x.metric)?.field)
  const variantName = (key: string) => say(lang, e.variants.find((v) => v.key === key)?.name) || key
  return (
    <Section
      title={t('res.title')}
      lead={t('res.lead', { level: f.percent(1 - r.alpha) })}
      aside={
        <Segmented
          aria-label={t('res.scale')}
          value={scale}
          onChange={(v) => setScale(v as 'relative' | 'absolute')}
          options={[
            { value: 'relative', label: t('res.relative') },
            { value: 'absolute', label: t('res.absolute') },
          ]}
        />
      }
    >
      <div className="results" role="table" aria-label={t('res.title')}>
        <div className="results-row head" role="row">
          <span role="columnheader">{t('res.col.metric')}</span>
          <span role="columnheader" className="num">{t('res.col.control')}</span>
          <span role="columnheader" className="num">{t('res.col.value')}</span>
          <span role="columnheader" className="num">{t('res.col.effect')}</span>
          <span role="columnheader" aria-label={t('res.col.interval')}>
            {scale === 'relative' ? <AxisLabels axis={shared} format={(x) => f.percent(x, { signed: true, digits: 1 })} /> : t('res.col.interval')}
          </span>
          <span role="columnheader" className="num">{t('res.col.p')}</span>
        </div>
        {rows.map((x) => {
          const unit = unitOf(x)
          const name = metricName(t, lang, x.metric, defs)
          const relative = scale === 'relative' && x.rel_effect !== null
          const [value, ownLow, ownHigh] = relative ? [x.rel_effect, x.rel_low, x.rel_high] : [x.effect, x.effect_low, x.effect_high]
          // Before the first look of a sequential plan only the fixed-horizon interval is known: it is drawn dashed, on the metric's own scale.
          const ghost = x.effect_low === null && x.fixed?.effect_low != null && x.fixed.effect_high != null && x.effect !== null
          const [low, high] = ghost ? [x.fixed?.effect_low ?? null, x.fixed?.effect_high ?? null] : [ownLow, ownHigh]
          const show = (v: number) => (relative ? f.percent(v, { signed: true }) : f.delta(unit, v))
          const lower = x.direction === 'down'
          const tone = ghost ? 'ghost' : toneOf(low, high, lower)
          const bound = (v: number) => (ghost ? f.delta(unit, v) : show(v))
          const guard = e.metrics.guardrails?.find((g) => g.metric === x.metric)
          const p = x.p_adjusted ?? x.p_value
          return (
            <div className="results-row" role="row" key={`${x.metric}/${x.variant}`}>
              <span role="cell" className="metric-cell">
                <b>{name}</b> <span className={`role role-${x.role ?? 'secondary'}`}>{t(`res.role.${x.role ?? 'secondary'}`)}</span>
                <span className="quiet small block">
                  {t('exp.vs', { variant: variantName(x.variant), control: variantName(e.control) })}
                </span>
                {x.role === 'guardrail' && guard && <span className="quiet small block">{t('res.margin', { margin: f.percent(guard.margin) })}</span>}
              </span>
              <span role="cell" className="num" data-label={t('res.col.control')}>
                <Short x={x.mean_control} format={(v) => f.value(unit, v)} />
                <span className="quiet small block">{t('res.n', { n: f.number(x.n_control, 0) })}</span>
              </span>
              <span role="cell" className="num" data-label={t('res.col.value')}>
                <Short x={x.mean} format={(v) => f.value(unit, v)} />
                <span className="quiet small block">{t('res.n', { n: f.number(x.n, 0) })}</span>
              </span>
              <span role="cell" className={`num strong ${tone}`} data-label={t('res.col.effect')}>
                <Short x={value} format={show} />
              </span>
              <span role="cell" className="interval-cell">
                {value !== null && low !== null && high !== null ? (
                  <>
                    <Interval axis={relative && !ghost ? shared : axisOf([low, high])} value={ghost ? (x.effect ?? 0) : value} low={low} high={high} tone={tone}
                      margin={relative && !ghost && guard ? (lower ? guard.margin : -guard.margin) : null}
                      label={t('res.interval.aria', { metric: name, variant: x.variant, effect: show(value), low: bound(low), high: bound(high) })} />
                    <span className="quiet small block center">
                      {bound(low)} … {bound(high)}
                    </span>
                  </>
                ) : (
                  <Num x={null} reason={x.reason} format={() => null} />
                )}
              </span>
              <span role="cell" className="num" data-label={t('res.col.p')}>
                <Short x={p} format={(v) => f.p(v)} />
              </span>
              <Notes x={x} unit={unit} r={r} />
            </div>
          )
        })}
      </div>
      {rows.some((x) => x.effect_low === null && x.fixed?.effect_low != null) && <p className="quiet small">{t('res.ghost')}</p>}
    </Section>
  )
}

/** A number, or a dash where it was not computed; the row says why beside it. */
function Short({ x, format }: { x: number | null | undefined; format: (x: number) => string }) {
  const { t } = useText()
  if (x === null || x === undefined)
    return (
      <>
        <span aria-hidden="true" className="quiet">
          –
        </span>
        <span className="sr">{t('state.notComputed')}</span>
      </>
    )
  return <>{format(x)}</>
}

/** What a reader should know about one row, in small type below it. */
function Notes({ x, unit, r }: { x: Effect; unit: Unit; r: Results }) {
  const { t } = useText()
  const f = useFormats()
  const notes: string[] = []
  if (typeof x.p_adjusted === 'number' && typeof x.p_value === 'number' && x.p_adjusted !== x.p_value) notes.push(t('res.adjusted'))
  if (typeof x.variance_reduction === 'number' && x.variance_reduction >= 0.005) notes.push(t('res.reduction', { share: f.percent(x.variance_reduction) }))
  const fixed = x.fixed
  if (fixed && x.effect_low !== null && fixed.effect_low !== null && fixed.effect_high !== null && fixed.p_value !== null)
    notes.push(t('res.fixed', { low: f.delta(unit, fixed.effect_low), high: f.delta(unit, fixed.effect_high), p: f.p(fixed.p_value) }))
  const exact = x.exact
  if (exact && exact.low !== null && exact.high !== null && exact.p_value !== null)
    notes.push(t('res.exact', { low: f.delta(unit, exact.low), high: f.delta(unit, exact.high), p: f.p(exact.p_value) }))
  const known = r.sensitivity?.find((s) => s.metric === x.metric && s.variant === x.variant && s.choice === 'adjusted')
  if (known && known.effect !== null && known.effect_low !== null && known.effect_high !== null)
    notes.push(t('res.known', { effect: f.delta(unit, known.effect), low: f.delta(unit, known.effect_low), high: f.delta(unit, known.effect_high) }))
  if (notes.length === 0) return null
  return (
    <span role="cell" className="notes quiet small">
      {notes.join(' · ')}
    </span>
  )
}

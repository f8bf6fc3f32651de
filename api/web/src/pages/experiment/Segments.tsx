import { Segmented } from 'antd'
import { useState } from 'react'
import { api, type Experiment, type MetricDef, type Results } from '../../api'
import { axisOf, Interval, toneOf } from '../../components/Interval'
import { Section } from '../../components/Parts'
import { Load, Num } from '../../components/State'
import { useFormats } from '../../context'
import { metricUnit } from '../../format'
import { useLoad } from '../../hooks'
import { useText } from '../../i18n'
import { metricName, say, stageName } from '../../words'

const dimensions = ['stage', 'churn_decile', 'ltv_decile', 'channel'] as const
type Dimension = (typeof dimensions)[number]

/** The main effect group by group, with a sentence on whether the groups differ by more than chance. */
export function Segments({ e, r, variant, defs }: { e: Experiment; r: Results; variant: string; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const [by, setBy] = useState<Dimension | null>(null)
  const load = useLoad((s) => (by ? api.segments(e.key, by, s) : Promise.resolve(null)), [e.key, e.revision, by])
  const main = r.results.find((x) => x.role === 'primary' && x.variant === variant && !x.segment)
  if (!main) return null
  const unit = metricUnit(main.metric, main.kind, defs?.find((d) => d.key === main.metric)?.field)
  const name = (value: string) => (by === 'stage' ? stageName(t, value) : by === 'channel' ? value || t('state.unknown') : t('seg.decile', { n: value }))
  return (
    <Section
      title={t('seg.title')}
      lead={t('seg.lead', { metric: metricName(t, lang, main.metric, defs), variant: say(lang, e.variants.find((v) => v.key === variant)?.name) || variant })}
      aside={<Segmented aria-label={t('seg.by')} value={by ?? ''} onChange={(v) => setBy(v as Dimension)} options={dimensions.map((d) => ({ value: d, label: t(`seg.${d}`) }))} />}
    >
      {by === null ? (
        <p className="quiet tight">{t('seg.choose')}</p>
      ) : (
        <Load from={load} rows={4}>
          {(data) => {
            if (!data) return null
            const rows = data.results
              .filter((x) => x.segment?.dimension === by && x.metric === main.metric && x.variant === variant)
              .map((x) => {
                // Groups have no looks of their own: the fixed interval is what is known of them.
                const own = x.effect_low !== null && x.effect_high !== null
                return { x, low: own ? x.effect_low : (x.fixed?.effect_low ?? null), high: own ? x.effect_high : (x.fixed?.effect_high ?? null) }
              })
              .sort((a, b) => (a.x.segment?.value ?? '').localeCompare(b.x.segment?.value ?? '', 'en', { numeric: true }))
            if (rows.length === 0) return <p className="quiet tight">{t('seg.none')}</p>
            const axis = axisOf(rows.flatMap((y) => [y.low, y.high]))
            const h = data.heterogeneity?.find((y) => y.metric === main.metric && y.variant === variant && y.dimension === by)
            const p = h ? (h.p_adjusted ?? h.p_value) : null
            return (
              <>
                {p !== null && <p className="strong">{t(p < r.alpha ? 'seg.differ' : 'seg.same', { p: f.p(p) })}</p>}
                <div className="segments">
                  {rows.map(({ x, low, high }) => (
                    <div className="segment-row" key={x.segment?.value}>
                      <span>
                        {name(x.segment?.value ?? '')} <span className="quiet small block">{t('seg.n', { n: f.number(x.n + x.n_control, 0) })}</span>
                      </span>
                      {x.effect !== null && low !== null && high !== null ? (
                        <Interval axis={axis} value={x.effect} low={low} high={high} tone={toneOf(low, high, x.direction === 'down')}
                          label={t('res.interval.aria', { metric: name(x.segment?.value ?? ''), variant, effect: f.delta(unit, x.effect), low: f.delta(unit, low), high: f.delta(unit, high) })} />
                      ) : (
                        <Num x={null} reason={x.reason} format={() => null} />
                      )}
                      <span className="quiet small center">{low !== null && high !== null && `${f.delta(unit, low)} … ${f.delta(unit, high)}`}</span>
                      <b className="num">
                        {x.effect !== null && f.delta(unit, x.effect)}
                        {/* Pulled towards all groups: the best of several always looks better than it is. */}
                        {typeof x.shrunk === 'number' && <span className="quiet small block">{t('seg.shrunk', { effect: f.delta(unit, x.shrunk) })}</span>}
                      </b>
                    </div>
                  ))}
                </div>
              </>
            )
          }}
        </Load>
      )}
    </Section>
  )
}

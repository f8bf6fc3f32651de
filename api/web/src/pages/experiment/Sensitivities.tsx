import type { Experiment, MetricDef, Results } from '../../api'
import { axisOf, Interval, toneOf } from '../../components/Interval'
import { Section } from '../../components/Parts'
import { useFormats } from '../../context'
import { metricUnit } from '../../format'
import { useText } from '../../i18n'
import { metricName, say } from '../../words'

/** The main effect under other choices, one below the other on one axis: does the answer hang on how it was computed? */
export function Sensitivities({ e, r, variant, defs }: { e: Experiment; r: Results; variant: string; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const main = r.results.find((x) => x.role === 'primary' && x.variant === variant && !x.segment)
  const others = (r.sensitivity ?? []).filter((s) => s.metric === main?.metric && s.variant === variant && s.effect !== null && s.effect_low !== null && s.effect_high !== null)
  if (!main || main.effect === null || others.length === 0) return null
  const unit = metricUnit(main.metric, main.kind, defs?.find((d) => d.key === main.metric)?.field)
  const plain = { low: main.fixed?.effect_low ?? main.effect_low, high: main.fixed?.effect_high ?? main.effect_high }
  const rows = [
    { key: 'plain', effect: main.effect, low: plain.low, high: plain.high, note: '' },
    ...others.map((s) => ({
      key: s.choice,
      effect: s.effect as number,
      low: s.effect_low,
      high: s.effect_high,
      note:
        s.choice === 'capped' && typeof s.cap_low === 'number' && typeof s.cap_high === 'number'
          ? t('sens.capped.note', { low: f.delta(unit, s.cap_low), high: f.delta(unit, s.cap_high) })
          : s.choice === 'adjusted' && typeof s.variance_reduction === 'number'
            ? t('sens.adjusted.note', { share: f.percent(Math.max(0, s.variance_reduction)) })
            : '',
    })),
  ]
  const axis = axisOf(rows.flatMap((x) => [x.low, x.high]))
  const name = say(lang, e.variants.find((v) => v.key === variant)?.name) || variant
  return (
    <Section title={t('sens.title')} lead={t('sens.lead', { metric: metricName(t, lang, main.metric, defs), variant: name })}>
      <div className="segments">
        {rows.map((x) => (
          <div className="segment-row" key={x.key}>
            <span>
              {t(x.key === 'capped' ? 'sens.capped' : x.key === 'adjusted' ? 'sens.adjusted' : 'sens.plain')} <span className="quiet small block">{x.note}</span>
            </span>
            {x.low !== null && x.high !== null && x.low !== undefined && x.high !== undefined ? (
              <Interval axis={axis} value={x.effect} low={x.low} high={x.high} tone={toneOf(x.low, x.high, main.direction === 'down')}
                label={t('res.interval.aria', { metric: main.metric, variant, effect: f.delta(unit, x.effect), low: f.delta(unit, x.low), high: f.delta(unit, x.high) })} />
            ) : (
              <span />
            )}
            <span className="quiet small center">{typeof x.low === 'number' && typeof x.high === 'number' && `${f.delta(unit, x.low)} … ${f.delta(unit, x.high)}`}</span>
            <b className="num">{f.delta(unit, x.effect)}</b>
          </div>
        ))}
      </div>
    </Section>
  )
}

import { useMemo } from 'react'
import type { Experiment, MetricDef, Results } from '../../api'
import { axisOf, Interval, toneOf } from '../../components/Interval'
import { Figure } from '../../components/Parts'
import { Num } from '../../components/State'
import { useFormats } from '../../context'
import { metricUnit } from '../../format'
import { useText } from '../../i18n'
import { metricName } from '../../words'

/** The key figures of one variant against the control: plain number first, how sure second. */
export function Figures({ e, r, variant, defs }: { e: Experiment; r: Results; variant: string; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const x = useMemo(() => r.results.find((y) => y.role === 'primary' && y.variant === variant && !y.segment), [r, variant])
  const profit = r.profit?.find((p) => p.variant === variant)
  const level = f.percent(1 - r.alpha)
  const alpha = f.number(r.alpha, 3)
  const def = defs?.find((d) => d.key === x?.metric)
  const unit = x ? metricUnit(x.metric, x.kind, def?.field) : 'number'
  const name = x ? metricName(t, lang, x.metric, defs) : ''
  const tone = x ? toneOf(x.effect_low, x.effect_high, x.direction === 'down') : 'open'
  const p = x ? (x.p_adjusted ?? x.p_value) : null
  const verdict = r.srm?.verdict ?? ''
  const srmP = r.srm ? (r.srm.sequential_p ?? r.srm.p_value) : null
  const good = tone === 'open' ? 'plain' : tone
  const fixed = x?.metric === 'profit' ? x.fixed : null
  const ghost = fixed && fixed.effect_low !== null && fixed.effect_high !== null ? t('ghost.note', { low: f.money(fixed.effect_low, true), high: f.money(fixed.effect_high, true) }) : null
  const profitTone = profit ? toneOf(profit.low, profit.high) : 'open'
  return (
    <section className="figures" aria-label={t('exp.vs', { variant, control: e.control })}>
      {x && (
        <Figure
          label={t('fig.effect', { metric: name })}
          help={t('fig.effect.help')}
          tone={good}
          value={x.rel_effect !== null ? f.percent(x.rel_effect, { signed: true }) : <Num x={x.effect} reason={x.reason} format={(v) => f.delta(unit, v)} />}
          note={
            <>
              {x.rel_effect !== null && x.rel_low !== null && x.rel_high !== null
                ? t('fig.interval', { level, low: f.percent(x.rel_low, { signed: true }), high: f.percent(x.rel_high, { signed: true }) })
                : x.effect_low !== null && x.effect_high !== null && t('fig.interval', { level, low: f.delta(unit, x.effect_low), high: f.delta(unit, x.effect_high) })}
              {x.effect_low === null && x.effect !== null && x.fixed?.effect_low != null && x.fixed.effect_high != null && (
                <>
                  {t('ghost.note', { low: f.delta(unit, x.fixed.effect_low), high: f.delta(unit, x.fixed.effect_high) })}
                  <Interval axis={axisOf([x.fixed.effect_low, x.fixed.effect_high])} value={x.effect} low={x.fixed.effect_low} high={x.fixed.effect_high} tone="ghost"
                    label={t('ghost.note', { low: f.delta(unit, x.fixed.effect_low), high: f.delta(unit, x.fixed.effect_high) })} />
                </>
              )}
              {x.effect !== null && x.effect_low !== null && x.effect_high !== null && (
                <Interval axis={axisOf([x.effect_low, x.effect_high])} value={x.effect} low={x.effect_low} high={x.effect_high} tone={tone}
                  label={t('res.interval.aria', { metric: name, variant, effect: f.delta(unit, x.effect), low: f.delta(unit, x.effect_low), high: f.delta(unit, x.effect_high) })} />
              )}
            </>
          }
        />
      )}
      {profit && (
        <Figure
          label={t('fig.profit')}
          help={t('fig.profit.help')}
          tone={profitTone === 'open' ? 'plain' : profitTone}
          value={<Num x={profit.per_unit} reason={profit.reason} format={(v) => f.money(v, true)} />}
          note={profit.low !== null && profit.high !== null ? t('fig.interval', { level, low: f.money(profit.low, true), high: f.money(profit.high, true) }) : ghost}
        />
      )}
      {profit && (
        <Figure label={t('fig.total')} help={t('fig.total.help')} value={<Num x={profit.total} reason={profit.reason} format={(v) => f.money(v, true)} />} />
      )}
      <Figure
        label={t('fig.p')}
        help={t(r.inference === 'fixed' ? 'fig.p.fixedHelp' : 'fig.p.help')}
        value={<Num x={p} reason={x?.reason} format={(v) => f.p(v)} />}
        note={p !== null && p !== undefined ? t(p < r.alpha ? 'fig.p.clear' : 'fig.p.unclear', { alpha }) : null}
      />
      <Figure
        label={t('fig.srm')}
        help={t('fig.srm.help')}
        tone={verdict === 'fail' ? 'bad' : verdict === 'ok' ? 'good' : 'plain'}
        value={verdict === 'ok' || verdict === 'warning' || verdict === 'fail' ? t(`fig.srm.${verdict}`) : <Num x={null} reason={r.srm?.reason} format={() => null} />}
        note={srmP !== null && srmP !== undefined ? t('fig.srm.detail', { p: f.p(srmP) }) : null}
      />
      {profit && (
        <Figure
          label={t('fig.iroi')}
          help={t('fig.iroi.help')}
          value={<Num x={profit.iroi} reason={profit.reason ?? 'no_cost'} format={(v) => f.number(v, 2)} />}
          note={
            profit.iroi !== null && (
              <>
                {t('fig.iroi.value', { value: f.money(profit.iroi), one: f.money(1) })}
                {typeof profit.iroi_low === 'number' && typeof profit.iroi_high === 'number' && <br />}
                {typeof profit.iroi_low === 'number' && typeof profit.iroi_high === 'number' && t('fig.interval', { level, low: f.number(profit.iroi_low, 2), high: f.number(profit.iroi_high, 2) })}
              </>
            )
          }
        />
      )}
    </section>
  )
}

import type { EChartsOption } from 'echarts'
import { useMemo } from 'react'
import type { Experiment, Results, Waterfall } from '../../api'
import { Chart } from '../../components/Chart'
import { Section } from '../../components/Parts'
import { useFormats } from '../../context'
import { useText } from '../../i18n'
import { color } from '../../theme'
import { say } from '../../words'

// In this order every step changes the profit; the discount is inside revenue and is told beside the chart.
const steps = ['revenue', 'cost_of_goods', 'refunds', 'commission', 'contact'] as const

/** The variant's parts less the control's, where both are there. */
function difference(a: Waterfall | undefined, b: Waterfall | undefined): Waterfall | null {
  if (!a || !b) return null
  const out: Waterfall = {}
  for (const part of [...steps, 'discount'] as const) {
    const [x, y] = [a[part], b[part]]
    if (typeof x === 'number' && typeof y === 'number') out[part] = x - y
  }
  return out
}

/** Revenue to profit, step by step; hidden when the server did not compute it. */
export function ProfitSteps({ e, r, variant }: { e: Experiment; r: Results; variant: string }) {
  const { t, lang } = useText()
  const f = useFormats()
  const w = useMemo(() => difference(r.waterfall?.[variant], r.waterfall?.[r.control]), [r, variant])
  const known = useMemo(() => {
    if (!w) return []
    // Costs arrive as differences of positive amounts, so they lower the profit.
    return steps.filter((s) => typeof w[s] === 'number').map((s) => ({ step: s, change: s === 'revenue' ? (w[s] as number) : -(w[s] as number) }))
  }, [w])
  const perUnit = known.reduce((sum, k) => sum + k.change, 0)
  const option = useMemo<EChartsOption | null>(() => {
    if (known.length < steps.length) return null
    let at = 0
    const bars = known.map(({ step, change }) => {
      const from = at
      at += change
      return { name: t(`profit.${step}`), change, low: Math.min(from, at), high: Math.max(from, at) }
    })
    bars.push({ name: t('profit.profit'), change: perUnit, low: Math.min(0, perUnit), high: Math.max(0, perUnit) })
    const fill = (b: (typeof bars)[number], i: number) => (i === bars.length - 1 ? color.pineDark : b.change >= 0 ? color.leaf : '#c26a57')
    // Three stacked pieces: the invisible part up to the bar on either side of zero, and the bar itself split at zero.
    const part = (positive: boolean) => [
      { value: bars.map((b) => (positive ? (b.low > 0 ? b.low : 0) : b.high < 0 ? b.high : 0)), clear: true },
      { value: bars.map((b) => (positive ? Math.max(0, b.high) - Math.max(0, b.low) : Math.min(0, b.low) - Math.min(0, b.high))), clear: false },
    ]
    const series = [true, false].flatMap((positive) =>
      part(positive).map((p) => ({
        type: 'bar' as const,
        stack: positive ? 'up' : 'down',
        barGap: '-100%',
        barWidth: '56%',
        silent: p.clear,
        itemStyle: { color: p.clear ? 'transparent' : undefined },
        data: p.value.map((v, i) => {
          const b = bars[i] as (typeof bars)[number]
          const end = !p.clear && (positive ? b.high > 0 : b.high <= 0)
          return {
            value: v,
            itemStyle: { color: p.clear ? 'transparent' : fill(b, i), borderRadius: 3 },
            label: end ? { show: true, position: positive ? ('top' as const) : ('bottom' as const), formatter: f.money(b.change, true), color: color.ink, fontSize: 12 } : { show: false },
          }
        }),
      })),
    )
    return {
      grid: { left: 8, right: 8, top: 24, bottom: 8, containLabel: true },
      xAxis: { type: 'category', data: bars.map((b) => b.name), axisTick: { show: false }, axisLine: { lineStyle: { color: '#8a918d' } }, axisLabel: { color: color.inkSoft, interval: 0, width: 84, overflow: 'break' } },
      yAxis: { type: 'value', axisLabel: { color: color.inkSoft, formatter: (v: number) => f.moneyShort(v) }, splitLine: { lineStyle: { color: color.line } } },
      series,
    }
  }, [known, perUnit, t, f])
  const used = r.redemption?.[variant]
  const estimated = r.profit?.find((p) => p.variant === variant)?.estimated_share
  if (!option || !w) return null
  return (
    <Section title={t('profit.title')} lead={t('profit.lead')}>
      <Chart option={option} height={300} label={known.map((k) => `${t(`profit.${k.step}`)} ${f.money(k.change, true)}`).join(', ') + `, ${t('profit.profit')} ${f.money(perUnit, true)}`} />
      {typeof estimated === 'number' && estimated > 0 && <p className="quiet small">{t('profit.estimated', { share: f.percent(estimated) })}</p>}
      {used && used.units > 0 && (
        <div className="redemption">
          <h3>{t('redeem.title', { variant: say(lang, e.variants.find((v) => v.key === variant)?.name) || variant })}</h3>
          <ul className="facts">
            <li>{t('redeem.share', { share: f.percent(used.share ?? 0), n: f.number(used.units, 0) })}</li>
            {used.profit_per_unit !== null && used.profit_per_other_unit !== null && <li>{t('redeem.profit', { used: f.money(used.profit_per_unit), rest: f.money(used.profit_per_other_unit) })}</li>}
            {used.discount_per_unit !== null && <li>{t('redeem.discount', { discount: f.money(used.discount_per_unit) })}</li>}
          </ul>
          <p className="quiet small">{say(lang, used.label)}</p>
        </div>
      )}
      {typeof w.discount === 'number' && <p className="quiet small">{t('profit.discount.note', { value: f.money(w.discount, true) })}</p>}
    </Section>
  )
}

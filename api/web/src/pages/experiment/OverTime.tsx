import type { EChartsOption } from 'echarts'
import { useMemo } from 'react'
import type { Experiment, MetricDef, Results } from '../../api'
import { Chart } from '../../components/Chart'
import { Section } from '../../components/Parts'
import { useFormats } from '../../context'
import { metricUnit } from '../../format'
import { useText } from '../../i18n'
import { color } from '../../theme'
import { metricName, say } from '../../words'

/** The cumulative effect day by day with its anytime band; hidden when fewer than three days are known. */
export function OverTime({ e, r, variant, defs }: { e: Experiment; r: Results; variant: string; defs: MetricDef[] | undefined }) {
  const { t, lang } = useText()
  const f = useFormats()
  const x = r.results.find((y) => y.role === 'primary' && y.variant === variant && !y.segment)
  const points = useMemo(
    () => (r.series ?? []).filter((p) => p.variant === variant && p.metric === x?.metric).sort((a, b) => a.day.localeCompare(b.day)),
    [r, variant, x?.metric],
  )
  const marks = useMemo(() => {
    const days = new Set(points.filter((p) => p.effect !== null).map((p) => p.day))
    return (r.markers ?? []).filter((m) => days.has(m.day))
  }, [r.markers, points])
  const unit = x ? metricUnit(x.metric, x.kind, defs?.find((d) => d.key === x.metric)?.field) : 'number'
  const option = useMemo<EChartsOption | null>(() => {
    const known = points.filter((p) => p.effect !== null)
    if (known.length < 3) return null
    const short = (v: number) => (unit === 'money' ? f.moneyShort(v) : f.delta(unit, v))
    return {
      grid: { left: 6, right: 14, top: 16, bottom: 6, containLabel: true },
      tooltip: {
        trigger: 'axis',
        formatter: (list: unknown) => {
          const p = known[(list as { dataIndex: number }[])[0]?.dataIndex ?? 0]
          if (!p || p.effect === null) return ''
          const band = p.low !== null && p.high !== null ? `<br>${t('time.band')} ${f.delta(unit, p.low)} … ${f.delta(unit, p.high)}` : ''
          return `${f.day(p.day)}<br><b>${t('time.effect')} ${f.delta(unit, p.effect)}</b>${band}<br>${t('seg.n', { n: f.number(p.n, 0) })}`
        },
      },
      xAxis: { type: 'category', boundaryGap: false, data: known.map((p) => f.day(p.day)), axisTick: { show: false }, axisLine: { onZero: false, lineStyle: { color: '#b5b8ae' } }, axisLabel: { color: color.inkSoft, hideOverlap: true } },
      yAxis: { type: 'value', axisLabel: { color: color.inkSoft, formatter: short }, splitLine: { lineStyle: { color: color.line } } },
      series: [
        { type: 'line', name: t('time.low'), data: known.map((p) => p.low ?? '-'), symbol: 'none', lineStyle: { color: color.leaf, width: 1, opacity: 0.6 }, itemStyle: { color: color.leaf } },
        { type: 'line', name: t('time.high'), data: known.map((p) => p.high ?? '-'), symbol: 'none', lineStyle: { color: color.leaf, width: 1, opacity: 0.6 }, itemStyle: { color: color.leaf } },
        // The band itself: two areas that meet at the effect, so that a band that crosses zero is filled too.
        ...(['low', 'high'] as const).map((side) => ({
          type: 'line' as const,
          stack: side,
          symbol: 'none',
          silent: true,
          lineStyle: { opacity: 0 },
          tooltip: { show: false },
          stackStrategy: 'all' as const,
          data: known.map((p) => p.effect ?? '-'),
        })),
        ...(['low', 'high'] as const).map((side) => ({
          type: 'line' as const,
          stack: side,
          symbol: 'none',
          silent: true,
          lineStyle: { opacity: 0 },
          areaStyle: { color: color.leaf, opacity: 0.16 },
          tooltip: { show: false },
          stackStrategy: 'all' as const,
          data: known.map((p) => (p[side] === null || p.effect === null ? '-' : (p[side] as number) - p.effect)),
        })),
        {
          type: 'line',
          name: t('time.effect'),
          data: known.map((p) => p.effect ?? '-'),
          symbol: 'circle',
          symbolSize: 6,
          lineStyle: { color: color.pineDark, width: 2.5 },
          itemStyle: { color: color.pineDark },
          markLine: { silent: true, symbol: 'none', label: { show: false }, lineStyle: { color: '#6e7873', type: 'solid', width: 1.2 }, data: [{ yAxis: 0 }, ...marks.map((m) => ({ xAxis: f.day(m.day), lineStyle: { type: 'dashed' as const, color: color.inkSoft }, label: { show: true, formatter: say(lang, m.text), color: color.inkSoft, fontSize: 11 } }))] },
        },
      ],
    }
  }, [points, marks, unit, f, t, lang])
  if (!option || !x) return null
  const name = say(lang, e.variants.find((v) => v.key === variant)?.name) || variant
  const last = points.at(-1)
  return (
    <Section title={t('time.title')} lead={t('time.lead', { metric: metricName(t, lang, x.metric, defs), variant: name })}>
      <Chart option={option} height={260} label={`${t('time.title')}: ${last && last.effect !== null ? `${f.day(last.day)} ${f.delta(unit, last.effect)}` : ''}`} />
    </Section>
  )
}

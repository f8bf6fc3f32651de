import type { ReactNode } from 'react'

/** A shared horizontal axis that holds zero and every interval, with a little air. */
export type Axis = { low: number; high: number }

export function axisOf(values: (number | null | undefined)[]): Axis {
  const real = values.filter((v): v is number => typeof v === 'number' && Number.isFinite(v))
  const low = Math.min(0, ...real)
  const high = Math.max(0, ...real)
  const air = (high - low || 1) * 0.06
  return { low: low - air, high: high + air }
}

/** Round positions for the labels of an axis: at most about five, zero among them. */
export function ticks(axis: Axis, wanted = 4): number[] {
  const span = axis.high - axis.low
  const raw = span / wanted
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? raw
  const out: number[] = []
  for (let k = Math.ceil(axis.low / step); k <= Math.floor(axis.high / step); k++) out.push(k === 0 ? 0 : Number((k * step).toPrecision(12)))
  return out
}

const at = (axis: Axis, x: number) => `${Math.max(0, Math.min(1, (x - axis.low) / (axis.high - axis.low))) * 100}%`

/** How an interval lies against zero, read in the metric's good direction. */
export function toneOf(low: number | null, high: number | null, lower = false): 'good' | 'bad' | 'open' {
  if (low === null || high === null) return 'open'
  if (low > 0) return lower ? 'bad' : 'good'
  if (high < 0) return lower ? 'good' : 'bad'
  return 'open'
}

/** One interval as a bar with its estimate as a dot, on a shared axis; colour and position both tell the side of zero. */
export function Interval({ axis, value, low, high, tone, label, margin }: { axis: Axis; value: number; low: number; high: number; tone: string; label: string; margin?: number | null }) {
  return (
    <div className="interval" role="img" aria-label={label}>
      <span className="interval-zero" style={{ left: at(axis, 0) }} />
      {typeof margin === 'number' && margin > axis.low && margin < axis.high && <span className="interval-margin" style={{ left: at(axis, margin) }} />}
      <span className={`interval-bar ${tone}`} style={{ left: at(axis, low), width: `calc(${at(axis, high)} - ${at(axis, low)})` }} />
      <span className={`interval-dot ${tone}`} style={{ left: at(axis, value) }} />
    </div>
  )
}

/** The labels above a column of intervals. */
export function AxisLabels({ axis, format }: { axis: Axis; format: (x: number) => ReactNode }) {
  return (
    <div className="axis" aria-hidden="true">
      {ticks(axis).map((x) => (
        <span key={x} style={{ left: at(axis, x) }} className={x === 0 ? 'axis-zero' : ''}>
          {format(x)}
        </span>
      ))}
    </div>
  )
}

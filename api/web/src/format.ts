// Numbers, money and dates as people of one language read them. "Not computed" is never printed as a number: these functions take
// real numbers only; null goes through the NotComputed component.

export type Lang = 'zh' | 'en'

const locales: Record<Lang, string> = { zh: 'zh-CN', en: 'en-GB' }

const minus = (s: string) => s.replace(/^-/, '−')

/** A decimal number with at most `digits` places and grouping. */
export function number(lang: Lang, x: number, digits = 2): string {
  return minus(new Intl.NumberFormat(locales[lang], { maximumFractionDigits: digits }).format(x))
}

/** Money of the shop's currency. Below one unit four places show; from 10,000 on none. */
export function money(lang: Lang, currency: string, x: number, signed = false): string {
  const size = Math.abs(x)
  const digits = size === 0 ? 2 : size < 1 ? 3 : size < 10_000 ? 2 : 0
  return minus(
    new Intl.NumberFormat(locales[lang], {
      style: 'currency',
      currency,
      currencyDisplay: 'narrowSymbol',
      minimumFractionDigits: Math.min(digits, 2),
      maximumFractionDigits: digits,
      signDisplay: signed ? 'exceptZero' : 'auto',
    }).format(x),
  )
}

/** Money in few characters for chart axes: £1.2M, 120万. */
export function moneyShort(lang: Lang, currency: string, x: number): string {
  return minus(
    new Intl.NumberFormat(locales[lang], { style: 'currency', currency, currencyDisplay: 'narrowSymbol', notation: 'compact', minimumFractionDigits: 0, maximumFractionDigits: 1 }).format(x),
  )
}

/** A count in few characters for chart axes. */
export function countShort(lang: Lang, x: number): string {
  return new Intl.NumberFormat(locales[lang], { notation: 'compact', minimumFractionDigits: 0, maximumFractionDigits: 1 }).format(x)
}

/** A fraction as a percentage: 0.0512 → 5.12 %. Small fractions keep two significant digits. */
export function percent(lang: Lang, fraction: number, options: { digits?: number; signed?: boolean } = {}): string {
  const size = Math.abs(fraction * 100)
  const digits = options.digits ?? (size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2)
  return minus(
    new Intl.NumberFormat(locales[lang], {
      style: 'percent',
      minimumFractionDigits: 0,
      maximumFractionDigits: digits,
      signDisplay: options.signed ? 'exceptZero' : 'auto',
    }).format(fraction),
  )
}

/** Percentage points: the difference of two fractions. */
export function points(lang: Lang, fraction: number): string {
  const text = new Intl.NumberFormat(locales[lang], { maximumFractionDigits: 2, signDisplay: 'exceptZero' }).format(fraction * 100)
  return `${minus(text)} ${lang === 'zh' ? '个百分点' : 'pp'}`
}

/** A p-value: four places, or "< 0.0001". */
export function pValue(lang: Lang, p: number): string {
  if (p < 0.0001) return '< 0.0001'
  return new Intl.NumberFormat(locales[lang], { maximumFractionDigits: p < 0.01 ? 4 : 3 }).format(p)
}

/** A date or time of the wire as a day in the shop's time zone. A bare YYYY-MM-DD is that day everywhere. */
export function day(lang: Lang, timezone: string, value: string): string {
  const bare = /^\d{4}-\d{2}-\d{2}$/.test(value)
  const t = new Date(bare ? `${value}T00:00:00Z` : value)
  if (Number.isNaN(t.getTime())) return value
  return new Intl.DateTimeFormat(locales[lang], { timeZone: bare ? 'UTC' : timezone, year: 'numeric', month: 'short', day: 'numeric' }).format(t)
}

/** A time of the wire with minutes in the shop's time zone. */
export function dayTime(lang: Lang, timezone: string, value: string): string {
  const t = new Date(value)
  if (Number.isNaN(t.getTime())) return value
  return new Intl.DateTimeFormat(locales[lang], {
    timeZone: timezone,
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(t)
}

/** How a metric's mean is read. */
export type Unit = 'money' | 'fraction' | 'number'

const moneyFields = new Set(['value', 'margin', 'discount', 'platform_discount', 'commission', 'cost'])
const builtIn: Record<string, Unit> = {
  profit: 'money',
  revenue: 'money',
  aov: 'money',
  orders: 'number',
  order_rate: 'fraction',
  refund_share: 'fraction',
  retention_7d: 'fraction',
  repurchase_rate: 'fraction',
}

/** The unit of a metric: built-in metrics are known, others follow their kind and the event field they sum. */
export function metricUnit(key: string, kind: string, field?: string): Unit {
  const known = builtIn[key]
  if (known) return known
  if (kind === 'proportion' || kind === 'retention' || kind === 'funnel') return 'fraction'
  if (field && moneyFields.has(field)) return 'money'
  return 'number'
}

/** A metric's mean. */
export function metricValue(lang: Lang, currency: string, unit: Unit, x: number): string {
  if (unit === 'money') return money(lang, currency, x)
  if (unit === 'fraction') return percent(lang, x)
  return number(lang, x, Math.abs(x) < 1 ? 4 : 2)
}

/** A difference of means on the metric's own scale. */
export function metricDelta(lang: Lang, currency: string, unit: Unit, x: number): string {
  if (unit === 'money') return money(lang, currency, x, true)
  if (unit === 'fraction') return points(lang, x)
  return (x > 0 ? '+' : '') + number(lang, x, Math.abs(x) < 1 ? 4 : 2)
}

import type { Constraint, Experiment, MetricDef, Text } from './api'
import { has, type T } from './i18n'
import type { Lang } from './format'

/** When an experiment began: its planned start where that lies before the day somebody pressed start. */
export function beganAt(e: Pick<Experiment, 'start_at' | 'started_at'>): string | null {
  if (!e.started_at) return null
  return e.start_at && new Date(e.start_at) < new Date(e.started_at) ? e.start_at : e.started_at
}

/** The text of one language; a text that lacks it falls back to the other. */
export function say(lang: Lang, text: Text | string | null | undefined): string {
  if (!text) return ''
  if (typeof text === 'string') return text
  return (lang === 'zh' ? text.zh || text.en : text.en || text.zh) ?? ''
}

const windowed = /^(orders|revenue|sessions)_(\d+)d$/

/** A feature or attribute in words; a name that nobody translated is shown as it is. */
export function featureName(t: T, name: string): string {
  const m = windowed.exec(name)
  if (m) {
    const key = `feat.${m[1]}`
    if (has(key)) return t(key, { days: m[2] ?? '' })
  }
  const key = `feat.${name}`
  return has(key) ? t(key) : name
}

/** A metric in words: its own name, the built-in one, or its key. */
export function metricName(t: T, lang: Lang, key: string, defs?: MetricDef[]): string {
  const own = say(lang, defs?.find((d) => d.key === key)?.name)
  if (own) return own
  const builtIn = `metric.${key}`
  return has(builtIn) ? t(builtIn) : key
}

export function stageName(t: T, stage: string): string {
  const key = `stage.${stage}`
  return has(key) ? t(key) : stage
}

/** A reason code in words. */
export function reasonText(t: T, code: string | null | undefined): string {
  if (!code) return t('state.unknown')
  const key = `reason.${code}`
  return has(key) ? t(key) : code.replaceAll('_', ' ')
}

const fractions = new Set(['churn_risk', 'refund_share_all', 'discount_share_all'])

function valueText(t: T, attribute: string, value: string): string {
  if (attribute === 'stage') return stageName(t, value)
  const x = Number(value)
  if (fractions.has(attribute) && value.trim() !== '' && Number.isFinite(x)) return `${Math.round(x * 10000) / 100}%`
  return value
}

/** One condition in words, such as "Churn risk is at least 60%". */
export function constraintText(t: T, c: Constraint): string {
  const a = featureName(t, c.attribute)
  const v = c.values.map((x) => valueText(t, c.attribute, x)).join(t('op.or'))
  const key = `op.${c.operator}`
  const rule = has(key) ? t(key, { a, v }) : t('op.other', { a, op: c.operator, v })
  return c.inverted ? t('op.not', { rule }) : rule
}

/** All conditions in one sentence. */
export function constraintsText(t: T, list: Constraint[]): string {
  return list.map((c) => constraintText(t, c)).join(t('op.and'))
}

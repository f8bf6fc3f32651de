// The form's state of a new experiment, and its way to the body that the server reads.
import type { Constraint, Definition, Fault, Payload } from './api'

export type DraftVariant = { key: string; weight: number; offer: string; payload: string }
export type DraftGuardrail = { metric: string; marginPercent: number }
export type Draft = {
  key: string
  nameZh: string
  nameEn: string
  hypothesis: string
  control: number
  variants: DraftVariant[]
  coveragePercent: number
  targeting: Constraint[]
  primary: string
  secondary: string[]
  guardrails: DraftGuardrail[]
  inference: 'gst' | 'fixed' | 'confseq'
  horizonDays: number
  mdePercent: number
  alphaPercent: number
  looks: number
  ramp: boolean
}

/** The steps of an automatic ramp. */
export const rampSteps = [0.01, 0.05, 0.2, 0.5, 1]

export const emptyDraft: Draft = {
  key: '',
  nameZh: '',
  nameEn: '',
  hypothesis: '',
  control: 0,
  variants: [
    { key: 'control', weight: 1, offer: '', payload: '' },
    { key: 'treatment', weight: 1, offer: '', payload: '' },
  ],
  coveragePercent: 100,
  targeting: [],
  primary: 'profit',
  secondary: ['order_rate', 'revenue'],
  guardrails: [],
  inference: 'gst',
  horizonDays: 14,
  mdePercent: 5,
  alphaPercent: 5,
  looks: 14,
  ramp: false,
}

/** The payload of a text: JSON of any type, or null when empty. It throws SyntaxError on text that is not JSON. */
export function payloadOf(text: string): Payload | null {
  if (text.trim() === '') return null
  const value: unknown = JSON.parse(text)
  const kind = typeof value
  return { type: kind === 'string' || kind === 'number' || kind === 'boolean' ? kind : 'json', value }
}

const share = (percent: number) => Math.round(percent * 1e6) / 1e8

/** The body of a draft, or the faults that the page itself can see. */
export function definitionOf(d: Draft, words: { required: string; invalidJSON: (why: string) => string }): { body: Definition | null; faults: Fault[] } {
  const faults: Fault[] = []
  if (d.key.trim() === '') faults.push({ field: 'key', reason: words.required })
  if (d.nameZh.trim() === '' && d.nameEn.trim() === '') faults.push({ field: 'name', reason: words.required })
  const variants = d.variants.map((v, i) => {
    if (v.key.trim() === '') faults.push({ field: `variants[${i}].key`, reason: words.required })
    let payload: Payload | null = null
    try {
      payload = payloadOf(v.payload)
    } catch (cause) {
      faults.push({ field: `variants[${i}].payload`, reason: words.invalidJSON(cause instanceof Error ? cause.message : String(cause)) })
    }
    return { key: v.key.trim(), weight: v.weight, ...(payload ? { payload } : {}), ...(v.offer ? { offer: v.offer } : {}) }
  })
  d.targeting.forEach((c, i) => {
    if (c.attribute.trim() === '') faults.push({ field: `targeting[${i}].attribute`, reason: words.required })
    if (c.values.length === 0) faults.push({ field: `targeting[${i}].values`, reason: words.required })
  })
  if (faults.length > 0) return { body: null, faults }
  return {
    faults,
    body: {
      key: d.key.trim(),
      name: { zh: d.nameZh.trim() || d.nameEn.trim(), en: d.nameEn.trim() || d.nameZh.trim() },
      ...(d.hypothesis.trim() ? { hypothesis: d.hypothesis.trim() } : {}),
      control: variants[d.control]?.key ?? '',
      variants,
      ...(d.ramp ? { ramp: { steps: rampSteps, days: 1 } } : { coverage: share(d.coveragePercent) }),
      ...(d.targeting.length ? { targeting: d.targeting } : {}),
      metrics: {
        primary: d.primary,
        secondary: d.secondary,
        ...(d.guardrails.length ? { guardrails: d.guardrails.map((g) => ({ metric: g.metric, margin: share(g.marginPercent) })) } : {}),
      },
      plan: {
        inference: d.inference,
        alpha: share(d.alphaPercent),
        mde: share(d.mdePercent),
        horizon_days: d.horizonDays,
        ...(d.inference === 'gst' ? { looks: d.looks } : {}),
      },
    },
  }
}

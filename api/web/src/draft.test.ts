import { describe, expect, it } from 'vitest'
import { definitionOf, emptyDraft, payloadOf } from './draft'

const words = { required: 'required', invalidJSON: (why: string) => `not JSON: ${why}` }

describe('payloadOf', () => {
  it.each([
    ['', null],
    ['"x"', { type: 'string', value: 'x' }],
    ['2.5', { type: 'number', value: 2.5 }],
    ['true', { type: 'boolean', value: true }],
    ['{"off":20}', { type: 'json', value: { off: 20 } }],
    ['null', { type: 'json', value: null }],
  ])('%s', (text, want) => expect(payloadOf(text)).toEqual(want))
})

describe('definitionOf', () => {
  it('names every empty field', () => {
    const { body, faults } = definitionOf({ ...emptyDraft, targeting: [{ attribute: '', operator: 'IN', values: [] }] }, words)
    expect(body).toBeNull()
    expect(faults.map((f) => f.field)).toEqual(['key', 'name', 'targeting[0].attribute', 'targeting[0].values'])
  })
  it('names the variant whose payload is not JSON', () => {
    const { faults } = definitionOf({ ...emptyDraft, key: 'a', nameEn: 'A', variants: [...emptyDraft.variants.slice(0, 1), { key: 'b', weight: 1, offer: '', payload: '{' }] }, words)
    expect(faults.map((f) => f.field)).toEqual(['variants[1].payload'])
  })
  it('turns percents into fractions and fills the missing language', () => {
    const { body } = definitionOf({ ...emptyDraft, key: ' a ', nameZh: '甲', coveragePercent: 12.5, mdePercent: 3, control: 1, guardrails: [{ metric: 'refund_share', marginPercent: 2 }] }, words)
    expect(body).toMatchObject({
      key: 'a', name: { zh: '甲', en: '甲' }, control: 'treatment', coverage: 0.125,
      metrics: { primary: 'profit', guardrails: [{ metric: 'refund_share', margin: 0.02 }] },
      plan: { inference: 'gst', alpha: 0.05, mde: 0.03, looks: 14, horizon_days: 14 },
    })
  })
  it('leaves looks out of a fixed plan', () => expect(definitionOf({ ...emptyDraft, key: 'a', nameEn: 'A', inference: 'fixed' }, words).body?.plan.looks).toBeUndefined())
})

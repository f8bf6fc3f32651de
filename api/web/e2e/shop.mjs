// A small shop for the browser test, the same on every machine: `csv FILE` writes eighteen months of orders, `traffic BASE KEY` sends
// experiments and their customers through the HTTP interface. "Now" is the clock of the test's configuration.
import { writeFileSync } from 'node:fs'

export const now = Date.parse('2026-03-02T04:00:00Z')
const day = 86_400_000

/** A seeded generator of numbers in [0, 1): mulberry32. */
function seeded(seed) {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const stamp = (t) => new Date(t).toISOString()
const money = (x) => Math.round(x * 100) / 100

/** Orders of 600 customers who differ in rhythm and basket; some stop, some come back after a long silence. */
function csv() {
  const random = seeded(20260302)
  const begin = now - 548 * day
  const lines = ['order_id,user_id,created_at,total,margin,category']
  for (let i = 1; i <= 600; i++) {
    const gap = 8 + 150 * random() ** 2
    const basket = 30 + 240 * random() ** 2
    let t = begin + random() * 500 * day
    const stops = random() < 0.35 ? t + random() * 260 * day : Infinity
    const pause = random() < 0.06
    for (let k = 1; t < now - day && t < stops; k++) {
      const value = money(basket * (0.5 + random()))
      lines.push([`o${i}-${k}`, `c${String(i).padStart(4, '0')}`, stamp(t), value, money(value * (0.25 + 0.15 * random())), ['food', 'home', 'care'][Math.floor(random() * 3)]].join(','))
      t += pause && k === 1 ? Math.max(200 * day, now - 20 * day - t) : -Math.log(1 - random()) * gap * day
    }
  }
  return lines.join('\n') + '\n'
}

async function call(base, key, method, path, body) {
  const answer = await fetch(base + path, { method, headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? null : JSON.parse(text)
}

const offers = [
  { key: 'save-20', kind: 'spend_threshold', name: { zh: '满100减20', en: 'Spend 100, save 20' }, terms: { threshold: 100, off: 20 }, unit_cost: 20, rules: { zh: '单笔满 100 元减 20 元，每人一次。', en: '20 off one order of 100 or more, once per customer.' } },
]
const experiments = [
  {
    key: 'coupon-form', name: { zh: '满减还是不发券', en: 'Spend-and-save or no coupon' }, hypothesis: '满减抬高客单价。', salt: 'e2e-coupon-form', control: 'none',
    variants: [{ key: 'none', name: { zh: '不发券', en: 'No coupon' }, weight: 1 }, { key: 'save-20', name: { zh: '满100减20', en: 'Spend 100, save 20' }, weight: 1, offer: 'save-20', payload: { type: 'json', value: { threshold: 100, off: 20 } } }],
    metrics: { primary: 'profit', secondary: ['order_rate', 'revenue'] },
    plan: { inference: 'fixed', alpha: 0.05, max_units: 1500, horizon_days: 7 }, start_at: stamp(now - 40 * day), simulated: true,
  },
  {
    key: 'broken-split', name: { zh: '埋点出错的实验', en: 'Tracking went wrong' }, salt: 'e2e-broken-split', control: 'a',
    variants: [{ key: 'a', weight: 1 }, { key: 'b', weight: 1 }], metrics: { primary: 'profit', secondary: ['order_rate'] },
    plan: { inference: 'fixed', alpha: 0.05, horizon_days: 7 }, start_at: stamp(now - 40 * day),
  },
  {
    key: 'tiered', name: { zh: '按价值分层发券', en: 'Coupon tiered by value' }, salt: 'e2e-tiered', control: 'no-coupon',
    variants: [
      { key: 'no-coupon', weight: 1 },
      { key: 'coupon', weight: 1, payload: { type: 'json', value: { off: 10 } }, payloads: [{ when: [{ attribute: 'ltv_decile', operator: 'NUM_GTE', values: ['9'] }], payload: { type: 'json', value: { off: 30 } } }] },
    ],
    targeting: [{ attribute: 'stage', operator: 'IN', values: ['active', 'loyal', 'declining'] }, { attribute: 'churn_risk', operator: 'NUM_GTE', values: ['0.3'] }],
    metrics: { primary: 'profit', secondary: ['order_rate'] }, plan: { inference: 'gst', horizon_days: 14, looks: 10 },
  },
]

async function traffic(base, key) {
  for (const o of offers) await call(base, key, 'POST', '/v1/offers', o)
  await call(base, key, 'POST', '/v1/holdouts', { key: 'everything', salt: 'e2e-holdout', share: 0.02, experiments: null })
  for (const e of experiments) await call(base, key, 'POST', '/v1/experiments', e)
  for (const e of experiments.slice(0, 2)) await call(base, key, 'POST', `/v1/experiments/${e.key}/start`)
  const random = seeded(7)
  const units = Array.from({ length: 1600 }, (_, i) => `web-${String(i).padStart(4, '0')}`)
  const events = []
  let n = 0
  const event = (user_id, name, t, fields) => events.push({ event_id: `e2e-${n++}`, user_id, event: name, ts: stamp(t), ...fields })
  for (let from = 0; from < units.length; from += 400) {
    const body = { units: units.slice(from, from + 400).map((unit_id) => ({ unit_id })), experiments: ['coupon-form', 'broken-split'], expose: false }
    for (const { unit_id, assignments } of (await call(base, key, 'POST', '/v1/assignments/batch', body)).results) {
      const seen = now - (12 + random() * 12) * day
      let better = false
      for (const a of assignments) {
        if (!a.enrolled || (a.variant === 'b' && random() < 0.4)) continue
        event(unit_id, 'Experiment Viewed', seen, { properties: { experiment: a.experiment, variant: a.variant, allocation_revision: a.allocation_revision, p_assign: a.p_assign } })
        better ||= a.variant === 'save-20'
      }
      if (random() < (better ? 0.32 : 0.2)) {
        const value = money((better ? 115 : 80) * (0.6 + 0.8 * random()))
        event(unit_id, 'Order Completed', seen + random() * 6 * day, { order_id: `w${unit_id}`, value, margin: money(value * 0.4), discount: better && value >= 100 ? 20 : 0 })
      }
    }
  }
  const answer = await call(base, key, 'POST', '/v1/events', events)
  if (answer.rejected?.length) throw new Error(`events rejected: ${JSON.stringify(answer.rejected.slice(0, 3))}`)
}

const [what, a, b] = process.argv.slice(2)
if (what === 'csv') writeFileSync(a, csv())
else if (what === 'traffic') await traffic(a, b)
else throw new Error('usage: shop.mjs csv FILE | shop.mjs traffic BASE KEY')

import { describe, expect, it } from 'vitest'
import { day, dayTime, metricDelta, metricUnit, money, moneyShort, number, percent, points, pValue } from './format'

describe('format', () => {
  it.each([
    ['en', 0, '£0.00'],
    ['en', 0.4216, '£0.422'],
    ['en', -12.5, '−£12.50'],
    ['zh', 1234567.891, '£1,234,568'],
  ] as const)('money %s %f', (lang, x, want) => expect(money(lang, 'GBP', x)).toBe(want))

  it('signs money', () => expect([money('en', 'GBP', 3, true), money('en', 'GBP', 0, true)]).toEqual(['+£3.00', '£0.00']))
  it('shortens money by language', () => expect([moneyShort('en', 'GBP', 1_200_000), moneyShort('zh', 'CNY', 1_200_000)]).toEqual(['£1.2m', '¥120万']))
  it('writes yuan with one sign', () => expect(money('en', 'CNY', 5)).toBe('¥5.00'))

  it.each([
    [0.0512, '5.12%'],
    [0.9, '90%'],
    [0.123456, '12.3%'],
    [0, '0%'],
    [1.5, '150%'],
    [-0.02, '−2%'],
  ])('percent %f', (x, want) => expect(percent('en', x)).toBe(want))
  it('signs percent', () => expect(percent('en', 0.1, { signed: true })).toBe('+10%'))
  it('writes points in both languages', () => expect([points('en', 0.0157), points('zh', -0.0157)]).toEqual(['+1.57 pp', '−1.57 个百分点']))

  it.each([
    [0.00001, '< 0.0001'],
    [0.00123, '0.0012'],
    [0.0456, '0.046'],
    [1, '1'],
  ])('p %f', (p, want) => expect(pValue('en', p)).toBe(want))

  it('keeps a bare date on its day in every zone', () => expect(day('en', 'America/Los_Angeles', '2011-12-10')).toBe('10 Dec 2011'))
  it('moves a time into the shop’s zone', () => expect(day('en', 'Asia/Shanghai', '2026-11-22T20:15:00Z')).toBe('23 Nov 2026'))
  it('writes a time with minutes', () => expect(dayTime('en', 'Asia/Shanghai', '2026-11-22T20:15:00Z')).toContain('04:15'))
  it('returns what is not a date unchanged', () => expect(day('en', 'UTC', 'soon')).toBe('soon'))
  it('groups numbers', () => expect(number('en', -12345.678)).toBe('−12,345.68'))

  it.each([
    ['profit', 'mean', undefined, 'money'],
    ['order_rate', 'proportion', undefined, 'fraction'],
    ['mine', 'mean', 'value', 'money'],
    ['mine', 'mean', undefined, 'number'],
    ['mine', 'proportion', undefined, 'fraction'],
  ] as const)('unit of %s', (key, kind, field, want) => expect(metricUnit(key, kind, field)).toBe(want))
  it('writes differences on the metric’s scale', () =>
    expect([metricDelta('en', 'GBP', 'fraction', 0.01), metricDelta('en', 'GBP', 'number', -0.5), metricDelta('en', 'GBP', 'money', 2)]).toEqual(['+1 pp', '−0.5', '+£2.00']))
})

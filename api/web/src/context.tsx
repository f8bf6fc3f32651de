import { createContext, useContext, useMemo } from 'react'
import type { Me } from './api'
import { day, dayTime, metricDelta, metricValue, money, moneyShort, number, percent, points, pValue, type Lang, type Unit } from './format'
import { useText } from './i18n'

export const MeContext = createContext<Me | null>(null)

/** Who is signed in; only pages behind the sign-in ask. */
export function useMe(): Me {
  const me = useContext(MeContext)
  if (!me) throw new Error('useMe outside of the signed-in pages')
  return me
}

/** True when the signed-in role may change experiments, offers, layers and holdouts. */
export const mayWrite = (me: Me) => me.role === 'marketer' || me.role === 'admin'

export type Formats = ReturnType<typeof formats>

function formats(lang: Lang, me: Pick<Me, 'currency' | 'timezone'>) {
  return {
    number: (x: number, digits?: number) => number(lang, x, digits),
    money: (x: number, signed?: boolean) => money(lang, me.currency, x, signed),
    moneyShort: (x: number) => moneyShort(lang, me.currency, x),
    percent: (x: number, options?: { digits?: number; signed?: boolean }) => percent(lang, x, options),
    /** A probability: whole percents, tenths below ten per cent. */
    risk: (x: number) => percent(lang, x, { digits: x < 0.1 && x > 0 ? 1 : 0 }),
    ago: (days: number) => new Intl.RelativeTimeFormat(lang === 'zh' ? 'zh-CN' : 'en-GB').format(-Math.floor(days), 'day'),
    points: (x: number) => points(lang, x),
    p: (x: number) => pValue(lang, x),
    day: (x: string) => day(lang, me.timezone, x),
    dayTime: (x: string) => dayTime(lang, me.timezone, x),
    value: (unit: Unit, x: number) => metricValue(lang, me.currency, unit, x),
    delta: (unit: Unit, x: number) => metricDelta(lang, me.currency, unit, x),
  }
}

/** The formatters of the chosen language, the shop's currency and its time zone. */
export function useFormats(): Formats {
  const { lang } = useText()
  const me = useMe()
  return useMemo(() => formats(lang, me), [lang, me])
}

import i18next from 'i18next'
import { initReactI18next, useTranslation } from 'react-i18next'
import type { Lang } from '../format'
import { en, type Key } from './en'
import { zh } from './zh'

const remembered = 'perennial.lang'

/** The language to start with: ?lang= of the address, the one chosen before, the browser's, English. */
function initial(): Lang {
  const asked = new URLSearchParams(location.search).get('lang') ?? localStorage.getItem(remembered) ?? navigator.language
  return asked.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

export async function startI18n(): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: initial(),
    fallbackLng: false,
    resources: { en: { translation: en }, zh: { translation: zh } },
    keySeparator: false,
    nsSeparator: false,
    interpolation: { escapeValue: false },
    returnNull: false,
  })
  document.documentElement.lang = initial() === 'zh' ? 'zh-CN' : 'en'
}

export function setLang(lang: Lang): void {
  localStorage.setItem(remembered, lang)
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en'
  void i18next.changeLanguage(lang)
}

export type T = (key: Key, values?: Record<string, string | number>) => string

/** The translator and the language; t accepts only keys that exist. */
export function useText(): { t: T; lang: Lang } {
  const { t, i18n } = useTranslation()
  return { t: t as unknown as T, lang: (i18n.language as Lang) ?? 'en' }
}

/** True when a key of a family exists, such as reason.too_few. */
export function has(key: string): key is Key {
  return key in en
}

export type { Key }

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { en } from './en'
import { zh } from './zh'

const holes = (s: string) => [...s.matchAll(/{{(\w+)}}/g)].map((m) => m[1]).sort()

describe('texts', () => {
  it('have the same keys in both languages', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort())
  })

  it('are never empty and fill the same holes', () => {
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(en[key].trim(), key).not.toBe('')
      expect(zh[key].trim(), key).not.toBe('')
      expect(holes(zh[key]), key).toEqual(holes(en[key]))
    }
  })

  it('are Chinese in zh and not in en', () => {
    const same = new Set(['app.name', 'res.col.p', 'fig.srm.detail', 'op.other', 'list.count', 'exp.decided.text'])
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(/\p{Script=Han}/u.test(en[key]), `en ${key}`).toBe(false)
      if (!same.has(key)) expect(/\p{Script=Han}/u.test(zh[key]), `zh ${key}`).toBe(true)
    }
  })

  it('are all known where the code asks for them, and all asked for', () => {
    const files: string[] = []
    const walk = (dir: string) => {
      for (const name of readdirSync(dir)) {
        const path = join(dir, name)
        if (statSync(path).isDirectory()) walk(path)
        else if (/\.tsx?$/.test(name) && !name.endsWith('.test.ts') && !/i18n[\\/](en|zh)\.ts$/.test(path)) files.push(path)
      }
    }
    walk(join(import.meta.dirname, '..'))
    const code = files.map((f) => readFileSync(f, 'utf8')).join('\n')
    const families = [...code.matchAll(/`([a-z]+(?:\.[a-zA-Z]+)*\.)\$\{/g)].map((m) => m[1] as string)
    const unused = Object.keys(en).filter((key) => !code.includes(`'${key}'`) && !families.some((f) => key.startsWith(f)))
    expect(unused).toEqual([])
    const asked = [...code.matchAll(/\bt\('([^']+)'/g)].map((m) => m[1] as string)
    expect(asked.filter((key) => !(key in en))).toEqual([])
  })
})

// The browser test: from the list to a decision in both languages, customers by stage, models, a new experiment from draft to decision, and
// every other page. Environment: BASE_URL, and SIGNIN_KEY (an admin's key) or SIGNIN_LINK (a link that signs in once); CHROMIUM
// (default /usr/bin/chromium), E2E_SHOTS (default build/e2e). Any console error, any serious accessibility finding, any sideways scrolling
// on a phone fails it.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const here = dirname(fileURLToPath(import.meta.url))
const base = (process.env.BASE_URL ?? '').replace(/\/$/, '')
const key = process.env.SIGNIN_KEY
const link = process.env.SIGNIN_LINK
const shots = process.env.E2E_SHOTS ?? join(here, '../../../build/e2e')
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
assert(base, 'BASE_URL is not set')
assert(key || link, 'set SIGNIN_KEY or SIGNIN_LINK')
assert(existsSync(executablePath), `no Chromium at ${executablePath}: apt-get install chromium`)
assert(execFileSync('fc-list', [':lang=zh-cn']).length > 0, 'no Chinese font: apt-get install fonts-noto-cjk')
mkdirSync(shots, { recursive: true })
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-GB', reducedMotion: 'reduce' })
context.setDefaultTimeout(20_000)
const page = await context.newPage()
let forgiven = false // while a step provokes a refusal on purpose, the browser logs it
const consoleErrors = []
page.on('console', (m) => {
  if (m.type() === 'error' && !(forgiven && /status of 4\d\d/.test(m.text()))) consoleErrors.push(`${page.url()}: ${m.text()}`)
})
page.on('pageerror', (e) => consoleErrors.push(`${page.url()}: ${e.stack ?? e.message}`))

const texts = { en: {}, zh: {} }
for (const lang of ['en', 'zh']) {
  const source = readFileSync(join(here, `../src/i18n/${lang}.ts`), 'utf8')
  for (const [, k, v] of source.matchAll(/^ {2}'([^']+)': '(.*)',$/gm)) texts[lang][k] = v
}
const say = (lang, k, values = {}) => {
  const text = texts[lang][k]
  assert(text, `no text ${k}`)
  return text.replace(/{{(\w+)}}/g, (_, name) => String(values[name]))
}
let done = 0
async function step(name, f) {
  try {
    await f()
    done++
    console.log(`ok   ${name}`)
  } catch (cause) {
    await page.screenshot({ path: join(shots, 'failed.png'), fullPage: true }).catch(() => {})
    console.log(`FAIL ${name} (${page.url()}; ${join(shots, 'failed.png')})`)
    throw cause
  }
}
const api = async (path) => {
  const answer = await context.request.get(base + path)
  assert(answer.ok(), `GET ${path}: ${answer.status()}`)
  return answer.json()
}
const settled = async () => {
  await page.waitForLoadState('networkidle')
  await page.locator('.ant-skeleton, .ant-spin-spinning, .chart-wait').first().waitFor({ state: 'detached' })
}
const open = async (path) => {
  await page.goto(base + path)
  await settled()
}
const shoot = (name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
const headline = () => page.locator('h1').innerText()

/** Serious and critical findings of axe on what is shown now. */
async function accessible(name) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
  assert.equal(bad.length, 0, `${name}: ${bad.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? ''}`).join(' | ')}`).join('\n')}`)
}
async function noSidewaysScroll(name) {
  const [content, window_] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
  assert(content <= window_, `${name}: the page is ${content} px wide in a window of ${window_} px`)
}
async function setLang(lang) {
  await page.getByRole('button', { name: lang === 'zh' ? '中文' : 'English' }).click()
  await page.waitForFunction((l) => document.documentElement.lang.startsWith(l), lang)
}

try {
  if (key) {
    await step('a wrong key is refused, the right one signs in', async () => {
      forgiven = true
      await open('/')
      await page.locator('input[name=key], #key').fill('not-a-key')
      await page.locator('button[type=submit]').click()
      await page.getByRole('alert').first().waitFor()
      await page.locator('input[name=key], #key').fill(key)
      await page.locator('button[type=submit]').click()
      await page.locator('h1').waitFor()
      await page.waitForURL((u) => !u.pathname.startsWith('/signin'))
      await settled()
      forgiven = false
    })
  } else {
    await step('the link signs in', () => open(link.slice(new URL(link).origin.length)))
  }
  const me = await api('/v1/me')
  const { experiments } = await api('/v1/experiments')
  assert(experiments.length > 0, 'the server has no experiments')
  const results = new Map()
  for (const e of experiments.filter((x) => x.status !== 'draft')) results.set(e.key, await api(`/v1/experiments/${e.key}/results`))
  const judged = experiments.filter((e) => results.get(e.key)?.source.exposed > 0)
  assert(judged.length > 0, 'no experiment has results')
  const decisive = judged.find((e) => results.get(e.key).decision.action !== 'keep_running') ?? judged[0]

  for (const lang of ['en', 'zh']) {
    await step(`${lang}: the list shows every experiment`, async () => {
      await setLang(lang)
      await open('/')
      assert.equal(await headline(), say(lang, 'list.title'))
      assert.match(await page.title(), new RegExp(say(lang, 'list.title')))
      for (const e of experiments) await page.getByRole('link', { name: e.name[lang], exact: true }).waitFor()
      assert.equal(await page.locator('.exp-row .simulated').count(), experiments.filter((e) => e.simulated).length, 'simulated labels')
      for (const e of judged) {
        const row = page.locator('.exp-row', { has: page.getByRole('link', { name: e.name[lang], exact: true }) })
        if (!e.decided) assert.equal((await row.locator('.action').innerText()).trim(), say(lang, `action.${results.get(e.key).decision.action}`))
      }
      await accessible('list')
      await shoot(`list-${lang}`)
    })
    for (const e of judged) {
      await step(`${lang}: from the list to the decision of ${e.key}`, async () => {
        await open('/')
        await page.getByRole('link', { name: e.name[lang], exact: true }).click()
        await page.locator('.decision-text').waitFor()
        await settled()
        const r = results.get(e.key)
        assert.equal(await headline(), e.name[lang])
        assert.equal(await page.locator('.decision-text').innerText(), r.decision.text[lang])
        assert.equal((await page.locator('.decision .action').innerText()).trim(), say(lang, `action.${r.decision.action}`))
        const figures = await page.locator('.figures').innerText()
        if (['ok', 'warning', 'fail'].includes(r.srm.verdict)) assert(figures.includes(say(lang, `fig.srm.${r.srm.verdict}`)), 'the verdict on the split')
        assert(figures.includes(say(lang, 'fig.profit')), 'profit per customer')
        const whole = r.results.filter((x) => x.segment === null)
        assert.equal(await page.locator('.results-row:not(.head)').count(), whole.length, 'one row per metric and variant')
        await page.getByText(say(lang, 'method.title')).click()
        await page.locator('pre.sql').first().waitFor()
        assert.match(await page.locator('pre.sql').first().innerText(), /select/i)
        await accessible(`experiment ${e.key}`)
        await shoot(`experiment-${e.key}-${lang}`)
      })
    }
    await step(`${lang}: groups of ${decisive.key}`, async () => {
      await open(`/experiments/${decisive.key}`)
      const section = page.locator('section', { has: page.getByRole('heading', { name: say(lang, 'seg.title') }) })
      await section.getByText(say(lang, 'seg.stage'), { exact: true }).click()
      await section.locator('.segment-row, .quiet.tight').first().waitFor()
      await settled()
    })

    const lifecycle = await api('/v1/lifecycle')
    await step(`${lang}: the lifecycle over time`, async () => {
      await open('/customers')
      await page.getByRole('link', { name: say(lang, 'life.title') }).click()
      await page.locator('table.heat').nth(1).waitFor()
      await settled()
      assert.equal(await headline(), say(lang, 'life.title'))
      const heat = await api('/v1/lifecycle/cohorts?unit=month&definition=classic')
      const open_ = heat.cohorts.filter((c) => c.users > 0).flatMap((c) => c.cells).filter((c) => !c.mature).length
      assert.equal(await page.locator('td.hatched').count(), open_, 'hatched cells are the periods that are not over')
      const last = (await api('/v1/lifecycle/stages')).days.at(-1)
      assert.equal(Object.values(last.stages).reduce((a, b) => a + b, 0), last.users)
      await accessible('lifecycle')
      await shoot(`lifecycle-${lang}`)
    })
    await step(`${lang}: customers by stage, down to one customer`, async () => {
      await open('/customers')
      assert.equal(await headline(), say(lang, 'cust.title'))
      for (const s of lifecycle.stages) await page.getByRole('rowheader', { name: say(lang, `stage.${s.stage}`) }).waitFor()
      assert.equal(await page.locator('svg path').count() > 10, true, 'charts are drawn')
      await accessible('customers')
      await shoot(`customers-${lang}`)
      const big = [...lifecycle.stages].sort((a, b) => b.users - a.users)[0]
      await page.getByRole('rowheader', { name: say(lang, `stage.${big.stage}`) }).getByRole('link').click()
      await page.waitForURL(/stage=/)
      await page.locator('.lead', { hasText: new Intl.NumberFormat('en-GB').format(big.users) }).waitFor()
      await settled()
      const firstId = await page.locator('tbody th a').first().innerText()
      if (big.users > 25) {
        await page.getByRole('button', { name: say(lang, 'users.next') }).click()
        await page.waitForFunction((id) => document.querySelector('tbody th a')?.textContent !== id, firstId)
        await page.getByRole('button', { name: say(lang, 'users.previous') }).click()
        await page.waitForFunction((id) => document.querySelector('tbody th a')?.textContent === id, firstId)
      }
      await accessible('customer list')
      await shoot(`users-${lang}`)
      await page.getByPlaceholder(say(lang, 'users.search')).fill(firstId)
      await page.getByPlaceholder(say(lang, 'users.search')).press('Enter')
      await page.waitForURL(/q=/)
      await settled()
      await page.getByRole('link', { name: firstId, exact: true }).click()
      await page.getByRole('heading', { name: say(lang, 'user.title', { id: firstId }) }).waitFor()
      await settled()
      await accessible('customer')
      await shoot(`user-${lang}`)
    })
    await step(`${lang}: models beside their baselines`, async () => {
      const { models } = await api('/v1/models')
      assert(models.length > 0, 'no models')
      await open('/models')
      for (const target of new Set(models.map((m) => m.target))) await page.getByRole('heading', { name: say(lang, `model.${target}`) }).first().waitFor()
      assert((await page.locator('.role-baseline').count()) > 0, 'no baseline is shown')
      assert((await page.locator('figure.chart svg').count()) > 0, 'no calibration chart')
      await accessible('models')
      await shoot(`models-${lang}`)
    })
    for (const [path, title] of [['/offers', 'offer.title'], ['/traffic', 'traffic.title'], ['/keys', 'keys.title'], ['/audit', 'audit.title'], ['/experiments/new', 'new.title']]) {
      await step(`${lang}: ${path}`, async () => {
        await open(path)
        assert.equal(await headline(), say(lang, title))
        await accessible(path)
        await shoot(`${path.slice(1).replace('/', '-')}-${lang}`)
      })
    }
  }

  await step('the language is remembered', async () => {
    await setLang('zh')
    await page.reload()
    await settled()
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN')
    await setLang('en')
  })

  const made = `e2e-${Date.now().toString(36)}`
  const field = (k) => page.getByLabel(say('en', k), { exact: true })
  await step('a new experiment: faults stand at their fields', async () => {
    await open('/experiments/new')
    await page.getByRole('button', { name: say('en', 'new.submit') }).click()
    await page.locator('.fault').first().waitFor()
    await field('new.key').fill('Not A Key!')
    await field('new.nameEn').fill('Made by the browser test')
    await field('new.nameZh').fill('浏览器测试所建')
    forgiven = true
    await page.getByRole('button', { name: say('en', 'new.submit') }).click()
    const fault = page.locator('.field', { has: field('new.key') }).locator('.fault')
    await fault.waitFor()
    forgiven = false
    await shoot('new-faults')
  })
  await step('a new experiment is saved as a draft with its targeting', async () => {
    await field('new.key').fill(made)
    await page.getByRole('button', { name: say('en', 'new.targeting.add') }).click()
    await field('new.targeting.values').click()
    await page.locator('.ant-select-item-option', { hasText: say('en', 'stage.loyal') }).click()
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: say('en', 'new.submit') }).click()
    await page.waitForURL(new RegExp(made))
    await page.getByText(say('en', 'exp.draft.title')).waitFor()
    const e = await api(`/v1/experiments/${made}`)
    assert.equal(e.status, 'draft')
    assert.deepEqual(e.targeting[0].values, ['loyal'])
    await accessible('draft')
    await shoot('draft-en')
  })
  const dialog = () => page.getByRole('dialog')
  const act = async (button, inside) => {
    await page.getByRole('button', { name: say('en', button), exact: true }).click()
    await dialog().waitFor()
    await page.waitForTimeout(300) // the dialog fades in; axe would measure colours half-way
    if (inside) await inside()
    await dialog().getByRole('button', { name: say('en', button), exact: true }).click()
    await dialog().waitFor({ state: 'hidden' })
    await settled()
  }
  await step('start, ramp, decide and stop, each confirmed', async () => {
    await act('do.start', () => accessible('start dialog'))
    assert.equal((await api(`/v1/experiments/${made}`)).status, 'running')
    await act('do.decide', async () => {
      await page.getByLabel(say('en', 'do.decide.reason')).fill('The browser test says so.')
      await accessible('decide dialog')
      await shoot('decide-dialog-en')
    })
    assert.equal((await api(`/v1/experiments/${made}`)).decided.reason, 'The browser test says so.')
    await act('do.stop')
    assert.equal((await api(`/v1/experiments/${made}`)).status, 'stopped')
    await page.getByText(say('en', 'exp.decided.title')).waitFor()
  })
  await step('a page that is out of date is told so', async () => {
    const stale = `${made}-stale`
    const headers = { 'X-Requested-With': 'perennial', 'Content-Type': 'application/json' }
    const body = { key: stale, name: 'Stale', control: 'a', variants: [{ key: 'a', weight: 1 }, { key: 'b', weight: 1 }], coverage: 0.5, metrics: { primary: 'profit' }, plan: {} }
    assert((await context.request.post(`${base}/v1/experiments`, { headers, data: body })).ok())
    await open(`/experiments/${stale}`)
    assert((await context.request.post(`${base}/v1/experiments/${stale}/start`, { headers, data: {} })).ok())
    forgiven = true
    await page.getByRole('button', { name: say('en', 'do.start'), exact: true }).click()
    await dialog().getByRole('button', { name: say('en', 'do.start'), exact: true }).click()
    await page.getByText(say('en', 'do.stale')).waitFor()
    forgiven = false
    await settled()
    await act('do.ramp', async () => {
      const handle = dialog().getByRole('slider')
      await handle.focus()
      await page.keyboard.press('End')
    })
    assert.equal((await api(`/v1/experiments/${stale}`)).coverage, 1)
    await act('do.stop')
  })
  if (me.role === 'admin') {
    await step('a key is made, shown once and revoked', async () => {
      await open('/keys')
      await page.getByRole('button', { name: say('en', 'keys.new') }).click()
      await page.getByLabel(say('en', 'keys.name'), { exact: true }).fill(made)
      await dialog().getByRole('button', { name: say('en', 'keys.create') }).click()
      const secret = await page.locator('.secret').innerText()
      assert(secret.length > 20)
      await dialog().locator('.ant-btn-primary').click()
      const row = page.locator('tr', { hasText: made })
      await row.getByRole('button', { name: say('en', 'keys.revoke') }).click()
      await page.locator('.ant-popconfirm').getByRole('button', { name: say('en', 'keys.revoke') }).click()
      await row.getByText(/revoked/).waitFor()
    })
  }
  await step('a path that does not exist', async () => {
    await open('/no/such/page')
    assert.equal(await page.locator('.empty h2').innerText(), say('en', 'state.notFound.title'))
    await accessible('not found')
  })

  for (const lang of ['en', 'zh']) {
    await step(`${lang}: phone width`, async () => {
      await setLang(lang)
      await page.setViewportSize({ width: 390, height: 844 })
      const user = (await api('/v1/scores?limit=1')).scores[0].user_id
      for (const path of ['/', `/experiments/${decisive.key}`, '/experiments/new', '/customers', '/customers/lifecycle', '/customers/list', `/customers/list/${encodeURIComponent(user)}`, '/models', '/offers', '/traffic', '/keys', '/audit']) {
        await open(path)
        await noSidewaysScroll(path)
        await shoot(`phone-${path === '/' ? 'list' : path.slice(1).replaceAll('/', '-')}-${lang}`)
      }
      await accessible('phone')
      await page.getByRole('button', { name: say(lang, 'app.menu') }).click()
      await page.locator('.drawer-nav').getByRole('link', { name: say(lang, 'nav.customers') }).click()
      await page.waitForURL(/customers/)
      await page.setViewportSize({ width: 1280, height: 900 })
    })
  }
  await step('signing out asks for a key again', async () => {
    await setLang('en')
    await open('/')
    await page.getByRole('button', { name: say('en', 'app.account') }).click()
    await page.getByText(say('en', 'app.signOut')).click()
    await page.getByRole('heading', { name: say('en', 'signin.title') }).waitFor()
    await accessible('sign in')
    await shoot('signin-en')
    if (key) {
      await page.getByLabel(say('en', 'signin.key')).fill(key)
      await page.getByRole('button', { name: say('en', 'signin.submit') }).click()
      await page.getByRole('heading', { name: say('en', 'list.title') }).waitFor()
      await settled()
    }
  })
  await step('no console errors', async () => assert.deepEqual(consoleErrors, []))
  console.log(`${done} steps passed; screenshots in ${shots}`)
} finally {
  await browser.close()
}

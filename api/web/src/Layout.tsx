import { ClockCircleOutlined, DownOutlined, LogoutOutlined, MenuOutlined, UserOutlined } from '@ant-design/icons'
import { Button, Drawer, Dropdown, Popover } from 'antd'
import { useEffect, useState, type ReactNode } from 'react'
import { NavLink, useLocation } from 'react-router'
import { useFormats, useMe } from './context'
import { setLang, useText, type Key } from './i18n'

type Entry = { to: string; key: Key; admin?: boolean; under?: string }

const main: Entry[] = [
  { to: '/', key: 'nav.experiments', under: '/experiments' },
  { to: '/customers', key: 'nav.customers' },
  { to: '/models', key: 'nav.models' },
  { to: '/offers', key: 'nav.offers' },
]
const more: Entry[] = [
  { to: '/traffic', key: 'nav.traffic' },
  { to: '/keys', key: 'nav.keys', admin: true },
  { to: '/audit', key: 'nav.audit' },
]

export function Mark() {
  return (
    <svg viewBox="0 0 64 64" width="30" height="30" aria-hidden="true">
      <rect width="64" height="64" rx="15" fill="#2f6152" />
      <path d="M32 54V29" fill="none" stroke="#f5efdf" strokeWidth="4.5" strokeLinecap="round" />
      <path d="M32 37C17.500 37 12 28.500 12 17c14 0 20 7 20 20Z" fill="#8fc3a0" />
      <path d="M32 30c0-12 6-19 20-19 0 12-5.500 19-20 19Z" fill="#e0b35a" />
    </svg>
  )
}

/** The switch between Chinese and English; the choice is remembered. */
export function LangSwitch() {
  const { t, lang } = useText()
  return (
    <div className="lang" role="group" aria-label={t('app.language')}>
      <button type="button" lang="zh-CN" aria-pressed={lang === 'zh'} onClick={() => setLang('zh')}>
        中文
      </button>
      <button type="button" lang="en" aria-pressed={lang === 'en'} onClick={() => setLang('en')}>
        English
      </button>
    </div>
  )
}

/** Header with navigation, and the page below it. */
export function Layout({ signOut, children }: { signOut: () => void; children: ReactNode }) {
  const { t } = useText()
  const me = useMe()
  const f = useFormats()
  const { pathname } = useLocation()
  const [open, setOpen] = useState(false)
  useEffect(() => {
    setOpen(false)
    window.scrollTo(0, 0)
  }, [pathname])
  const allowed = (e: Entry) => !e.admin || me.role === 'admin'
  const link = (e: Entry) => (
    <NavLink key={e.to} to={e.to} end={e.to === '/'} className={({ isActive }) => (isActive || (e.under && pathname.startsWith(e.under)) ? 'on' : '')}>
      {t(e.key)}
    </NavLink>
  )
  const role = t(`role.${me.role as 'admin'}`)
  return (
    <>
      <a className="skip" href="#main">
        {t('app.skip')}
      </a>
      <header className="top">
        <div className="top-in">
          <NavLink to="/" className="brand" aria-label={t('app.name')}>
            <Mark />
            <span>{t('app.name')}</span>
          </NavLink>
          <nav className="nav" aria-label={t('app.menu')}>
            {main.map(link)}
            <Dropdown trigger={['click']} menu={{ items: more.filter(allowed).map((e) => ({ key: e.to, label: <NavLink to={e.to}>{t(e.key)}</NavLink> })) }}>
              <button type="button" className={more.some((e) => pathname.startsWith(e.to)) ? 'on' : ''}>
                {t('nav.more')} <DownOutlined />
              </button>
            </Dropdown>
          </nav>
          <div className="top-right">
            {me.simulated_clock && (
              <Popover content={<div className="help-text">{t('app.clock.help', { now: f.day(me.now) })}</div>} trigger={['click', 'hover']}>
                <button type="button" className="clock">
                  <ClockCircleOutlined /> <span>{f.day(me.now)}</span>
                </button>
              </Popover>
            )}
            <LangSwitch />
            <Dropdown
              trigger={['click']}
              menu={{
                items: [
                  { key: 'who', disabled: true, label: [me.name, role].filter(Boolean).join(' · ') },
                  { key: 'version', disabled: true, label: t('app.version', { version: me.version }) },
                  { key: 'docs', label: <a href="/docs">{t('app.docs')}</a> },
                  { key: 'out', icon: <LogoutOutlined />, label: t('app.signOut'), onClick: signOut },
                ],
              }}
            >
              <Button type="text" className="account" icon={<UserOutlined />} aria-label={t('app.account')} />
            </Dropdown>
            <Button type="text" className="burger" icon={<MenuOutlined />} aria-label={t('app.menu')} onClick={() => setOpen(true)} />
          </div>
        </div>
      </header>
      <Drawer open={open} onClose={() => setOpen(false)} placement="right" size={280} title={t('app.name')}>
        <nav className="drawer-nav" aria-label={t('app.menu')}>
          {main.map(link)}
          {more.filter(allowed).map(link)}
          {me.simulated_clock && <p className="quiet">{t('app.clock', { now: f.day(me.now) })}</p>}
        </nav>
      </Drawer>
      <main id="main" className="page" tabIndex={-1}>
        {children}
      </main>
    </>
  )
}

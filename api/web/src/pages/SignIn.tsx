import { Alert, Button, Input } from 'antd'
import { useState, type FormEvent } from 'react'
import { api, ApiError } from '../api'
import { Command } from '../components/State'
import { useTitle } from '../hooks'
import { useText } from '../i18n'
import { LangSwitch, Mark } from '../Layout'

/** Asks for a key; the sign-in links of the server need no form. */
export function SignIn({ done }: { done: () => void }) {
  const { t } = useText()
  useTitle(t('signin.title'))
  const [key, setKey] = useState('')
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (e: FormEvent) => {
    e.preventDefault()
    if (key.trim() === '') {
      setError(t('signin.empty'))
      return
    }
    setBusy(true)
    try {
      await api.signIn(key.trim())
      done()
    } catch (cause) {
      const status = cause instanceof ApiError ? cause.status : 0
      setError(status === 0 ? t('state.error.network') : status === 401 ? t('signin.wrong') : (cause as ApiError).message)
    } finally {
      setBusy(false)
    }
  }
  return (
    <main className="signin">
      <div className="signin-card">
        <div className="signin-head">
          <span className="brand dark">
            <Mark />
            <span>{t('app.name')}</span>
          </span>
          <LangSwitch />
        </div>
        <h1>{t('signin.title')}</h1>
        <p className="lead">{t('app.tagline')}</p>
        <p>{t('signin.text')}</p>
        <form onSubmit={(e) => void submit(e)}>
          <label htmlFor="key">{t('signin.key')}</label>
          <Input.Password id="key" value={key} autoComplete="current-password" onChange={(e) => setKey(e.target.value)} size="large" />
          {error && <Alert type="error" showIcon title={error} role="alert" />}
          <Button type="primary" htmlType="submit" size="large" loading={busy} block>
            {t('signin.submit')}
          </Button>
        </form>
        <p className="quiet">{t('signin.make')}</p>
        <Command text="perennial keys create --role marketer" />
      </div>
    </main>
  )
}

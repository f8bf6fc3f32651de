import { Alert, Button, Skeleton } from 'antd'
import type { ReactNode } from 'react'
import { ApiError } from '../api'
import type { Loaded } from '../hooks'
import { useText } from '../i18n'
import { reasonText } from '../words'

/** What went wrong, in words, with the next step. */
export function ErrorState({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useText()
  const e = error instanceof ApiError ? error : null
  let text = e?.detail || (error instanceof Error ? error.message : '')
  if (e?.status === 0) text = t('state.error.network')
  else if (e && e.status >= 500) text = [e.detail, t('state.error.server', { status: e.status })].filter(Boolean).join(' ')
  else if (e?.status === 403) text = t('state.error.forbidden')
  return (
    <Alert
      type="error"
      showIcon
      title={t('state.error.title')}
      description={
        <>
          <p className="tight">{text}</p>
          {e?.errors.map((f) => (
            <p className="tight" key={f.field}>
              <code>{f.field}</code> {f.reason}
            </p>
          ))}
          {retry && (
            <Button size="small" onClick={retry}>
              {t('state.retry')}
            </Button>
          )}
        </>
      }
    />
  )
}

/** An empty place that says what would be here and how it gets here. */
export function EmptyState({ title, text, command, children }: { title: string; text: ReactNode; command?: string; children?: ReactNode }) {
  return (
    <div className="empty" role="status">
      <svg viewBox="0 0 96 72" width="96" height="72" aria-hidden="true">
        <ellipse cx="48" cy="64" rx="34" ry="5" fill="#e8e4d8" />
        <path d="M48 62V34" stroke="#4f9b7d" strokeWidth="4" strokeLinecap="round" />
        <path d="M48 44C33 44 27 35 27 23c15 0 21 8 21 21Z" fill="#a9cdb6" />
        <path d="M48 36c0-13 7-21 22-21 0 13-6 21-22 21Z" fill="#e3c383" />
      </svg>
      <h2>{title}</h2>
      <p>{text}</p>
      {command && <Command text={command} />}
      {children}
    </div>
  )
}

/** A shell command that can be copied. */
export function Command({ text }: { text: string }) {
  return <pre className="command">{text}</pre>
}

/** Loading, error or the content. Data that is there stays while it loads again. */
export function Load<T>({ from, rows = 6, children }: { from: Loaded<T>; rows?: number; children: (data: T) => ReactNode }) {
  const { t } = useText()
  if (from.data !== undefined && !from.error) return <>{children(from.data)}</>
  if (from.error) return <ErrorState error={from.error} retry={from.reload} />
  return (
    <div role="status" aria-label={t('state.loading')} className="card pad">
      <Skeleton active title={false} paragraph={{ rows }} />
    </div>
  )
}

/** A number that may not have been computed: then its reason in words, never 0. */
export function Num({ x, reason, format }: { x: number | null | undefined; reason?: string | null; format: (x: number) => ReactNode }) {
  const { t } = useText()
  if (x === null || x === undefined || Number.isNaN(x))
    return <span className="not-computed">{reason ? t('state.notComputed.because', { reason: reasonText(t, reason) }) : t('state.notComputed')}</span>
  return <>{format(x)}</>
}

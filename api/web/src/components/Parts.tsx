import { CheckCircleFilled, ClockCircleFilled, ExclamationCircleFilled, MinusCircleFilled, PauseCircleFilled, QuestionCircleOutlined, WarningFilled } from '@ant-design/icons'
import { Popover } from 'antd'
import type { ReactNode } from 'react'
import type { Action, Status } from '../api'
import { useText } from '../i18n'
import { stageColors } from '../theme'
import { stageName } from '../words'

/** Title, lead and actions of a page. */
export function PageHead({ title, lead, eyebrow, aside }: { title: ReactNode; lead?: ReactNode; eyebrow?: ReactNode; aside?: ReactNode }) {
  return (
    <header className="page-head">
      <div>
        {eyebrow && <div className="eyebrow">{eyebrow}</div>}
        <h1>{title}</h1>
        {lead && <p className="lead">{lead}</p>}
      </div>
      {aside && <div className="page-aside">{aside}</div>}
    </header>
  )
}

/** A titled part of a page on a card. */
export function Section({ title, lead, aside, children, id }: { title: ReactNode; lead?: ReactNode; aside?: ReactNode; children: ReactNode; id?: string }) {
  return (
    <section className="card pad" id={id}>
      <div className="section-head">
        <div>
          <h2>{title}</h2>
          {lead && <p className="section-lead">{lead}</p>}
        </div>
        {aside}
      </div>
      {children}
    </section>
  )
}

/** A small question mark that explains a number. */
export function Help({ text, what }: { text: ReactNode; what: string }) {
  const { t } = useText()
  return (
    <Popover content={<div className="help-text">{text}</div>} trigger={['click', 'hover']}>
      <button type="button" className="help" aria-label={t('app.explain', { what })}>
        <QuestionCircleOutlined />
      </button>
    </Popover>
  )
}

/** One key figure: name, number, what stands behind it. */
export function Figure({ label, help, value, note, tone }: { label: string; help?: string; value: ReactNode; note?: ReactNode; tone?: 'good' | 'bad' | 'plain' | undefined }) {
  return (
    <div className={`figure ${tone ?? 'plain'}`}>
      <div className="figure-label">
        {label}
        {help && <Help text={help} what={label} />}
      </div>
      <div className="figure-value">{value}</div>
      {note && <div className="figure-note">{note}</div>}
    </div>
  )
}

export function StatusTag({ status }: { status: Status }) {
  const { t } = useText()
  return <span className={`pill status-${status}`}>{t(`status.${status}`)}</span>
}

export function SimulatedTag() {
  const { t } = useText()
  return (
    <Popover content={<div className="help-text">{t('status.simulated.help')}</div>} trigger={['click', 'hover']}>
      <button type="button" className="pill simulated">
        {t('status.simulated')}
      </button>
    </Popover>
  )
}

const actionIcons: Record<Action, ReactNode> = {
  ship: <CheckCircleFilled />,
  keep_running: <ClockCircleFilled />,
  stop_losing: <MinusCircleFilled />,
  no_difference: <PauseCircleFilled />,
  cannot_judge: <WarningFilled />,
}

export function ActionTag({ action }: { action: Action }) {
  const { t } = useText()
  return (
    <span className={`action action-${action}`}>
      {actionIcons[action] ?? <ExclamationCircleFilled />} {t(`action.${action}`)}
    </span>
  )
}

export function StageTag({ stage }: { stage: string }) {
  const { t } = useText()
  return (
    <span className="stage">
      <i style={{ background: stageColors[stage] ?? '#999' }} />
      {stageName(t, stage)}
    </span>
  )
}

/** A share as a thin bar beside its number; the number carries the meaning. */
export function Meter({ share, color = 'var(--leaf)', children }: { share: number; color?: string; children: ReactNode }) {
  return (
    <span className="meter">
      <span className="meter-text">{children}</span>
      <span className="meter-track" aria-hidden="true">
        <span style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%`, background: color }} />
      </span>
    </span>
  )
}

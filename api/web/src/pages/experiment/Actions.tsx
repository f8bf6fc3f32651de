import { App, Button, Input, Modal, Radio, Slider } from 'antd'
import { useState } from 'react'
import { api, ApiError, type Experiment, type Results } from '../../api'
import { useFormats } from '../../context'
import { useText, type Key } from '../../i18n'
import { say } from '../../words'

type Doing = 'start' | 'stop' | 'ramp' | 'decide' | 'look'

/** Start, ramp, stop, decide: each asks once before it changes anything. A page that is out of date is refused by its ETag. */
export function Actions({ e, etag, r, done }: { e: Experiment; etag: string; r: Results | undefined; done: () => void }) {
  const { t, lang } = useText()
  const f = useFormats()
  const { message } = App.useApp()
  const [doing, setDoing] = useState<Doing | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState('')
  const [coverage, setCoverage] = useState(1)
  const [variant, setVariant] = useState('')
  const [reason, setReason] = useState('')

  const open = (what: Doing) => {
    setError('')
    setCoverage(e.coverage ?? 1)
    setVariant(r?.decision.variant || (e.variants.find((v) => v.key !== e.control)?.key ?? e.control))
    setReason('')
    setDoing(what)
  }
  const run = async () => {
    if (!doing) return
    if (doing === 'decide' && reason.trim() === '') {
      setError(t('do.decide.reason.empty'))
      return
    }
    setBusy(true)
    setError('')
    try {
      const body = doing === 'ramp' ? { coverage } : doing === 'decide' ? { variant, reason: reason.trim() } : undefined
      await api.act(e.key, doing, body, etag)
      setDoing(null)
      void message.success(t(`do.done.${doing}` as Key, { share: f.percent(coverage) }))
      done()
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 412) {
        setDoing(null)
        void message.warning(t('do.stale'))
        done()
      } else if (cause instanceof ApiError) {
        setError(cause.status === 0 ? t('state.error.network') : [cause.detail || cause.title, ...cause.errors.map((x) => `${x.field}: ${x.reason}`)].join(' '))
      } else throw cause
    } finally {
      setBusy(false)
    }
  }
  const running = e.status === 'running'
  const sequential = (e.plan.inference ?? 'gst') === 'gst'
  return (
    <div className="actions">
      {e.status === 'draft' && (
        <Button type="primary" onClick={() => open('start')}>
          {t('do.start')}
        </Button>
      )}
      {running && <Button onClick={() => open('ramp')}>{t('do.ramp')}</Button>}
      {running && sequential && <Button onClick={() => open('look')}>{t('do.look')}</Button>}
      {running && (
        <Button danger onClick={() => open('stop')}>
          {t('do.stop')}
        </Button>
      )}
      {(running || e.status === 'stopped') && !e.decided && (
        <Button type="primary" onClick={() => open('decide')}>
          {t('do.decide')}
        </Button>
      )}
      <Modal
        open={doing !== null}
        title={doing && t(`do.${doing}.title`)}
        okText={doing && t(`do.${doing}`)}
        cancelText={t('state.cancel')}
        okButtonProps={{ danger: doing === 'stop', loading: busy }}
        onOk={() => void run()}
        onCancel={() => setDoing(null)}
        destroyOnHidden
      >
        <p>{doing && t(`do.${doing}.text`)}</p>
        {doing === 'ramp' && (
          <div className="field">
            <span id="ramp-label">
              {t('do.ramp.label')} <span className="quiet">({t('do.ramp.now', { share: f.percent(e.coverage ?? 1) })})</span>
            </span>
            <Slider min={0.01} max={1} step={0.01} value={coverage} onChange={setCoverage} marks={{ 0.05: '5%', 0.2: '20%', 0.5: '50%', 1: '100%' }} tooltip={{ formatter: (v) => f.percent(v ?? 0) }}
              ariaLabelledByForHandle="ramp-label" />
            <strong>{f.percent(coverage)}</strong>
          </div>
        )}
        {doing === 'decide' && (
          <>
            <div className="field" role="radiogroup" aria-label={t('do.decide.variant')}>
              <Radio.Group value={variant} onChange={(x) => setVariant(x.target.value as string)} className="column">
                {e.variants.map((v) => (
                  <Radio key={v.key} value={v.key}>
                    {say(lang, v.name) || v.key}
                    {v.key === e.control && <span className="quiet"> ({t('list.control')})</span>}
                  </Radio>
                ))}
              </Radio.Group>
            </div>
            <div className="field">
              <label htmlFor="decide-reason">{t('do.decide.reason')}</label>
              <Input.TextArea id="decide-reason" rows={3} value={reason} onChange={(x) => setReason(x.target.value)} maxLength={2000} />
            </div>
          </>
        )}
        {error && (
          <p role="alert" className="bad">
            {error}
          </p>
        )}
      </Modal>
    </div>
  )
}

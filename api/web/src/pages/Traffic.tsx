import { PlusOutlined } from '@ant-design/icons'
import { Alert, App, Button, Input, InputNumber, Modal } from 'antd'
import { useState } from 'react'
import { Link } from 'react-router'
import { api, ApiError, type Fault, type Holdout, type Layer } from '../api'
import { FaultsContext, Field, OtherFaults } from '../components/Field'
import { PageHead, Section } from '../components/Parts'
import { Load } from '../components/State'
import { mayWrite, useFormats, useMe } from '../context'
import { useLoad, useTitle } from '../hooks'
import { useText } from '../i18n'
import { armColors } from '../theme'

function New({ what, close, done }: { what: 'layer' | 'holdout'; close: () => void; done: () => void }) {
  const { t } = useText()
  const { message } = App.useApp()
  const [key, setKey] = useState('')
  const [percent, setPercent] = useState(5)
  const [faults, setFaults] = useState<Fault[]>([])
  const [problem, setProblem] = useState('')
  const save = async () => {
    if (key.trim() === '') {
      setFaults([{ field: 'key', reason: t('new.required') }])
      return
    }
    try {
      if (what === 'layer') await api.putLayer({ key: key.trim() })
      else await api.putHoldout({ key: key.trim(), share: percent / 100, experiments: null })
      void message.success(t('state.saved'))
      done()
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      setFaults(cause.errors)
      setProblem(cause.status === 0 ? t('state.error.network') : cause.detail || cause.title)
    }
  }
  return (
    <Modal open onCancel={close} onOk={() => void save()} okText={t('traffic.save')} cancelText={t('state.cancel')} title={t(what === 'layer' ? 'traffic.newLayer' : 'traffic.newHoldout')}>
      <FaultsContext.Provider value={faults}>
        <Field label={t('traffic.key')} path="key">{(p) => <Input {...p} className="mono" value={key} onChange={(e) => setKey(e.target.value)} />}</Field>
        {what === 'holdout' && <Field label={t('traffic.shareInput')} path="share">{(p) => <InputNumber {...p} min={0.1} max={50} value={percent} onChange={(x) => setPercent(x ?? 5)} />}</Field>}
        {problem && <Alert type="error" showIcon title={problem} />}
        {problem && <OtherFaults paths={['key', 'share']} />}
      </FaultsContext.Provider>
    </Modal>
  )
}

function LayerView({ l }: { l: Layer }) {
  const { t } = useText()
  const f = useFormats()
  const width = new Map<string, number>()
  for (const r of l.allocation ?? []) width.set(r.experiment, (width.get(r.experiment) ?? 0) + (r.end - r.start) / 100000)
  const parts = [...width.entries()].map(([key, share], i) => ({ key, share, color: armColors[i % armColors.length] }))
  const free = Math.max(0, 1 - parts.reduce((s, p) => s + p.share, 0))
  return (
    <div className="layer">
      <h3 className="mono">{l.key}</h3>
      <div className="alloc" role="img" aria-label={[...parts.map((p) => `${p.key} ${f.percent(p.share)}`), `${t('traffic.free')} ${f.percent(free)}`].join(', ')}>
        {parts.map((p) => (
          <span key={p.key} style={{ width: `${p.share * 100}%`, background: p.color }} />
        ))}
        <span className="alloc-free" style={{ width: `${free * 100}%` }} />
      </div>
      <ul className="legend">
        {parts.map((p) => (
          <li key={p.key}>
            <i style={{ background: p.color }} /> <Link to={`/experiments/${encodeURIComponent(p.key)}`}>{p.key}</Link> <b>{f.percent(p.share)}</b>
          </li>
        ))}
        <li>
          <i className="alloc-free" /> {t('traffic.free')} <b>{f.percent(free)}</b>
        </li>
      </ul>
    </div>
  )
}

/** The share that a holdout keeps out: as asked for, else the width of its ranges. */
const shareOf = (h: Holdout) => h.share || (h.allocation ?? []).reduce((sum, r) => sum + (r.end - r.start) / 100000, 0)

export default function Traffic() {
  const { t } = useText()
  const f = useFormats()
  const me = useMe()
  useTitle(t('traffic.title'))
  const layers = useLoad((s) => api.layers(s), [])
  const holdouts = useLoad((s) => api.holdouts(s), [])
  const [making, setMaking] = useState<'layer' | 'holdout' | null>(null)
  const add = (what: 'layer' | 'holdout') =>
    mayWrite(me) && (
      <Button icon={<PlusOutlined />} onClick={() => setMaking(what)}>
        {t(what === 'layer' ? 'traffic.newLayer' : 'traffic.newHoldout')}
      </Button>
    )
  return (
    <>
      <PageHead title={t('traffic.title')} lead={t('traffic.lead')} />
      <Section title={t('traffic.layers')} aside={add('layer')}>
        <Load from={layers} rows={2}>
          {(all) => (all.length === 0 ? <p className="quiet">{t('traffic.layer.empty')}</p> : all.map((l) => <LayerView key={l.key} l={l} />))}
        </Load>
      </Section>
      <Section title={t('traffic.holdouts')} aside={add('holdout')}>
        <Load from={holdouts} rows={2}>
          {(all) =>
            all.length === 0 ? (
              <p className="quiet">{t('traffic.holdout.empty')}</p>
            ) : (
              <ul className="facts column">
                {all.map((h) => (
                  <li key={h.key}>
                    <code>{h.key}</code> · {t('traffic.share', { share: f.percent(shareOf(h)) })} · {h.experiments ? t('traffic.only', { experiments: h.experiments.join(', ') }) : t('traffic.all')}
                  </li>
                ))}
              </ul>
            )
          }
        </Load>
      </Section>
      {making && (
        <New
          what={making}
          close={() => setMaking(null)}
          done={() => {
            setMaking(null)
            layers.reload()
            holdouts.reload()
          }}
        />
      )}
    </>
  )
}

import { PlusOutlined } from '@ant-design/icons'
import { App, Alert, Button, Input, InputNumber, Modal, Select } from 'antd'
import { useState } from 'react'
import { api, ApiError, type Fault, type Offer } from '../api'
import { FaultsContext, Field, OtherFaults } from '../components/Field'
import { PageHead } from '../components/Parts'
import { EmptyState, Load } from '../components/State'
import { mayWrite, useFormats, useMe } from '../context'
import { useLoad, useTitle } from '../hooks'
import { has, useText, type Key } from '../i18n'
import { say } from '../words'

const kinds = ['timed_discount', 'spend_threshold', 'bundle', 'buy_x_get_y', 'first_order', 'gift', 'free_shipping', 'points', 'service'] as const

function NewOffer({ open, close, done }: { open: boolean; close: () => void; done: () => void }) {
  const { t } = useText()
  const { message } = App.useApp()
  const [o, setO] = useState({ key: '', kind: 'spend_threshold', terms: '{"threshold": 100, "off": 20}', cost: null as number | null, quota: null as number | null, zh: '', en: '' })
  const [faults, setFaults] = useState<Fault[]>([])
  const [problem, setProblem] = useState('')
  const save = async () => {
    setProblem('')
    let terms: unknown
    try {
      terms = JSON.parse(o.terms)
    } catch (cause) {
      setFaults([{ field: 'terms', reason: t('new.payload.invalid', { why: cause instanceof Error ? cause.message : '' }) }])
      return
    }
    const empty = [['key', o.key], ['rules.zh', o.zh], ['rules.en', o.en]].filter(([, v]) => v?.trim() === '').map(([field]) => ({ field: field ?? '', reason: t('new.required') }))
    setFaults(empty)
    if (empty.length > 0) return
    try {
      await api.putOffer({ key: o.key.trim(), kind: o.kind, terms, rules: { zh: o.zh.trim(), en: o.en.trim() }, ...(o.cost === null ? {} : { unit_cost: o.cost }), ...(o.quota === null ? {} : { quota: o.quota }) })
      void message.success(t('state.saved'))
      done()
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      setFaults(cause.errors)
      setProblem(cause.status === 0 ? t('state.error.network') : cause.detail || cause.title)
    }
  }
  return (
    <Modal open={open} onCancel={close} onOk={() => void save()} title={t('offer.new')} okText={t('offer.submit')} cancelText={t('state.cancel')} destroyOnHidden>
      <FaultsContext.Provider value={faults}>
        <Field label={t('offer.key')} path="key">{(p) => <Input {...p} className="mono" value={o.key} onChange={(e) => setO({ ...o, key: e.target.value })} />}</Field>
        <Field label={t('offer.col.kind')} path="kind">{(p) => <Select {...p} value={o.kind} onChange={(kind) => setO({ ...o, kind })} style={{ width: '100%' }} options={kinds.map((k) => ({ value: k, label: t(`offer.kind.${k}`) }))} />}</Field>
        <Field label={t('offer.terms')} path="terms">{(p) => <Input {...p} className="mono" value={o.terms} onChange={(e) => setO({ ...o, terms: e.target.value })} />}</Field>
        <div className="form-grid">
          <Field label={t('offer.col.cost')} path="unit_cost">{(p) => <InputNumber {...p} min={0} value={o.cost} onChange={(cost) => setO({ ...o, cost })} style={{ width: '100%' }} />}</Field>
          <Field label={t('offer.col.quota')} path="quota">{(p) => <InputNumber {...p} min={0} precision={0} value={o.quota} onChange={(quota) => setO({ ...o, quota })} style={{ width: '100%' }} />}</Field>
        </div>
        <Field label={t('offer.rulesZh')} path="rules.zh">{(p) => <Input.TextArea {...p} lang="zh-CN" rows={2} value={o.zh} onChange={(e) => setO({ ...o, zh: e.target.value })} />}</Field>
        <Field label={t('offer.rulesEn')} path="rules.en">{(p) => <Input.TextArea {...p} lang="en" rows={2} value={o.en} onChange={(e) => setO({ ...o, en: e.target.value })} />}</Field>
        {problem && <Alert type="error" showIcon title={problem} />}
        {problem && <OtherFaults paths={['key', 'kind', 'terms', 'unit_cost', 'quota', 'rules.zh', 'rules.en']} />}
      </FaultsContext.Provider>
    </Modal>
  )
}

export default function Offers() {
  const { t, lang } = useText()
  const f = useFormats()
  const me = useMe()
  useTitle(t('offer.title'))
  const load = useLoad((s) => api.offers(s), [])
  const [making, setMaking] = useState(false)
  const dates = (o: Offer) => [o.starts_at && t('offer.from', { date: f.day(o.starts_at) }), o.ends_at && t('offer.until', { date: f.day(o.ends_at) })].filter(Boolean).join(' ') || t('offer.always')
  const button = mayWrite(me) && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setMaking(true)}>
      {t('offer.new')}
    </Button>
  )
  return (
    <>
      <PageHead title={t('offer.title')} lead={t('offer.lead')} aside={button} />
      <Load from={load}>
        {(all) =>
          all.length === 0 ? (
            <EmptyState title={t('offer.empty.title')} text={t('offer.empty.text')}>
              {button}
            </EmptyState>
          ) : (
            <div className="card scroll" tabIndex={0} role="region" aria-label={t('offer.title')}>
              <table className="plain rows padded">
                <thead>
                  <tr>
                    <th scope="col">{t('offer.col.key')}</th>
                    <th scope="col">{t('offer.col.kind')}</th>
                    <th scope="col" className="num">{t('offer.col.cost')}</th>
                    <th scope="col" className="num">{t('offer.col.quota')}</th>
                    <th scope="col">{t('offer.col.dates')}</th>
                    <th scope="col">{t('offer.col.rules')}</th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((o) => (
                    <tr key={o.key}>
                      <th scope="row">
                        {say(lang, o.name) || o.key} <code className="quiet block">{o.key}</code>
                      </th>
                      <td>{has(`offer.kind.${o.kind}`) ? t(`offer.kind.${o.kind}` as Key) : o.kind}</td>
                      <td className="num">{typeof o.unit_cost === 'number' ? f.money(o.unit_cost) : <span className="quiet">{t('state.unknown')}</span>}</td>
                      <td className="num">{typeof o.quota === 'number' ? f.number(o.quota, 0) : t('offer.unlimited')}</td>
                      <td>{dates(o)}</td>
                      <td className="wide">{say(lang, o.rules)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Load>
      {making && (
        <NewOffer
          open
          close={() => setMaking(false)}
          done={() => {
            setMaking(false)
            load.reload()
          }}
        />
      )}
    </>
  )
}

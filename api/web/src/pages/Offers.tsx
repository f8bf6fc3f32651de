import { EditOutlined, PlusOutlined } from '@ant-design/icons'
import { App, Alert, Button, Input, InputNumber, Modal, Select } from 'antd'
import { useEffect, useState } from 'react'
import { api, ApiError, type Fault, type Finding, type Offer, type Priced } from '../api'
import { FaultsContext, Field, OtherFaults } from '../components/Field'
import { PageHead } from '../components/Parts'
import { EmptyState, Load } from '../components/State'
import { mayWrite, useFormats, useMe } from '../context'
import { useLoad, useTitle } from '../hooks'
import { has, useText, type Key } from '../i18n'
import { say } from '../words'

const kinds = ['timed_discount', 'spend_threshold', 'bundle', 'buy_x_get_y', 'first_order', 'gift', 'free_shipping', 'points', 'service'] as const

/** Terms to begin with, for every kind. */
const templates: Record<string, string> = {
  timed_discount: '{"share": 0.1}',
  spend_threshold: '{"threshold": 100, "off": 20}',
  bundle: '{"quantity": 2, "share": 0.2}',
  buy_x_get_y: '{"buy": 2, "get": 1}',
  first_order: '{"off": 10}',
  gift: '{}',
  free_shipping: '{"threshold": 59}',
  points: '{"point_value": 0.1}',
  service: '{}',
}

function NewOffer({ of, close, done }: { of: Offer | null; close: () => void; done: () => void }) {
  const { t, lang } = useText()
  const { message } = App.useApp()
  const [o, setO] = useState({
    key: of?.key ?? '',
    kind: of?.kind ?? 'spend_threshold',
    terms: of ? JSON.stringify(of.terms) : (templates.spend_threshold ?? ''),
    cost: of?.unit_cost ?? null,
    quota: of?.quota ?? null,
    zh: of?.rules.zh ?? '',
    en: of?.rules.en ?? '',
  })
  const [findings, setFindings] = useState<Finding[]>([])
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
      const { revision: _revision, rules_hash: _hash, ...kept } = of ?? ({} as Partial<Offer>)
      const body: Offer = { ...kept, key: o.key.trim(), kind: o.kind, terms, rules: { zh: o.zh.trim(), en: o.en.trim() }, unit_cost: o.cost, quota: o.quota }
      const found = await api.lintOffer(body)
      // What a careful colleague would mention is shown once; saving again keeps it as it is.
      if (found.some((x) => !findings.some((y) => y.code === x.code && y.field === x.field))) {
        setFindings(found)
        return
      }
      await api.putOffer(body)
      void message.success(t('state.saved'))
      done()
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      setFaults(cause.errors)
      setProblem(cause.status === 0 ? t('state.error.network') : cause.detail || cause.title)
    }
  }
  return (
    <Modal open onCancel={close} onOk={() => void save()} title={of ? t('offer.edit', { key: of.key }) : t('offer.new')} okText={t(findings.length > 0 ? 'offer.submit.anyway' : 'offer.submit')} cancelText={t('state.cancel')} destroyOnHidden>
      <FaultsContext.Provider value={faults}>
        <Field label={t('offer.key')} path="key">{(p) => <Input {...p} className="mono" value={o.key} disabled={of !== null} onChange={(e) => setO({ ...o, key: e.target.value })} />}</Field>
        <Field label={t('offer.col.kind')} path="kind">{(p) => <Select {...p} value={o.kind} onChange={(kind) => setO({ ...o, kind, terms: templates[kind] ?? '{}' })} style={{ width: '100%' }} options={kinds.map((k) => ({ value: k, label: t(`offer.kind.${k}`) }))} />}</Field>
        <Field label={t('offer.terms')} path="terms">{(p) => <Input {...p} className="mono" value={o.terms} onChange={(e) => setO({ ...o, terms: e.target.value })} />}</Field>
        <div className="form-grid">
          <Field label={t('offer.col.cost')} path="unit_cost">{(p) => <InputNumber {...p} min={0} value={o.cost} onChange={(cost) => setO({ ...o, cost })} style={{ width: '100%' }} />}</Field>
          <Field label={t('offer.col.quota')} path="quota">{(p) => <InputNumber {...p} min={0} precision={0} value={o.quota} onChange={(quota) => setO({ ...o, quota })} style={{ width: '100%' }} />}</Field>
        </div>
        <Field label={t('offer.rulesZh')} path="rules.zh">{(p) => <Input.TextArea {...p} lang="zh-CN" rows={2} value={o.zh} onChange={(e) => setO({ ...o, zh: e.target.value })} />}</Field>
        <Field label={t('offer.rulesEn')} path="rules.en">{(p) => <Input.TextArea {...p} lang="en" rows={2} value={o.en} onChange={(e) => setO({ ...o, en: e.target.value })} />}</Field>
        {of && <p className="quiet small">{t('offer.version.note', { revision: of.revision ?? 1 })}</p>}
        {findings.length > 0 && (
          <Alert
            type={findings.some((x) => x.level === 'error') ? 'error' : 'warning'}
            showIcon
            title={t('offer.lint.title')}
            description={
              <ul className="bullets">
                {findings.map((x) => (
                  <li key={x.field + x.code}>{say(lang, x.detail)}</li>
                ))}
              </ul>
            }
          />
        )}
        {problem && <Alert type="error" showIcon title={problem} />}
        {problem && <OtherFaults paths={['key', 'kind', 'terms', 'unit_cost', 'quota', 'rules.zh', 'rules.en']} />}
      </FaultsContext.Provider>
    </Modal>
  )
}

/** What the offers make of a cart of so many pieces. */
function CartCalculator({ offers }: { offers: Offer[] }) {
  const { t, lang } = useText()
  const f = useFormats()
  const [key, setKey] = useState(offers[0]?.key ?? '')
  const [quantity, setQuantity] = useState(2)
  const [price, setPrice] = useState(60)
  const [quote, setQuote] = useState<Priced | null>(null)
  useEffect(() => {
    let gone = false
    void api
      .priceOffer(key, quantity, price)
      .then((q) => !gone && setQuote(q))
      .catch(() => !gone && setQuote(null))
    return () => {
      gone = true
    }
  }, [key, quantity, price])
  return (
    <section className="card pad" aria-labelledby="cart-title">
      <h2 id="cart-title">{t('cart.title')}</h2>
      <div className="form-grid cart">
        <Field label={t('offer.col.key')} path="cart.key">{(p) => <Select {...p} value={key} onChange={setKey} style={{ width: '100%' }} options={offers.map((o) => ({ value: o.key, label: say(lang, o.name) || o.key }))} />}</Field>
        <Field label={t('cart.quantity')} path="cart.quantity">{(p) => <InputNumber {...p} min={1} max={1000} precision={0} value={quantity} onChange={(x) => setQuantity(x ?? 1)} style={{ width: '100%' }} />}</Field>
        <Field label={t('cart.price')} path="cart.price">{(p) => <InputNumber {...p} min={0} max={1e6} value={price} onChange={(x) => setPrice(x ?? 0)} style={{ width: '100%' }} />}</Field>
      </div>
      <p role="status" className="tight">
        {quote &&
          (quote.applied
            ? t('cart.pays', { pay: f.money(quote.pay), discount: f.money(quote.discount), subtotal: f.money(quote.subtotal) })
            : t('cart.no', { reason: has(`cart.reason.${quote.reason}`) ? t(`cart.reason.${quote.reason}` as Key) : (quote.reason ?? ''), pay: f.money(quote.pay) }))}
        {quote && quote.cost > 0 && ` ${t('cart.cost', { cost: f.money(quote.cost) })}`}
      </p>
    </section>
  )
}

export default function Offers() {
  const { t, lang } = useText()
  const f = useFormats()
  const me = useMe()
  useTitle(t('offer.title'))
  const load = useLoad((s) => api.offers(s), [])
  const [making, setMaking] = useState<Offer | 'new' | null>(null)
  const dates = (o: Offer) => [o.starts_at && t('offer.from', { date: f.day(o.starts_at) }), o.ends_at && t('offer.until', { date: f.day(o.ends_at) })].filter(Boolean).join(' ') || t('offer.always')
  const button = mayWrite(me) && (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setMaking('new')}>
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
            <>
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
                    <th scope="col">{t('offer.col.version')}</th>
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
                      <td className="wide">{say(lang, o.rules) || <span className="bad">{t('offer.rules.missing')}</span>}</td>
                      <td className="nowrap">
                        {o.revision ?? 1}{' '}
                        {mayWrite(me) && <Button size="small" type="text" icon={<EditOutlined />} aria-label={t('offer.edit', { key: o.key })} onClick={() => setMaking(o)} />}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            <CartCalculator offers={all} />
            </>
          )
        }
      </Load>
      {making && (
        <NewOffer
          of={making === 'new' ? null : making}
          close={() => setMaking(null)}
          done={() => {
            setMaking(null)
            load.reload()
          }}
        />
      )}
    </>
  )
}

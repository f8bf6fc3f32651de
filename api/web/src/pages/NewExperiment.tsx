import { ArrowLeftOutlined, DeleteOutlined, PlusOutlined } from '@ant-design/icons'
import { Alert, AutoComplete, Button, Checkbox, Input, InputNumber, Radio, Select } from 'antd'
import { useState, type FormEvent } from 'react'
import { Link, useNavigate } from 'react-router'
import { api, ApiError, type Constraint, type Fault, type Preflight } from '../api'
import { FaultsContext, Field, OtherFaults } from '../components/Field'
import { PageHead, Section } from '../components/Parts'
import { EmptyState } from '../components/State'
import { mayWrite, useMe } from '../context'
import { definitionOf, emptyDraft, type Draft, type DraftGuardrail, type DraftVariant } from '../draft'
import { useLoad, useTitle } from '../hooks'
import { PreflightView } from './experiment/PreflightView'
import { useText } from '../i18n'
import { constraintsText, featureName, metricName, say, stageName } from '../words'

const operators = ['IN', 'NOT_IN', 'NUM_GTE', 'NUM_GT', 'NUM_LTE', 'NUM_LT', 'NUM_EQ', 'STR_CONTAINS', 'STR_STARTS_WITH', 'STR_ENDS_WITH', 'DATE_AFTER', 'DATE_BEFORE'] as const
const attributes = ['stage', 'churn_risk', 'churn_decile', 'ltv', 'ltv_decile', 'recency_days', 'orders_all', 'orders_90d', 'revenue_all', 'revenue_90d', 'aov_all', 'tenure_days', 'refund_share_all']
/** Metrics that are there without being defined; the library's own are added. */
const builtIns = ['profit', 'revenue', 'orders', 'order_rate', 'aov', 'refund_share', 'retention_7d', 'repurchase_rate']
const stages = ['prospect', 'new', 'active', 'loyal', 'declining', 'lapsed', 'reactivated']
const claimed = ['key', 'name', 'hypothesis', 'control', 'variants', 'coverage', 'targeting', 'metrics', 'plan.inference', 'plan.horizon_days', 'plan.mde', 'plan.alpha', 'plan.looks']

export default function NewExperiment() {
  const { t, lang } = useText()
  const me = useMe()
  const go = useNavigate()
  useTitle(t('new.title'))
  const offers = useLoad((s) => api.offers(s), [])
  const metrics = useLoad((s) => api.metrics(s), [])
  const [d, setD] = useState<Draft>(emptyDraft)
  const [faults, setFaults] = useState<Fault[]>([])
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)
  const [checking, setChecking] = useState(false)
  const [preflight, setPreflight] = useState<Preflight | null>(null)

  if (!mayWrite(me))
    return (
      <EmptyState title={t('new.notAllowed.title')} text={t('new.notAllowed.text')}>
        <Link to="/">{t('exp.back')}</Link>
      </EmptyState>
    )
  const set = (change: Partial<Draft>) => {
    setPreflight(null) // it spoke of what was written before
    setD((x) => ({ ...x, ...change }))
  }
  const setVariant = (i: number, change: Partial<DraftVariant>) => set({ variants: d.variants.map((v, k) => (k === i ? { ...v, ...change } : v)) })
  const setTarget = (i: number, change: Partial<Constraint>) => set({ targeting: d.targeting.map((v, k) => (k === i ? { ...v, ...change } : v)) })
  const setGuard = (i: number, change: Partial<DraftGuardrail>) => set({ guardrails: d.guardrails.map((v, k) => (k === i ? { ...v, ...change } : v)) })
  const metricOptions = [...new Set([...builtIns, ...(metrics.data ?? []).map((m) => m.key)])].map((key) => ({ value: key, label: metricName(t, lang, key, metrics.data) }))

  const check = async () => {
    setProblem('')
    const { body, faults: own } = definitionOf(d, { required: t('new.required'), invalidJSON: (why) => t('new.payload.invalid', { why }) })
    setFaults(own)
    if (!body) {
      setProblem(t('new.failed'))
      return
    }
    setChecking(true)
    try {
      setPreflight(await api.preflight(body))
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      setFaults(cause.errors)
      setProblem(cause.status === 0 ? t('state.error.network') : cause.detail || cause.title)
    } finally {
      setChecking(false)
    }
  }
  const submit = async (e: FormEvent) => {
    e.preventDefault()
    setProblem('')
    const { body, faults: own } = definitionOf(d, { required: t('new.required'), invalidJSON: (why) => t('new.payload.invalid', { why }) })
    setFaults(own)
    if (!body) {
      setProblem(t('new.failed'))
      return
    }
    setBusy(true)
    try {
      const made = await api.create(body)
      void go(`/experiments/${encodeURIComponent(made.key)}`)
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      const named = cause.status === 409 && cause.errors.length === 0 ? [{ field: 'key', reason: cause.detail || cause.title }] : cause.errors
      setFaults(named)
      setProblem(named.length > 0 ? t('new.failed') : cause.status === 0 ? t('state.error.network') : cause.detail || cause.title)
    } finally {
      setBusy(false)
    }
  }
  return (
    <>
      <Link to="/" className="back">
        <ArrowLeftOutlined /> {t('exp.back')}
      </Link>
      <PageHead title={t('new.title')} lead={t('new.lead')} />
      <FaultsContext.Provider value={faults}>
        <form onSubmit={(e) => void submit(e)} className="stack" noValidate>
          <Section title={t('new.section.basics')}>
            <div className="form-grid">
              <Field label={t('new.nameZh')} path="name">
                {(p) => <Input {...p} value={d.nameZh} lang="zh-CN" onChange={(e) => set({ nameZh: e.target.value })} />}
              </Field>
              <Field label={t('new.nameEn')} path="name">
                {(p) => <Input {...p} value={d.nameEn} lang="en" onChange={(e) => set({ nameEn: e.target.value })} />}
              </Field>
              <Field label={t('new.key')} path="key" help={t('new.key.help')}>
                {(p) => <Input {...p} className="mono" value={d.key} autoComplete="off" onChange={(e) => set({ key: e.target.value })} />}
              </Field>
              <Field label={t('new.hypothesis')} path="hypothesis" help={t('new.hypothesis.help')}>
                {(p) => <Input {...p} value={d.hypothesis} onChange={(e) => set({ hypothesis: e.target.value })} />}
              </Field>
            </div>
          </Section>
          <Section title={t('new.section.variants')}>
            {d.variants.map((v, i) => (
              <fieldset className="form-line variant-line" key={i}>
                <legend className="sr">{t('new.variant', { n: i + 1 })}</legend>
                <Field label={t('new.variant.control')} path={i === d.control ? 'control' : `control[${i}]`}>
                  {(p) => <Radio id={p.id} checked={d.control === i} onChange={() => set({ control: i })} title={t('new.variant.isControl')} />}
                </Field>
                <Field label={t('new.variant.key')} path={`variants[${i}].key`}>
                  {(p) => <Input {...p} className="mono" value={v.key} onChange={(e) => setVariant(i, { key: e.target.value })} />}
                </Field>
                <Field label={t('new.variant.weight')} path={`variants[${i}].weight`}>
                  {(p) => <InputNumber {...p} min={0} value={v.weight} onChange={(x) => setVariant(i, { weight: x ?? 0 })} style={{ width: '100%' }} />}
                </Field>
                <Field label={t('new.variant.offer')} path={`variants[${i}].offer`}>
                  {(p) => (
                    <Select {...p} value={v.offer} onChange={(x) => setVariant(i, { offer: x })} style={{ width: '100%' }}
                      options={[{ value: '', label: t('state.none') }, ...(offers.data ?? []).map((o) => ({ value: o.key, label: say(lang, o.name) || o.key }))]} />
                  )}
                </Field>
                <Field label={t('new.variant.payload')} path={`variants[${i}].payload`} help={t('new.variant.payload.help')}>
                  {(p) => <Input {...p} className="mono" value={v.payload} placeholder='{"off": 20}' onChange={(e) => setVariant(i, { payload: e.target.value })} />}
                </Field>
                {d.variants.length > 2 ? (
                  <Button className="line-remove" icon={<DeleteOutlined />} aria-label={t('new.variant.remove', { n: i + 1 })}
                    onClick={() => set({ variants: d.variants.filter((_, k) => k !== i), control: d.control === i ? 0 : d.control > i ? d.control - 1 : d.control })} />
                ) : (
                  <span />
                )}
              </fieldset>
            ))}
            <Button icon={<PlusOutlined />} onClick={() => set({ variants: [...d.variants, { key: `treatment-${d.variants.length}`, weight: 1, offer: '', payload: '' }] })}>
              {t('new.variant.add')}
            </Button>
          </Section>
          <Section title={t('new.section.audience')}>
            {d.targeting.length === 0 && <p className="quiet">{t('new.targeting.none')}</p>}
            {d.targeting.map((c, i) => (
              <div className="form-line target-line" key={i}>
                <Field label={t('new.targeting.attribute')} path={`targeting[${i}].attribute`}>
                  {(p) => (
                    <AutoComplete {...p} value={c.attribute} onChange={(x) => setTarget(i, { attribute: x, values: [] })} style={{ width: '100%' }}
                      options={attributes.map((a) => ({ value: a, label: featureName(t, a) }))} />
                  )}
                </Field>
                <Field label={t('new.targeting.operator')} path={`targeting[${i}].operator`}>
                  {(p) => <Select {...p} value={c.operator} onChange={(x) => setTarget(i, { operator: x })} style={{ width: '100%' }} options={operators.map((o) => ({ value: o, label: t(`opname.${o}`) }))} />}
                </Field>
                <Field label={t('new.targeting.values')} path={`targeting[${i}].values`}>
                  {(p) =>
                    c.attribute === 'stage' ? (
                      <Select {...p} mode="multiple" value={c.values} onChange={(x) => setTarget(i, { values: x })} style={{ width: '100%' }} options={stages.map((s) => ({ value: s, label: stageName(t, s) }))} />
                    ) : (
                      <Select {...p} mode="tags" value={c.values} onChange={(x) => setTarget(i, { values: x })} style={{ width: '100%' }} open={false} suffixIcon={null} tokenSeparators={[',', '，', ' ']} />
                    )
                  }
                </Field>
                <Button className="line-remove" icon={<DeleteOutlined />} aria-label={t('new.targeting.remove', { n: i + 1 })} onClick={() => set({ targeting: d.targeting.filter((_, k) => k !== i) })} />
              </div>
            ))}
            <Button icon={<PlusOutlined />} onClick={() => set({ targeting: [...d.targeting, { attribute: 'stage', operator: 'IN', values: [] }] })}>
              {t('new.targeting.add')}
            </Button>
            {d.targeting.some((c) => c.values.length > 0) && (
              <p className="quiet" role="status">
                {t('new.targeting.preview')}: {constraintsText(t, d.targeting.filter((c) => c.values.length > 0))}
              </p>
            )}
            {!d.ramp && (
              <Field label={`${t('new.coverage')} (%)`} path="coverage">
                {(p) => <InputNumber {...p} min={0} max={100} value={d.coveragePercent} onChange={(x) => set({ coveragePercent: x ?? 0 })} />}
              </Field>
            )}
            <Checkbox checked={d.ramp} onChange={(x) => set({ ramp: x.target.checked })}>
              {t('new.ramp')}
            </Checkbox>
            <p className="quiet small tight">{t('new.ramp.help')}</p>
          </Section>
          <Section title={t('new.section.metrics')}>
            <div className="form-grid">
              <Field label={t('new.primary')} path="metrics.primary">
                {(p) => <Select {...p} value={d.primary} onChange={(x) => set({ primary: x })} style={{ width: '100%' }} options={metricOptions} />}
              </Field>
              <Field label={t('new.secondary')} path="metrics.secondary">
                {(p) => <Select {...p} mode="multiple" value={d.secondary} onChange={(x) => set({ secondary: x })} style={{ width: '100%' }} options={metricOptions} />}
              </Field>
            </div>
            {d.guardrails.map((g, i) => (
              <div className="form-line guard-line" key={i}>
                <Field label={t('new.guardrail.metric')} path={`metrics.guardrails[${i}].metric`}>
                  {(p) => <Select {...p} value={g.metric} onChange={(x) => setGuard(i, { metric: x })} style={{ width: '100%' }} options={metricOptions} />}
                </Field>
                <Field label={t('new.guardrail.margin')} path={`metrics.guardrails[${i}].margin`}>
                  {(p) => <InputNumber {...p} min={0} value={g.marginPercent} onChange={(x) => setGuard(i, { marginPercent: x ?? 0 })} />}
                </Field>
                <Button className="line-remove" icon={<DeleteOutlined />} aria-label={t('new.guardrail.remove', { n: i + 1 })} onClick={() => set({ guardrails: d.guardrails.filter((_, k) => k !== i) })} />
              </div>
            ))}
            <Button icon={<PlusOutlined />} onClick={() => set({ guardrails: [...d.guardrails, { metric: 'refund_share', marginPercent: 2 }] })}>
              {t('new.guardrail.add')}
            </Button>
          </Section>
          <Section title={t('new.section.plan')}>
            <div className="form-grid">
              <Field label={t('new.inference')} path="plan.inference">
                {(p) => <Select {...p} value={d.inference} onChange={(x) => set({ inference: x })} style={{ width: '100%' }} options={(['gst', 'confseq', 'fixed'] as const).map((m) => ({ value: m, label: t(`def.plan.${m}`) }))} />}
              </Field>
              <Field label={t('new.horizon')} path="plan.horizon_days">
                {(p) => <InputNumber {...p} min={1} max={365} value={d.horizonDays} onChange={(x) => set({ horizonDays: x ?? 14 })} />}
              </Field>
              <Field label={t('new.mde')} path="plan.mde">
                {(p) => <InputNumber {...p} min={0.1} value={d.mdePercent} onChange={(x) => set({ mdePercent: x ?? 5 })} />}
              </Field>
              <Field label={t('new.alpha')} path="plan.alpha">
                {(p) => <InputNumber {...p} min={0.1} max={50} value={d.alphaPercent} onChange={(x) => set({ alphaPercent: x ?? 5 })} />}
              </Field>
              {d.inference === 'gst' && (
                <Field label={t('new.looks')} path="plan.looks">
                  {(p) => <InputNumber {...p} min={1} max={365} value={d.looks} onChange={(x) => set({ looks: x ?? 14 })} />}
                </Field>
              )}
            </div>
          </Section>
          {problem && <Alert type="error" showIcon title={problem} />}
        {problem && <OtherFaults paths={claimed} />}
          {preflight && <PreflightView p={preflight} mde={d.mdePercent / 100} />}
          <div className="form-actions">
            <Button size="large" onClick={() => void check()} loading={checking}>
              {t('new.check')}
            </Button>
            <Button type="primary" size="large" htmlType="submit" loading={busy}>
              {t('new.submit')}
            </Button>
          </div>
        </form>
      </FaultsContext.Provider>
    </>
  )
}

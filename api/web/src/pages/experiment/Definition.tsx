import type { ReactNode } from 'react'
import type { Experiment, Payload } from '../../api'
import { Section } from '../../components/Parts'
import { useFormats } from '../../context'
import { useText } from '../../i18n'
import { armColors, controlColor } from '../../theme'
import { constraintsText, metricName, say } from '../../words'

function PayloadView({ payload }: { payload: Payload | null | undefined }) {
  const { t } = useText()
  if (!payload) return <span className="quiet">{t('def.payload.none')}</span>
  return <code className="payload">{typeof payload.value === 'string' ? payload.value : JSON.stringify(payload.value)}</code>
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

/** The colour of an arm: the control is grey, the others follow in declared order. */
export function armColor(e: Pick<Experiment, 'variants' | 'control'>, key: string): string {
  if (key === e.control) return controlColor
  const i = e.variants.filter((v) => v.key !== e.control).findIndex((v) => v.key === key)
  return armColors[i % armColors.length] ?? controlColor
}

/** Shares of all buckets as one bar, each arm in its colour, the rest hatched. */
function AllocationBar({ e }: { e: Experiment }) {
  const { t, lang } = useText()
  const f = useFormats()
  const width = new Map<string, number>()
  for (const r of e.allocation ?? []) width.set(r.variant, (width.get(r.variant) ?? 0) + (r.end - r.start) / 100000)
  const arms = e.variants.map((v) => ({ key: v.key, name: say(lang, v.name) || v.key, share: width.get(v.key) ?? 0 }))
  const free = Math.max(0, 1 - arms.reduce((sum, a) => sum + a.share, 0))
  return (
    <>
      <div className="alloc" role="img" aria-label={arms.map((a) => `${a.name} ${f.percent(a.share)}`).join(', ')}>
        {arms.map((a) => a.share > 0 && <span key={a.key} style={{ width: `${a.share * 100}%`, background: armColor(e, a.key) }} />)}
        {free > 0.00001 && <span className="alloc-free" style={{ width: `${free * 100}%` }} />}
      </div>
      <ul className="legend">
        {arms.map((a) => (
          <li key={a.key}>
            <i style={{ background: armColor(e, a.key) }} /> {a.name} <b>{f.percent(a.share)}</b>
          </li>
        ))}
        {free > 0.00001 && (
          <li>
            <i className="alloc-free" /> {t('def.split.free')} <b>{f.percent(free)}</b>
          </li>
        )}
      </ul>
    </>
  )
}

/** What the experiment is: split, audience, payloads, metrics and plan in words. */
export function DefinitionView({ e }: { e: Experiment }) {
  const { t, lang } = useText()
  const f = useFormats()
  const metric = (key: string) => metricName(t, lang, key)
  const plan = e.plan
  const inference = plan.inference === 'fixed' || plan.inference === 'confseq' ? plan.inference : 'gst'
  return (
    <Section title={t('def.title')} aside={<span className="quiet small">{t('def.revision', { revision: e.revision, allocation: e.allocation_revision })}</span>}>
      <h3>{t('def.split')}</h3>
      <AllocationBar e={e} />
      <p className="quiet small">{t('def.coverage', { share: f.percent(e.coverage ?? 1) })}</p>
      <h3>{t('def.targeting')}</h3>
      <p className="tight">{e.targeting?.length ? constraintsText(t, e.targeting) : t('def.targeting.all')}</p>
      <h3>{t('def.payload')}</h3>
      <ul className="payloads">
        {e.variants.map((v) => (
          <li key={v.key}>
            <div className="payload-name">
              <i style={{ background: armColor(e, v.key) }} />
              <b>{say(lang, v.name) || v.key}</b>
              {v.key === e.control && <span className="quiet small">{t('list.control')}</span>}
              {v.offer && (
                <span className="quiet small">
                  {t('def.offer')}: <code>{v.offer}</code>
                </span>
              )}
            </div>
            {(v.payloads ?? []).map((rule, i) => (
              <div className="payload-rule" key={i}>
                <span>{t('def.payload.when', { rule: constraintsText(t, rule.when) })}</span> <PayloadView payload={rule.payload} />
              </div>
            ))}
            <div className="payload-rule">
              <PayloadView payload={v.payload} />
            </div>
          </li>
        ))}
      </ul>
      <div className="fact-groups">
        <div>
          <h3>{t('def.metrics')}</h3>
          <dl className="fact-list">
            <Fact name={t('def.metrics.primary')}>{metric(e.metrics.primary || 'profit')}</Fact>
            <Fact name={t('def.metrics.secondary')}>{e.metrics.secondary?.length ? e.metrics.secondary.map(metric).join(lang === 'zh' ? '、' : ', ') : t('state.none')}</Fact>
            <Fact name={t('def.metrics.guardrails')}>
              {e.metrics.guardrails?.length ? e.metrics.guardrails.map((g) => t('def.guardrail', { metric: metric(g.metric), margin: f.percent(g.margin) })).join(lang === 'zh' ? '、' : ', ') : t('state.none')}
            </Fact>
          </dl>
        </div>
        <div>
          <h3>{t('def.plan')}</h3>
          <dl className="fact-list">
            <Fact name={t('def.plan.inference')}>{t(`def.plan.${inference}`)}</Fact>
            <Fact name={t('def.plan.horizon')}>{t('def.plan.days', { days: plan.horizon_days || 14 })}</Fact>
            <Fact name={t('def.plan.alpha')}>{f.percent(plan.alpha || 0.05)}</Fact>
            <Fact name={t('def.plan.mde')}>{f.percent(plan.mde ?? 0.05)}</Fact>
            {typeof plan.max_units === 'number' && <Fact name={t('def.plan.maxUnits')}>{f.number(plan.max_units, 0)}</Fact>}
          </dl>
        </div>
        <div>
          <h3>{t('def.more')}</h3>
          <dl className="fact-list">
            <Fact name={t('def.key')}>
              <code>{e.key}</code>
            </Fact>
            {e.layer && <Fact name={t('def.layer')}>{t('def.layer.value', { layer: e.layer.key, share: f.percent(e.layer.share) })}</Fact>}
            <Fact name={t('def.sticky')}>{e.sticky === null || e.sticky === undefined ? t('def.sticky.auto') : t(e.sticky ? 'def.yes' : 'def.no')}</Fact>
            {(e.start_at || e.end_at) && (
              <Fact name={t('def.window')}>
                {e.start_at ? t('offer.from', { date: f.day(e.start_at) }) : ''} {e.end_at ? t('offer.until', { date: f.day(e.end_at) }) : ''}
              </Fact>
            )}
            {e.forced && Object.keys(e.forced).length > 0 && <Fact name={t('def.forced')}>{f.number(Object.keys(e.forced).length, 0)}</Fact>}
            {e.tags && e.tags.length > 0 && <Fact name={t('def.tags')}>{e.tags.join(', ')}</Fact>}
          </dl>
        </div>
      </div>
    </Section>
  )
}

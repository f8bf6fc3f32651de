import { ArrowDownOutlined, ArrowLeftOutlined, ArrowUpOutlined } from '@ant-design/icons'
import { Alert } from 'antd'
import { Link, useParams } from 'react-router'
import { api, type User } from '../api'
import { Figure, PageHead, Section, StageTag } from '../components/Parts'
import { Load, Num } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useTitle } from '../hooks'
import { has, useText, type Key } from '../i18n'
import { featureName, say } from '../words'

const groups: { key: Key; test: RegExp }[] = [
  { key: 'user.features.orders', test: /^(orders_|frequency|trend)/ },
  { key: 'user.features.money', test: /^(revenue_|aov|max_order|monetary|refund|discount|margin)/ },
  { key: 'user.features.time', test: /^(recency|tenure|T$|ipt)/ },
  { key: 'user.features.visits', test: /^(sessions_|active_days|inactive)/ },
]
/** A feature that is a number, or null. */
const real = (x: number | string | null | undefined) => (typeof x === 'number' ? x : null)
const moneyFeature = /^(revenue_|aov|max_order|monetary|refunds_)/
const shareFeature = /_share(_|$)/

/** What is known of one customer, grouped so that a marketer finds it. */
function Features({ u }: { u: User }) {
  const { t } = useText()
  const f = useFormats()
  const all = Object.entries(u.features ?? {}).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
  if (all.length === 0) return <p className="quiet">{t('user.features.none')}</p>
  const groupOf = (name: string) => groups.find((g) => g.test.test(name))?.key ?? ('user.features.other' as Key)
  const keys: Key[] = [...groups.map((g) => g.key), 'user.features.other']
  return (
    <div className="fact-groups">
      {keys.map((key) => {
        const mine = all.filter(([name]) => groupOf(name) === key)
        return mine.length === 0 ? null : (
          <div key={key}>
            <h3>{t(key)}</h3>
            <dl className="fact-list">
              {mine.map(([name, value]) => (
                <div className="fact" key={name}>
                  <dt title={name}>{featureName(t, name)}</dt>
                  <dd>
                    {value === null ? (
                      <span className="not-computed">{t('user.missing')}</span>
                    ) : typeof value !== 'number' ? (
                      String(value)
                    ) : moneyFeature.test(name) ? (
                      f.money(value)
                    ) : shareFeature.test(name) ? (
                      f.percent(value)
                    ) : (
                      f.number(value)
                    )}
                  </dd>
                </div>
              ))}
            </dl>
          </div>
        )
      })}
    </div>
  )
}

export default function UserPage() {
  const { id = '' } = useParams()
  const { t, lang } = useText()
  const f = useFormats()
  useTitle(t('user.title', { id }))
  const load = useLoad((s) => api.user(id, s), [id])
  const experiments = useLoad((s) => api.experiments(s), [])
  return (
    <>
      <Link to="/customers/list" className="back">
        <ArrowLeftOutlined /> {t('user.back')}
      </Link>
      <Load from={load}>
        {(u) => {
          const s = u.scores ?? {}
          return (
            <>
              <PageHead
                title={t('user.title', { id: u.user_id })}
                eyebrow={
                  <>
                    {u.stage && <StageTag stage={u.stage} />}
                    {u.as_of && <span>{t('cust.asOf', { date: f.day(u.as_of) })}</span>}
                  </>
                }
              />
              {u.opted_out && <Alert type="warning" showIcon title={t('user.optedOut')} description={t('user.optedOut.help')} />}
              <section className="figures four" aria-label={t('user.title', { id: u.user_id })}>
                <Figure
                  label={t('user.risk')}
                  help={t('cust.risk.help')}
                  value={<Num x={s.churn_risk} reason="no_model" format={(x) => f.risk(x)} />}
                  note={
                    typeof s.churn_risk === 'number' && (
                      <>
                        {typeof s.churn_decile === 'number' && t('user.risk.decile', { decile: s.churn_decile })}
                      </>
                    )
                  }
                />
                <Figure
                  label={t('user.ltv')}
                  help={t('cust.ltv.help')}
                  value={<Num x={s.ltv} reason="no_model" format={(x) => f.money(x)} />}
                  note={
                    <>
                      {typeof s.ltv_low === 'number' && typeof s.ltv_high === 'number' && t('user.ltv.range', { low: f.money(s.ltv_low), high: f.money(s.ltv_high) })}
                      {typeof s.ltv_decile === 'number' && <span className="block">{t('user.ltv.decile', { decile: s.ltv_decile })}</span>}
                    </>
                  }
                />
                <Figure label={t('users.col.revenue')} value={<Num x={real(u.features?.revenue_all)} format={(x) => f.money(x)} />} note={typeof u.features?.orders_all === 'number' && `${t('users.col.orders')} ${f.number(u.features.orders_all, 0)}`} />
                <Figure label={t('users.col.recency')} value={<Num x={real(u.features?.recency_days)} format={(x) => f.ago(x)} />} />
              </section>
              <div className="two">
                <Section title={t('user.reasons')}>
                  {u.reasons && u.reasons.length > 0 ? (
                    <>
                      <ul className="reasons">
                        {u.reasons.map((r) => (
                          <li key={r.feature}>
                            {r.direction === 'up' ? <ArrowUpOutlined className="bad" /> : <ArrowDownOutlined className="good" />}
                            <div>
                              {say(lang, r)}
                              <span className="quiet small block">{t(r.direction === 'up' ? 'user.reasons.up' : 'user.reasons.down')}</span>
                            </div>
                          </li>
                        ))}
                      </ul>
                      <p className="quiet small">{t('user.reasons.note')}</p>
                    </>
                  ) : (
                    <p className="quiet">{t('user.reasons.none')}</p>
                  )}
                </Section>
                <Section title={t('user.assignments')}>
                  {u.assignments && u.assignments.length > 0 ? (
                    <div className="scroll" tabIndex={0} role="region" aria-label={t('user.assignments')}>
                      <table className="plain rows">
                        <thead>
                          <tr>
                            <th scope="col">{t('user.assign.experiment')}</th>
                            <th scope="col">{t('user.assign.variant')}</th>
                            <th scope="col">{t('user.assign.reason')}</th>
                          </tr>
                        </thead>
                        <tbody>
                          {u.assignments.map((a) => {
                            const e = experiments.data?.find((x) => x.key === a.experiment)
                            const why = `areason.${a.reason}`
                            return (
                              <tr key={a.experiment}>
                                <th scope="row">
                                  <Link to={`/experiments/${encodeURIComponent(a.experiment)}`}>{say(lang, e?.name) || a.experiment}</Link>
                                </th>
                                <td>{a.enrolled && a.variant ? say(lang, e?.variants.find((v) => v.key === a.variant)?.name) || a.variant : <span className="quiet">{t('user.assign.out')}</span>}</td>
                                <td className="quiet">{has(why) ? t(why) : a.reason}</td>
                              </tr>
                            )
                          })}
                        </tbody>
                      </table>
                    </div>
                  ) : (
                    <p className="quiet">{t('user.assignments.none')}</p>
                  )}
                </Section>
              </div>
              <Section title={t('user.features')}>
                <Features u={u} />
              </Section>
            </>
          )
        }}
      </Load>
    </>
  )
}

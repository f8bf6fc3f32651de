import { ArrowLeftOutlined, LeftOutlined, RightOutlined } from '@ant-design/icons'
import { Button, Input, Select } from 'antd'
import { useEffect, useState } from 'react'
import { Link, useSearchParams } from 'react-router'
import { api, ApiError, type Score } from '../api'
import { Meter, PageHead, StageTag } from '../components/Parts'
import { EmptyState, ErrorState, Load, Num } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useTitle } from '../hooks'
import { useText } from '../i18n'
import { say, stageName } from '../words'

const stages = ['prospect', 'new', 'active', 'loyal', 'declining', 'lapsed', 'reactivated']
const sorts = [
  { value: '-ltv', key: 'users.sort.ltv' },
  { value: '-churn_risk', key: 'users.sort.churn' },
  { value: 'user_id', key: 'users.sort.id' },
] as const
const size = 25

function Row({ s }: { s: Score }) {
  const { t, lang } = useText()
  const f = useFormats()
  return (
    <tr>
      <th scope="row">
        <Link to={`/customers/list/${encodeURIComponent(s.user_id)}`} className="mono">
          {s.user_id}
        </Link>
      </th>
      <td>
        <StageTag stage={s.stage} />
      </td>
      <td>
        <Num x={s.churn_risk} reason="no_model" format={(x) => <Meter share={x} color="#b65b48">{f.risk(x)}</Meter>} />
      </td>
      <td className="num">
        <Num x={s.ltv} reason="no_model" format={(x) => <b>{f.money(x)}</b>} />
        {s.ltv_low !== null && s.ltv_high !== null && <span className="quiet small block">{t('users.range', { low: f.money(s.ltv_low), high: f.money(s.ltv_high) })}</span>}
      </td>
      <td className="why">
        {(s.reasons ?? []).slice(0, 2).map((r) => (
          <span key={r.feature} className={`why-${r.direction}`}>
            {say(lang, r)}
          </span>
        ))}
      </td>
      <td className="num">
        <Num x={s.recency_days} format={(x) => f.ago(x)} />
        <span className="quiet small block">
          <Num x={s.orders_all} format={(x) => `${t('users.col.orders')} ${f.number(x, 0)}`} />
        </span>
      </td>
      <td className="num">
        <Num x={s.revenue_all} format={(x) => f.money(x)} />
      </td>
    </tr>
  )
}

export default function Users() {
  const { t } = useText()
  const f = useFormats()
  const [params, setParams] = useSearchParams()
  const stage = params.get('stage') ?? ''
  const q = params.get('q') ?? ''
  const sort = params.get('sort') ?? '-ltv'
  const [typed, setTyped] = useState(q)
  // The cursors of the pages before the current one; a change of the question begins again.
  const [cursors, setCursors] = useState<string[]>([])
  const question = `${stage}|${q}|${sort}`
  useEffect(() => setCursors([]), [question])
  useEffect(() => setTyped(q), [q])
  const cursor = cursors.at(-1)
  const load = useLoad((s) => api.scores({ stage, q, sort, limit: size, cursor }, s), [question, cursor])
  useTitle(stage ? `${t('users.title')}: ${stageName(t, stage)}` : t('users.title'))
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(params)
    if (value) next.set(name, value)
    else next.delete(name)
    setParams(next, { replace: true })
  }
  const unscored = load.error instanceof ApiError && load.error.status === 404
  return (
    <>
      <Link to="/customers" className="back">
        <ArrowLeftOutlined /> {t('cust.title')}
      </Link>
      <PageHead title={t('users.title')} lead={load.data && t('users.total', { total: f.number(load.data.total, 0) })} eyebrow={load.data && <span>{t('cust.asOf', { date: f.day(load.data.as_of) })}</span>} />
      <div className="filters">
        <Input.Search allowClear placeholder={t('users.search')} aria-label={t('users.search')} value={typed} onChange={(e) => setTyped(e.target.value)} onSearch={(v) => set('q', v.trim())} />
        <Select aria-label={t('users.stage')} value={stage} onChange={(v) => set('stage', v)} options={[{ value: '', label: t('users.stage.all') }, ...stages.map((s) => ({ value: s, label: stageName(t, s) }))]} />
        <Select aria-label={t('users.sort')} value={sort} onChange={(v) => set('sort', v)} options={sorts.map((s) => ({ value: s.value, label: t(s.key) }))} />
      </div>
      {unscored ? (
        <EmptyState title={t('cust.none.title')} text={t('cust.none.text')} command="perennial nightly" />
      ) : load.error instanceof ApiError && load.error.status === 409 ? (
        <ErrorState error={load.error} retry={() => setCursors([])} />
      ) : (
        <Load from={load} rows={12}>
          {(data) =>
            data.scores.length === 0 ? (
              <EmptyState title={t('users.empty.title')} text={t('users.empty.text')}>
                <Button onClick={() => setParams({}, { replace: true })}>{t('users.empty.clear')}</Button>
              </EmptyState>
            ) : (
              <>
                <div className="card scroll" tabIndex={0} role="region" aria-label={t('users.title')}>
                  <table className={load.loading ? 'plain rows padded waiting' : 'plain rows padded'}>
                    <thead>
                      <tr>
                        <th scope="col">{t('users.col.id')}</th>
                        <th scope="col">{t('users.col.stage')}</th>
                        <th scope="col">{t('users.col.risk')}</th>
                        <th scope="col" className="num" title={t('users.range.help')}>{t('users.col.ltv')}</th>
                        <th scope="col">{t('users.col.reasons')}</th>
                        <th scope="col" className="num">{t('users.col.recency')}</th>
                        <th scope="col" className="num">{t('users.col.revenue')}</th>
                      </tr>
                    </thead>
                    <tbody>
                      {data.scores.map((s) => (
                        <Row key={s.user_id} s={s} />
                      ))}
                    </tbody>
                  </table>
                </div>
                <nav className="pager" aria-label={t('users.page', { page: cursors.length + 1 })}>
                  <Button icon={<LeftOutlined />} disabled={cursors.length === 0} onClick={() => setCursors((c) => c.slice(0, -1))}>
                    {t('users.previous')}
                  </Button>
                  <span>{t('users.page', { page: cursors.length + 1 })}</span>
                  <Button icon={<RightOutlined />} iconPlacement="end" disabled={!data.next_cursor} onClick={() => data.next_cursor && setCursors((c) => [...c, data.next_cursor as string])}>
                    {t('users.next')}
                  </Button>
                </nav>
              </>
            )
          }
        </Load>
      )}
    </>
  )
}

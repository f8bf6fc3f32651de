import { RightOutlined } from '@ant-design/icons'
import type { EChartsOption } from 'echarts'
import { useMemo } from 'react'
import { Link, useNavigate } from 'react-router'
import { api, ApiError, type Lifecycle } from '../api'
import { Chart } from '../components/Chart'
import { Figure, Meter, PageHead, Section, StageTag } from '../components/Parts'
import { EmptyState, Load, Num } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useTitle, useNarrow } from '../hooks'
import { has, useText } from '../i18n'
import { color, stageColors } from '../theme'
import { stageName } from '../words'

const listOf = (stage: string) => `/customers/list?stage=${encodeURIComponent(stage)}`

/** Customers and value side by side: a stage can be large and poor, or small and rich. */
function StageChart({ data }: { data: Lifecycle }) {
  const { t } = useText()
  const f = useFormats()
  const go = useNavigate()
  const narrow = useNarrow()
  const option = useMemo<EChartsOption>(() => {
    const rows = [...data.stages].reverse()
    const names = rows.map((s) => stageName(t, s.stage))
    const bar = (values: (number | null)[], axis: number, label: (x: number) => string) => ({
      type: 'bar' as const,
      xAxisIndex: axis,
      yAxisIndex: axis,
      barWidth: '58%',
      label: { show: true, position: 'right' as const, color: color.ink, formatter: (p: unknown) => label((p as { value: number }).value) },
      data: values.map((v, i) => ({ value: v ?? '-', itemStyle: { color: stageColors[rows[i]?.stage ?? ''] ?? '#999', borderRadius: [0, 4, 4, 0] } })),
    })
    const axis = { type: 'category' as const, data: names, axisTick: { show: false }, axisLine: { show: false }, axisLabel: { color: color.ink, fontSize: 13 } }
    const hidden = { type: 'value' as const, axisLabel: { show: false }, splitLine: { show: false } }
    const title = (text: string, left: number | string, top: number) => ({ text, left, top, padding: 0, textStyle: { fontSize: 13, fontWeight: 500, color: color.inkSoft } })
    return {
      grid: narrow
        ? [
            { left: 84, right: 60, top: 30, height: 216 },
            { left: 84, right: 60, top: 294, height: 216 },
          ]
        : [
            { left: 84, width: '34%', top: 34, bottom: 6 },
            { left: '58%', right: 76, top: 34, bottom: 6 },
          ],
      title: narrow ? [title(t('cust.chart.users'), 84, 8), title(t('cust.chart.value'), 84, 272)] : [title(t('cust.chart.users'), 84, 8), title(t('cust.chart.value'), '58%', 8)],
      xAxis: [
        { ...hidden, gridIndex: 0 },
        { ...hidden, gridIndex: 1 },
      ],
      yAxis: [
        { ...axis, gridIndex: 0 },
        { ...axis, gridIndex: 1, axisLabel: { ...axis.axisLabel, show: narrow } },
      ],
      series: [bar(rows.map((s) => s.users), 0, (x) => f.number(x, 0)), bar(rows.map((s) => s.ltv_total), 1, (x) => f.moneyShort(x))],
    }
  }, [data, t, f, narrow])
  const stages = [...data.stages].reverse()
  return (
    <Chart
      option={option}
      height={narrow ? 526 : 42 * data.stages.length + 54}
      label={`${t('cust.chart.stage')}: ${data.stages.map((s) => `${stageName(t, s.stage)} ${f.number(s.users, 0)}`).join(', ')}`}
      onPick={(i) => {
        const stage = stages[i]?.stage
        if (stage) void go(listOf(stage))
      }}
    />
  )
}

function DecileChart({ title, lead, values, fill, format }: { title: string; lead: string; values: { decile: number; value: number | null }[]; fill: string; format: (x: number) => string }) {
  const { t } = useText()
  const option = useMemo<EChartsOption>(
    () => ({
      grid: { left: 4, right: 4, top: 22, bottom: 4, containLabel: true },
      xAxis: { type: 'category', data: values.map((v) => String(v.decile)), axisTick: { show: false }, axisLine: { lineStyle: { color: '#8a918d' } }, axisLabel: { color: color.inkSoft } },
      yAxis: { type: 'value', axisLabel: { color: color.inkSoft, formatter: (x: number) => format(x) }, splitLine: { lineStyle: { color: color.line } } },
      tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' }, valueFormatter: (v) => format(Number(v)) },
      series: [{ type: 'bar', name: t('cust.decile'), data: values.map((v) => v.value ?? '-'), itemStyle: { color: fill, borderRadius: [4, 4, 0, 0] }, barWidth: '70%' }],
    }),
    [values, fill, format, t],
  )
  return (
    <Section title={title} lead={lead}>
      <Chart option={option} height={220} label={`${title}: ${values.map((v) => `${v.decile} ${v.value === null ? t('state.notComputed') : format(v.value)}`).join(', ')}`} />
    </Section>
  )
}

export default function Customers() {
  const { t } = useText()
  const f = useFormats()
  useTitle(t('cust.title'))
  const load = useLoad((s) => api.lifecycle(s), [])
  if (load.error instanceof ApiError && load.error.status === 404)
    return (
      <>
        <PageHead title={t('cust.title')} lead={t('cust.lead')} />
        <EmptyState title={t('cust.none.title')} text={t('cust.none.text')} command="perennial nightly" />
      </>
    )
  return (
    <Load from={load}>
      {(data) => {
        const total = data.stages.every((s) => s.ltv_total === null) ? null : data.stages.reduce((sum, s) => sum + (s.ltv_total ?? 0), 0)
        const judged = data.stages.filter((s) => s.churn_risk_mean !== null)
        const people = judged.reduce((sum, s) => sum + s.users, 0)
        const risk = people === 0 ? null : judged.reduce((sum, s) => sum + (s.churn_risk_mean ?? 0) * s.users, 0) / people
        const top = data.ltv_deciles.find((d) => d.decile === 10)?.ltv_total ?? null
        return (
          <>
            <PageHead
              title={t('cust.title')}
              lead={t('cust.lead')}
              eyebrow={<span>{t('cust.asOf', { date: f.day(data.as_of) })}</span>}
              aside={
                <>
                  <Link to="/customers/lifecycle" className="button-link">
                    {t('life.title')} <RightOutlined />
                  </Link>
                  <Link to="/customers/list" className="button-link">
                    {t('cust.seeAll')} <RightOutlined />
                  </Link>
                </>
              }
            />
            <section className="figures four" aria-label={t('cust.title')}>
              <Figure label={t('cust.total')} value={f.number(data.users, 0)} />
              <Figure label={t('cust.ltvTotal')} help={t('cust.ltv.help')} value={<Num x={total} reason="no_model" format={(x) => f.money(x)} />} />
              <Figure label={t('cust.riskMean')} help={t('cust.risk.help')} value={<Num x={risk} reason="no_model" format={(x) => f.percent(x, { digits: 0 })} />} />
              <Figure label={t('cust.topShare')} value={<Num x={top !== null && total ? top / total : null} reason="no_model" format={(x) => f.percent(x, { digits: 0 })} />} />
            </section>
            <Section title={t('cust.byStage')} lead={t('cust.byStage.lead')}>
              <StageChart data={data} />
              <div className="scroll" tabIndex={0} role="region" aria-label={t('cust.byStage')}>
                <table className="plain rows">
                  <thead>
                    <tr>
                      <th scope="col">{t('cust.col.stage')}</th>
                      <th scope="col" className="num">{t('cust.col.users')}</th>
                      <th scope="col">{t('cust.col.risk')}</th>
                      <th scope="col" className="num">{t('cust.col.ltv')}</th>
                      <th scope="col" className="num">{t('cust.col.ltvTotal')}</th>
                      <th scope="col" className="num">{t('cust.col.revenue')}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {data.stages.map((s) => (
                      <tr key={s.stage}>
                        <th scope="row">
                          <Link to={listOf(s.stage)} className="stage-link" title={t('cust.openStage', { stage: stageName(t, s.stage) })}>
                            <StageTag stage={s.stage} />
                          </Link>
                          {has(`stage.${s.stage}.help`) && <span className="quiet small block">{t(`stage.${s.stage}.help` as 'stage.new.help')}</span>}
                        </th>
                        <td className="num">
                          {f.number(s.users, 0)} <span className="quiet small block">{f.percent(data.users === 0 ? 0 : s.users / data.users, { digits: 1 })}</span>
                        </td>
                        <td>
                          <Num x={s.churn_risk_mean} reason="no_model" format={(x) => <Meter share={x} color="#b65b48">{f.percent(x, { digits: 0 })}</Meter>} />
                        </td>
                        <td className="num">
                          <Num x={s.ltv_mean} reason="no_model" format={(x) => f.money(x)} />
                        </td>
                        <td className="num">
                          <Num x={s.ltv_total} reason="no_model" format={(x) => f.money(x)} />
                        </td>
                        <td className="num">
                          <Num x={s.revenue_all_total} format={(x) => f.money(x)} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Section>
            <div className="two">
              {data.churn_deciles.length > 0 && (
                <DecileChart title={t('cust.deciles.risk')} lead={t('cust.deciles.risk.lead')} fill="#b65b48" format={(x) => f.percent(x, { digits: 0 })}
                  values={data.churn_deciles.map((d) => ({ decile: d.decile, value: d.churn_risk_mean }))} />
              )}
              {data.ltv_deciles.length > 0 && (
                <DecileChart title={t('cust.deciles.ltv')} lead={t('cust.deciles.ltv.lead')} fill={color.leaf} format={f.moneyShort}
                  values={data.ltv_deciles.map((d) => ({ decile: d.decile, value: d.ltv_mean }))} />
              )}
            </div>
            <p className="quiet small">{t('cust.version', { version: data.score_version })}</p>
          </>
        )
      }}
    </Load>
  )
}

import { ArrowLeftOutlined } from '@ant-design/icons'
import { Alert, Segmented } from 'antd'
import { useState } from 'react'
import { Link, useParams } from 'react-router'
import { api, ApiError, type Experiment, type Results } from '../api'
import { PageHead, SimulatedTag, StatusTag } from '../components/Parts'
import { ErrorState, Load } from '../components/State'
import { mayWrite, useFormats, useMe } from '../context'
import { useLoad, useTitle } from '../hooks'
import { useText } from '../i18n'
import { beganAt, say } from '../words'
import { Actions } from './experiment/Actions'
import { Decision } from './experiment/Decision'
import { DefinitionView } from './experiment/Definition'
import { Figures } from './experiment/Figures'
import { Health } from './experiment/Health'
import { Method } from './experiment/Method'
import { ProfitSteps } from './experiment/ProfitSteps'
import { OverTime } from './experiment/OverTime'
import { Segments } from './experiment/Segments'
import { ResultsTable } from './experiment/ResultsTable'
import { Sensitivities } from './experiment/Sensitivities'
import { Sequential } from './experiment/Sequential'

/** The variant whose figures are shown first: the one the decision names, else the first that is not the control. */
function first(e: Experiment, r: Results): string {
  const named = r.decision.variant
  if (named && named !== e.control && e.variants.some((v) => v.key === named)) return named
  return e.variants.find((v) => v.key !== e.control)?.key ?? e.control
}

function ResultsView({ e, r, reload }: { e: Experiment; r: Results; reload: () => void }) {
  const { t, lang } = useText()
  const [chosen, setChosen] = useState<string>()
  const variant = chosen ?? first(e, r)
  const others = e.variants.filter((v) => v.key !== e.control)
  const defs = useLoad((s) => api.metrics(s), [])
  return (
    <>
      <Decision r={r} />
      {others.length > 1 && (
        <div className="compare">
          <span id="compare-label">{t('exp.compare')}</span>
          <Segmented aria-labelledby="compare-label" value={variant} onChange={(v) => setChosen(String(v))} options={others.map((v) => ({ value: v.key, label: say(lang, v.name) || v.key }))} />
        </div>
      )}
      <Figures e={e} r={r} variant={variant} defs={defs.data} />
      <ResultsTable e={e} r={r} defs={defs.data} />
      <ProfitSteps e={e} r={r} variant={variant} />
      <OverTime e={e} r={r} variant={variant} defs={defs.data} />
      <Segments e={e} r={r} variant={variant} defs={defs.data} />
      <Sensitivities e={e} r={r} variant={variant} defs={defs.data} />
      <div className="two">
        <Health r={r} />
        <Sequential e={e} r={r} reloadKey={reload} />
      </div>
    </>
  )
}

export default function ExperimentPage() {
  const { key = '' } = useParams()
  const { t, lang } = useText()
  const f = useFormats()
  const me = useMe()
  const found = useLoad((s) => api.experiment(key, s), [key])
  const e = found.data?.experiment
  const results = useLoad((s) => (e && e.status !== 'draft' ? api.results(key, s) : Promise.resolve(null)), [key, e?.status, e?.revision])
  useTitle(e ? say(lang, e.name) || e.key : key)
  const again = () => {
    found.reload()
    results.reload()
  }
  return (
    <>
      <Link to="/" className="back">
        <ArrowLeftOutlined /> {t('exp.back')}
      </Link>
      <Load from={found}>
        {({ experiment, etag }) => (
          <>
            <PageHead
              eyebrow={
                <>
                  <StatusTag status={experiment.status} />
                  {experiment.simulated && <SimulatedTag />}
                  <code>{experiment.key}</code>
                  {beganAt(experiment) && <span>{t('list.started', { date: f.day(beganAt(experiment) ?? '') })}</span>}
                  {experiment.stopped_at && <span>{t('list.stopped', { date: f.day(experiment.stopped_at) })}</span>}
                </>
              }
              title={say(lang, experiment.name) || experiment.key}
              lead={experiment.hypothesis && `${t('exp.hypothesis')}${lang === 'zh' ? '：' : ': '}${experiment.hypothesis}`}
              aside={mayWrite(me) && <Actions e={experiment} etag={etag} r={results.data ?? undefined} done={again} />}
            />
            {experiment.decided && (
              <Alert
                className="decided-note"
                type="success"
                showIcon
                title={t('exp.decided.title')}
                description={
                  <>
                    <strong>{t('exp.decided.text', { variant: experiment.decided.variant, date: f.day(experiment.decided.at) })}</strong>
                    {experiment.decided.by && <span className="quiet"> {t('exp.decided.by', { by: experiment.decided.by })}</span>}
                    {experiment.decided.reason && <p className="tight">{experiment.decided.reason}</p>}
                    {experiment.decided.evidence && (
                      <p className="tight quiet small">
                        {t('exp.decided.evidence')} {say(lang, experiment.decided.evidence.advice.text)} {t('exp.units', { exposed: f.number(experiment.decided.evidence.source.exposed, 0), matured: f.number(experiment.decided.evidence.source.matured, 0) })}
                      </p>
                    )}
                    {experiment.decided.revalidate_at && (
                      <p className={`tight small ${new Date(experiment.decided.revalidate_at) <= new Date(me.now) ? 'warn strong' : 'quiet'}`}>
                        {t(new Date(experiment.decided.revalidate_at) <= new Date(me.now) ? 'exp.decided.due' : 'exp.decided.again', { date: f.day(experiment.decided.revalidate_at) })}
                      </p>
                    )}
                  </>
                }
              />
            )}
            {experiment.ramped && (
              <Alert
                className="decided-note"
                type={experiment.ramped.status === 'rolled_back' ? 'error' : experiment.ramped.status === 'held' ? 'warning' : 'info'}
                showIcon
                title={t(`ramp.${experiment.ramped.status}`, { share: f.percent(experiment.coverage ?? 1), since: f.day(experiment.ramped.since) })}
                description={experiment.ramped.reason ? say(lang, experiment.ramped.reason) : (experiment.ramp?.steps ?? []).map((s, i) => (i === experiment.ramped?.step ? `[${f.percent(s)}]` : f.percent(s))).join(' → ')}
              />
            )}
            {experiment.status === 'draft' ? (
              <div className="decision draft">
                <h2>{t('exp.draft.title')}</h2>
                <p className="decision-text">{t('exp.draft.text')}</p>
              </div>
            ) : results.error ? (
              results.error instanceof ApiError && (results.error.status === 404 || results.error.status === 409) ? (
                <div className="decision draft">
                  <h2>{t('exp.noResults.title')}</h2>
                  <p className="decision-text">{results.error.detail || t('exp.noResults.text', { days: experiment.plan.horizon_days || 14 })}</p>
                </div>
              ) : (
                <ErrorState error={results.error} retry={results.reload} />
              )
            ) : (
              <Load from={results}>
                {(r) =>
                  r === null ? null : r.source.exposed === 0 ? (
                    <div className="decision draft">
                      <h2>{t('exp.noResults.title')}</h2>
                      <p className="decision-text">{t('exp.noResults.text', { days: experiment.plan.horizon_days || 14 })}</p>
                    </div>
                  ) : (
                    <ResultsView e={experiment} r={r} reload={again} />
                  )
                }
              </Load>
            )}
            <DefinitionView e={experiment} />
            {results.data && <Method e={experiment} r={results.data} />}
          </>
        )}
      </Load>
    </>
  )
}

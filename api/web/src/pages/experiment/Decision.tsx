import type { Results } from '../../api'
import { ActionTag } from '../../components/Parts'
import { useFormats } from '../../context'
import { useText } from '../../i18n'
import { say } from '../../words'

/** The one sentence that says what to do; numbers follow below. */
export function Decision({ r }: { r: Results }) {
  const { t, lang } = useText()
  const f = useFormats()
  const d = r.decision
  return (
    <section className={`decision ${d.action}`} aria-labelledby="decision-title">
      <h2 id="decision-title" className="sr">
        {t('exp.advice')}
      </h2>
      <ActionTag action={d.action} />
      <p className="decision-text">{say(lang, d.text)}</p>
      {typeof d.waiting?.cost === 'number' && typeof d.waiting.worth === 'number' && d.action === 'keep_running' && (
        <p className="decision-wait">
          <span>{t('exp.wait.cost', { cost: f.money(Math.round(d.waiting.cost)) })}</span>
          <span aria-hidden="true">{d.waiting.cost < d.waiting.worth ? '<' : '>'}</span>
          <span>{t('exp.wait.worth', { worth: f.money(Math.round(d.waiting.worth)) })}</span>
        </p>
      )}
      <p className="decision-foot">
        {typeof d.monthly === 'number' && d.action !== 'cannot_judge' && <span>{t('exp.monthly', { money: f.money(Math.round(d.monthly), true) })}</span>}
        <span>{t('exp.units', { exposed: f.number(r.source.exposed, 0), matured: f.number(r.source.matured, 0) })}</span>
        {r.source.as_of && <span>{t('exp.dataAsOf', { date: f.day(r.source.as_of) })}</span>}
      </p>
    </section>
  )
}

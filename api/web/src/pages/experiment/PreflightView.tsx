import { CheckCircleFilled, CloseCircleFilled, ExclamationCircleFilled } from '@ant-design/icons'
import type { Preflight } from '../../api'
import { Figure, Section } from '../../components/Parts'
import { Num } from '../../components/State'
import { useFormats } from '../../context'
import { useText } from '../../i18n'
import { say } from '../../words'

const icons = { ok: <CheckCircleFilled className="good" />, warning: <ExclamationCircleFilled className="warn" />, fail: <CloseCircleFilled className="bad" /> }

/** What the experiment would need and what should be looked at first. */
export function PreflightView({ p, mde }: { p: Preflight; mde: number }) {
  const { t, lang } = useText()
  const f = useFormats()
  return (
    <Section title={t('pre.title')} lead={say(lang, p.text)}>
      <div className="figures four plain-figures">
        <Figure label={t('pre.audience')} value={f.number(p.audience, 0)} note={p.share !== null ? t('pre.share', { share: f.percent(p.share) }) : null} />
        <Figure label={t('pre.needed')} value={<Num x={p.units_needed} reason={p.reason} format={(v) => f.number(v, 0)} />} note={t('pre.for', { mde: f.percent(mde) })} />
        <Figure label={t('pre.days')} value={<Num x={p.days} reason={p.reason ?? 'too_few'} format={(v) => t('def.plan.days', { days: v })} />} note={p.units_per_day !== null ? t('pre.perDay', { n: f.number(p.units_per_day, 0) }) : null} />
        <Figure label={t('pre.cost')} help={t('pre.cost.help')} value={<Num x={p.cost_low} reason={p.reason} format={(v) => (p.cost_high ? `${f.money(Math.round(v))} – ${f.money(Math.round(p.cost_high))}` : f.money(0))} />} />
      </div>
      <ul className="checks">
        {p.checks.map((c, i) => (
          <li key={`${c.code}-${i}`}>
            {icons[c.verdict]}
            <div>
              <span className="sr">{t(`health.${c.verdict}`)}: </span>
              {say(lang, c.text)}
            </div>
          </li>
        ))}
      </ul>
    </Section>
  )
}

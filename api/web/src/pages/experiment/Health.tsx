import { CheckCircleFilled, CloseCircleFilled, ExclamationCircleFilled, MinusCircleOutlined } from '@ant-design/icons'
import type { Results } from '../../api'
import { Section } from '../../components/Parts'
import { useFormats } from '../../context'
import { has, useText } from '../../i18n'
import { say } from '../../words'

const icons = { ok: <CheckCircleFilled className="good" />, warning: <ExclamationCircleFilled className="warn" />, fail: <CloseCircleFilled className="bad" />, none: <MinusCircleOutlined className="quiet" /> }

/** Whether the numbers can be trusted: each check in words, then warnings. */
export function Health({ r }: { r: Results }) {
  const { t, lang } = useText()
  const f = useFormats()
  const checks = [...(r.health ?? [])]
  if (r.srm && !checks.some((h) => h.code === 'srm' || h.code === 'sequential_srm'))
    checks.unshift({ code: 'srm', verdict: r.srm.verdict, p_value: r.srm.sequential_p ?? r.srm.p_value })
  const warnings = r.warnings ?? []
  const name = (code: string) => {
    const key = `health.${code}`
    return has(key) ? t(key) : code.replaceAll('_', ' ')
  }
  return (
    <Section title={t('health.title')}>
      <ul className="checks">
        {checks.map((h) => {
          const verdict = h.verdict === 'pass' ? 'ok' : h.verdict
          const word = `health.${verdict}`
          return (
            <li key={h.code}>
              {icons[verdict as 'ok'] ?? icons.none}
              <div>
                <div className="check-line">
                  <span>{name(h.code)}</span>
                  <span className="quiet small">
                    {has(word) ? t(word) : verdict}
                    {h.p_value !== null && h.p_value !== undefined && ` · p = ${f.p(h.p_value)}`}
                  </span>
                </div>
                {typeof h.slope === 'number' && typeof h.slope_low === 'number' && typeof h.slope_high === 'number' && (
                  <p className="quiet small tight">{t('health.slope', { slope: f.delta('money', h.slope), low: f.delta('money', h.slope_low), high: f.delta('money', h.slope_high) })}</p>
                )}
                {h.detail && <p className="quiet small tight">{say(lang, h.detail)}</p>}
              </div>
            </li>
          )
        })}
        {warnings.map((w) => {
          const key = `warn.${w.code}`
          return (
            <li key={`w-${w.code}-${say(lang, w.detail)}`}>
              {icons.warning}
              <div>
                <p className="tight">{say(lang, w.detail) || (has(key) ? t(key) : w.code)}</p>
              </div>
            </li>
          )
        })}
      </ul>
      {warnings.length === 0 && checks.length > 0 && checks.every((h) => h.verdict === 'ok' || h.verdict === 'pass') && <p className="quiet">{t('health.allGood')}</p>}
    </Section>
  )
}

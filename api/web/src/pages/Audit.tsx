import { api } from '../api'
import { PageHead } from '../components/Parts'
import { EmptyState, Load } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useTitle } from '../hooks'
import { useText } from '../i18n'

export default function Audit() {
  const { t } = useText()
  const f = useFormats()
  useTitle(t('audit.title'))
  const load = useLoad((s) => api.audit(200, s), [])
  return (
    <>
      <PageHead title={t('audit.title')} lead={t('audit.lead')} />
      <Load from={load}>
        {(all) =>
          all.length === 0 ? (
            <EmptyState title={t('audit.empty.title')} text={t('audit.empty.text')} />
          ) : (
            <div className="card scroll" tabIndex={0} role="region" aria-label={t('audit.title')}>
              <table className="plain rows padded">
                <thead>
                  <tr>
                    <th scope="col">{t('audit.col.at')}</th>
                    <th scope="col">{t('audit.col.action')}</th>
                    <th scope="col">{t('audit.col.object')}</th>
                    <th scope="col">{t('audit.col.by')}</th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((a, i) => (
                    <tr key={i}>
                      <td>{f.dayTime(a.at)}</td>
                      <td>{a.action}</td>
                      <td>
                        <code>{a.object}</code>
                      </td>
                      <td className="quiet">{a.by}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Load>
    </>
  )
}

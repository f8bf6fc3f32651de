import { Collapse } from 'antd'
import { api, type Experiment, type Results } from '../../api'
import { useText } from '../../i18n'

/** Method and SQL, folded away. */
export function Method({ e, r }: { e: Experiment; r: Results }) {
  const { t } = useText()
  const method = r.inference === 'gst' || r.inference === 'confseq' ? r.inference : 'fixed'
  return (
    <Collapse
      className="method"
      items={[
        {
          key: 'method',
          label: <h2 className="in-line">{t('method.title')}</h2>,
          children: (
            <>
              <p>{t('method.lead')}</p>
              <ul className="bullets">
                <li>{t('method.itt')}</li>
                <li>{t('method.window', { days: e.plan.horizon_days || 14 })}</li>
                <li>{t('method.welch')}</li>
                <li>{t(`method.${method}`)}</li>
                <li>{t('method.multi')}</li>
                <li>{t('method.srm')}</li>
              </ul>
              {r.source.snapshot !== undefined && (
                <p className="quiet small">
                  {t('method.snapshot', { snapshot: r.source.snapshot })}
                </p>
              )}
              <h3>{t('method.rows')}</h3>
              <p>
                {t('method.rows.text')} <a href={api.dataset(e.key, 'csv')}>CSV</a> · <a href={api.dataset(e.key, 'ndjson')}>NDJSON</a>
              </p>
              {r.sql && r.sql.length > 0 && <h3>{t('method.sql')}</h3>}
              {r.sql && r.sql.length > 0 && (
                <pre className="sql" tabIndex={0} aria-label={t('method.sql')}>
                  {r.sql.map((q) => q.trim().replace(/;?$/, ';')).join('\n\n')}
                </pre>
              )}
            </>
          ),
        },
      ]}
    />
  )
}

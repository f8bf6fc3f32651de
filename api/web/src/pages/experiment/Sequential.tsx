import { Progress } from 'antd'
import { api, type Experiment, type Results } from '../../api'
import { Section } from '../../components/Parts'
import { Num } from '../../components/State'
import { useFormats } from '../../context'
import { useLoad } from '../../hooks'
import { useText } from '../../i18n'
import { color } from '../../theme'

/** How far along the experiment is, and the looks on record. */
export function Sequential({ e, r }: { e: Experiment; r: Results; reloadKey: () => void }) {
  const { t } = useText()
  const f = useFormats()
  const looks = useLoad((s) => api.looks(e.key, s), [e.key, e.revision, r.state?.look])
  const method = r.inference === 'gst' || r.inference === 'confseq' ? r.inference : 'fixed'
  const s = r.state
  return (
    <Section title={t('seq.title')} lead={t(`seq.${method}`, { alpha: f.percent(r.alpha) })}>
      {s && (
        <>
          {typeof s.information === 'number' && (
            <>
              <Progress percent={Math.round(Math.min(1, s.information) * 100)} strokeColor={color.leaf} showInfo={false} aria-label={t('seq.information', { share: f.percent(s.information) })} />
              <p className="tight strong">{t('seq.information', { share: f.percent(s.information) })}</p>
            </>
          )}
          <ul className="facts">
            {typeof s.look === 'number' && s.look > 0 && (
              <li>{typeof s.looks === 'number' && s.looks > 0 && s.look <= s.looks ? t('seq.look', { look: s.look, looks: s.looks }) : t('seq.look.open', { look: s.look })}</li>
            )}
            {method === 'gst' && <li>{typeof s.boundary === 'number' ? t('seq.boundary', { z: f.number(s.boundary, 2) }) : t('seq.boundary.none')}</li>}
            {method !== 'fixed' && <li>{s.crossed ? t('seq.crossed.yes') : t('seq.crossed.no')}</li>}
          </ul>
        </>
      )}
      {looks.data && looks.data.length > 0 && (
        <>
          <h3>{t('seq.looks.title')}</h3>
          <div className="scroll" tabIndex={0} role="region" aria-label={t('seq.looks.title')}>
            <table className="plain">
              <thead>
                <tr>
                  <th scope="col">#</th>
                  <th scope="col">{t('seq.looks.col.at')}</th>
                  <th scope="col" className="num">
                    {t('seq.looks.col.matured')}
                  </th>
                </tr>
              </thead>
              <tbody>
                {looks.data.slice(-8).map((l) => (
                  <tr key={l.look}>
                    <td>{l.look}</td>
                    <td>{f.dayTime(l.at)}</td>
                    <td className="num">
                      <Num x={l.matured} format={(v) => f.number(v, 0)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      {method === 'gst' && <p className="quiet small">{t('seq.live')}</p>}
    </Section>
  )
}

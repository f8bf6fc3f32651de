import { PlusOutlined } from '@ant-design/icons'
import { Alert, App, Button, Input, Modal, Popconfirm, Select } from 'antd'
import { useState } from 'react'
import { api, ApiError } from '../api'
import { FaultsContext, Field } from '../components/Field'
import { PageHead } from '../components/Parts'
import { Load } from '../components/State'
import { useFormats } from '../context'
import { useLoad, useTitle } from '../hooks'
import { has, useText, type Key } from '../i18n'

const roles = ['analyst', 'marketer', 'admin', 'client', 'frontend'] as const

export default function Keys() {
  const { t } = useText()
  const f = useFormats()
  const { message } = App.useApp()
  useTitle(t('keys.title'))
  const load = useLoad((s) => api.keys(s), [])
  const [open, setOpen] = useState(false)
  const [role, setRole] = useState<string>('analyst')
  const [name, setName] = useState('')
  const [secret, setSecret] = useState('')
  const [problem, setProblem] = useState('')
  const why = (cause: unknown) => (cause instanceof ApiError && cause.status !== 0 ? cause.detail || cause.title : t('state.error.network'))
  const make = async () => {
    setProblem('')
    try {
      setSecret((await api.createKey(role, name.trim())).key)
      load.reload()
    } catch (cause) {
      setProblem(why(cause))
    }
  }
  const revoke = async (id: string) => {
    try {
      await api.revokeKey(id)
      load.reload()
    } catch (cause) {
      void message.error(why(cause))
    }
  }
  const close = () => {
    setOpen(false)
    setSecret('')
    setName('')
    setProblem('')
  }
  return (
    <>
      <PageHead
        title={t('keys.title')}
        lead={t('keys.lead')}
        aside={
          <Button type="primary" icon={<PlusOutlined />} onClick={() => setOpen(true)}>
            {t('keys.new')}
          </Button>
        }
      />
      <Load from={load}>
        {(all) =>
          all.length === 0 ? (
            <p className="quiet">{t('keys.empty')}</p>
          ) : (
            <div className="card scroll" tabIndex={0} role="region" aria-label={t('keys.title')}>
              <table className="plain rows padded">
                <thead>
                  <tr>
                    <th scope="col">{t('keys.col.name')}</th>
                    <th scope="col">{t('keys.col.role')}</th>
                    <th scope="col">{t('keys.col.created')}</th>
                    <th scope="col">{t('keys.col.state')}</th>
                    <th scope="col">{t('keys.col.id')}</th>
                    <th scope="col">
                      <span className="sr">{t('keys.revoke')}</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((k) => (
                    <tr key={k.id}>
                      <th scope="row">{k.name || t('state.none')}</th>
                      <td>{has(`role.${k.role}`) ? t(`role.${k.role}` as Key) : k.role}</td>
                      <td>{f.day(k.created_at)}</td>
                      <td>{k.revoked_at ? <span className="quiet">{t('keys.revoked', { date: f.day(k.revoked_at) })}</span> : <span className="good">{t('keys.active')}</span>}</td>
                      <td>
                        <code className="quiet">{k.id}</code>
                      </td>
                      <td className="num">
                        {!k.revoked_at && (
                          <Popconfirm title={t('keys.revoke.title')} description={t('keys.revoke.text')} okText={t('keys.revoke')} cancelText={t('state.cancel')} onConfirm={() => revoke(k.id)}>
                            <Button size="small" danger>
                              {t('keys.revoke')}
                            </Button>
                          </Popconfirm>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Load>
      <Modal
        open={open}
        title={t('keys.new')}
        onCancel={close}
        onOk={secret ? close : () => void make()}
        okText={t(secret ? 'keys.done' : 'keys.create')}
        cancelText={t('state.cancel')}
        cancelButtonProps={secret ? { style: { display: 'none' } } : {}}
        mask={{ closable: !secret }}
        destroyOnHidden
      >
        {secret ? (
          <>
            <Alert type="warning" showIcon title={t('keys.shown')} />
            <code className="secret">{secret}</code>
            <Button onClick={() => void navigator.clipboard?.writeText(secret).then(() => message.success(t('state.copied')))}>{t('state.copy')}</Button>
          </>
        ) : (
          <FaultsContext.Provider value={[]}>
            <Field label={t('keys.role')} path="role">{(p) => <Select {...p} value={role} onChange={setRole} style={{ width: '100%' }} options={roles.map((r) => ({ value: r, label: t(`role.${r}`) }))} />}</Field>
            <Field label={t('keys.name')} path="name" help={t('keys.name.help')}>{(p) => <Input {...p} value={name} maxLength={128} onChange={(e) => setName(e.target.value)} />}</Field>
            {problem && <Alert type="error" showIcon title={problem} />}
          </FaultsContext.Provider>
        )}
      </Modal>
    </>
  )
}

import { Button } from 'antd'
import { Link, useLocation } from 'react-router'
import { EmptyState } from '../components/State'
import { useTitle } from '../hooks'
import { useText } from '../i18n'

export function NotFound() {
  const { t } = useText()
  const { pathname } = useLocation()
  useTitle(t('state.notFound.title'))
  return (
    <EmptyState title={t('state.notFound.title')} text={t('state.notFound.text', { path: pathname })}>
      <Link to="/">
        <Button type="primary">{t('state.notFound.back')}</Button>
      </Link>
    </EmptyState>
  )
}

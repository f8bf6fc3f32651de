import { App as AntApp, ConfigProvider, Spin } from 'antd'
import enGB from 'antd/locale/en_GB'
import zhCN from 'antd/locale/zh_CN'
import { lazy, Suspense, useEffect, useState } from 'react'
import { Route, Routes } from 'react-router'
import { api, ApiError, whenUnauthorized, type Me } from './api'
import { ErrorState } from './components/State'
import { MeContext } from './context'
import { useText } from './i18n'
import { Layout } from './Layout'
import { NotFound } from './pages/NotFound'
import { SignIn } from './pages/SignIn'
import { theme } from './theme'

// Each page is its own chunk: what a reader does not open is not loaded.
const Experiments = lazy(() => import('./pages/Experiments'))
const ExperimentPage = lazy(() => import('./pages/Experiment'))
const NewExperiment = lazy(() => import('./pages/NewExperiment'))
const Customers = lazy(() => import('./pages/Customers'))
const LifecyclePage = lazy(() => import('./pages/Lifecycle'))
const Users = lazy(() => import('./pages/Users'))
const UserPage = lazy(() => import('./pages/User'))
const Models = lazy(() => import('./pages/Models'))
const Offers = lazy(() => import('./pages/Offers'))
const Traffic = lazy(() => import('./pages/Traffic'))
const Keys = lazy(() => import('./pages/Keys'))
const Audit = lazy(() => import('./pages/Audit'))

export function App() {
  const { lang, t } = useText()
  const [me, setMe] = useState<Me | null>(null)
  const [state, setState] = useState<'asking' | 'out' | 'in' | 'broken'>('asking')
  const [error, setError] = useState<unknown>()

  const ask = () => {
    setState('asking')
    api.me().then(
      (who) => {
        setMe(who)
        setState('in')
      },
      (e: unknown) => {
        setError(e)
        setState(e instanceof ApiError && e.status === 401 ? 'out' : 'broken')
      },
    )
  }
  useEffect(() => {
    whenUnauthorized(() => setState('out'))
    ask()
  }, [])

  const wait = (
    <div className="wait" role="status" aria-label={t('state.loading')}>
      <Spin size="large" />
    </div>
  )
  return (
    <ConfigProvider theme={theme} locale={lang === 'zh' ? zhCN : enGB}>
      <AntApp>
        {state === 'asking' && wait}
        {state === 'out' && <SignIn done={ask} />}
        {state === 'broken' && (
          <main className="alone">
            <ErrorState error={error} retry={ask} />
          </main>
        )}
        {state === 'in' && me && (
          <MeContext.Provider value={me}>
            <Layout signOut={() => void api.signOut().finally(() => setState('out'))}>
              <Suspense fallback={wait}>
                <Routes>
                  <Route path="/" element={<Experiments />} />
                  <Route path="/experiments" element={<Experiments />} />
                  <Route path="/experiments/new" element={<NewExperiment />} />
                  <Route path="/experiments/:key" element={<ExperimentPage />} />
                  <Route path="/customers" element={<Customers />} />
                  <Route path="/customers/lifecycle" element={<LifecyclePage />} />
                  <Route path="/customers/list" element={<Users />} />
                  <Route path="/customers/list/:id" element={<UserPage />} />
                  <Route path="/models" element={<Models />} />
                  <Route path="/offers" element={<Offers />} />
                  <Route path="/traffic" element={<Traffic />} />
                  <Route path="/keys" element={<Keys />} />
                  <Route path="/audit" element={<Audit />} />
                  <Route path="*" element={<NotFound />} />
                </Routes>
              </Suspense>
            </Layout>
          </MeContext.Provider>
        )}
      </AntApp>
    </ConfigProvider>
  )
}

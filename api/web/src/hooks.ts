import { useCallback, useEffect, useRef, useState } from 'react'
import { useText } from './i18n'

export type Loaded<T> = { data: T | undefined; error: unknown; loading: boolean; reload: () => void }

/** Loads when the dependencies change and keeps the last data while it loads again. An answer that comes late is dropped. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, deps: unknown[]): Loaded<T> {
  const [state, setState] = useState<{ data: T | undefined; error: unknown; loading: boolean }>({ data: undefined, error: undefined, loading: true })
  const [round, setRound] = useState(0)
  const current = useRef(load)
  current.current = load
  useEffect(() => {
    const abort = new AbortController()
    setState((s) => ({ ...s, loading: true, error: undefined }))
    current.current(abort.signal).then(
      (data) => !abort.signal.aborted && setState({ data, error: undefined, loading: false }),
      (error: unknown) => !abort.signal.aborted && setState((s) => ({ data: s.data, error, loading: false })),
    )
    return () => abort.abort()
    // The dependencies are the caller's; load is read through the ref.
  }, [...deps, round])
  const reload = useCallback(() => setRound((n) => n + 1), [])
  return { ...state, reload }
}

/** Sets the title of the browser tab. */
export function useTitle(title: string): void {
  const { t } = useText()
  const name = t('app.name')
  useEffect(() => {
    document.title = title ? `${title} · ${name}` : name
  }, [title, name])
}

/** True below the width of a tablet; follows the window. */
export function useNarrow(width = 720): boolean {
  const query = `(max-width: ${width}px)`
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches)
  useEffect(() => {
    const m = matchMedia(query)
    const follow = () => setNarrow(m.matches)
    follow()
    m.addEventListener('change', follow)
    return () => m.removeEventListener('change', follow)
  }, [query])
  return narrow
}

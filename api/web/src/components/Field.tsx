import { createContext, useContext, useId, type ReactNode } from 'react'
import type { Fault } from '../api'

/** The faults of the last attempt to save, for the fields below. */
export const FaultsContext = createContext<Fault[]>([])

/** A labelled input with the server's complaint about its field. `path` is the field in the body, such as variants[1].weight. */
export function Field({ label, path, help, children }: { label: string; path: string; help?: string; children: (props: { id: string; status: '' | 'error'; 'aria-describedby': string | undefined }) => ReactNode }) {
  const id = useId()
  const mine = useContext(FaultsContext).filter((f) => f.field === path || f.field.startsWith(`${path}.`) || f.field.startsWith(`${path}[`))
  const note = `${id}-note`
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, status: mine.length ? 'error' : '', 'aria-describedby': mine.length || help ? note : undefined })}
      <span id={note}>
        {mine.map((f) => (
          <span className="fault" role="alert" key={f.field + f.reason}>
            {f.reason}
          </span>
        ))}
        {help && mine.length === 0 && <span className="quiet small">{help}</span>}
      </span>
    </div>
  )
}

/** Faults that no shown field claims, so that none is lost. */
export function OtherFaults({ paths }: { paths: string[] }) {
  const rest = useContext(FaultsContext).filter((f) => !paths.some((p) => f.field === p || f.field.startsWith(`${p}.`) || f.field.startsWith(`${p}[`)))
  return rest.length === 0 ? null : (
    <ul className="bullets">
      {rest.map((f) => (
        <li key={f.field + f.reason}>
          <code>{f.field}</code> {f.reason}
        </li>
      ))}
    </ul>
  )
}

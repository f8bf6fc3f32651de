import { createRoot } from 'react-dom/client'
import { BrowserRouter } from 'react-router'
import { App } from './App'
import { startI18n } from './i18n'
import './styles.css'

await startI18n()
const root = document.getElementById('root')
if (root)
  createRoot(root).render(
    <BrowserRouter>
      <App />
    </BrowserRouter>,
  )

import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// `npm run dev` serves the pages with hot reload and passes everything else to a running `perennial serve`.
const server = process.env.PERENNIAL_SERVER ?? 'http://127.0.0.1:8080'
const passed = ['/v1', '/signin', '/signout', '/healthz', '/readyz', '/openapi.json', '/docs']

export default defineConfig({
  plugins: [react()],
  server: { proxy: Object.fromEntries(passed.map((path) => [path, { target: server, changeOrigin: false }])) },
  build: {
    target: 'es2022',
    sourcemap: false,
    emptyOutDir: true,
    chunkSizeWarningLimit: 1400, // Ant Design and ECharts are one chunk each; both are cached for good by their hashed names
    assetsInlineLimit: 0, // the content security policy has no data: sources for scripts and styles
    modulePreload: { polyfill: false },
  },
})

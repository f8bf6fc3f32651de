import type { EChartsType } from 'echarts/core'
import type { EChartsOption } from 'echarts'
import { useEffect, useRef, useState } from 'react'
import { useText } from '../i18n'

const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches

/** A chart drawn as SVG. ECharts arrives in its own chunk when the first chart is shown. `label` says what the chart says. */
export function Chart({ option, label, height = 280, onPick }: { option: EChartsOption; label: string; height?: number; onPick?: (index: number) => void }) {
  const { t } = useText()
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<EChartsType | null>(null)
  const pick = useRef(onPick)
  pick.current = onPick
  const [ready, setReady] = useState(false)
  useEffect(() => {
    let gone = false
    let watch: ResizeObserver | undefined
    void import('./echarts').then(({ init }) => {
      if (gone || !box.current) return
      const made = init(box.current, null, { renderer: 'svg' })
      chart.current = made
      made.on('click', (e) => pick.current?.(e.dataIndex as number))
      watch = new ResizeObserver(() => made.resize())
      watch.observe(box.current)
      setReady(true)
    })
    return () => {
      gone = true
      watch?.disconnect()
      chart.current?.dispose()
      chart.current = null
    }
  }, [])
  useEffect(() => {
    if (ready) chart.current?.setOption({ textStyle: { fontFamily: getComputedStyle(document.body).fontFamily }, animation: !still(), animationDuration: 350, ...option }, { notMerge: true })
  }, [option, ready])
  return (
    <figure className="chart" role="img" aria-label={label}>
      <div ref={box} style={{ height }} aria-hidden="true" />
      {!ready && <span className="chart-wait">{t('state.loading')}</span>}
    </figure>
  )
}

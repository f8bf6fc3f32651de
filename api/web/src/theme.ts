import type { ThemeConfig } from 'antd'

/** Colours of the pages: pine, paper and ochre. Pairs of text and ground reach 4.5 : 1. */
export const color = {
  pine: '#1f6553',
  pineDark: '#20493f',
  pineSoft: '#e6f0ea',
  leaf: '#4f9b7d',
  ochre: '#8a5a0b',
  ochreSoft: '#faf0d9',
  brick: '#a63a2b',
  brickSoft: '#fae9e5',
  slate: '#4b5b6b',
  slateSoft: '#ebeff2',
  plum: '#6d4470',
  plumSoft: '#f3eaf3',
  ink: '#1d2926',
  inkSoft: '#55625d',
  line: '#e0ddd2',
  paper: '#f7f5ef',
  card: '#ffffff',
} as const

/** Arms of an experiment in declared order; the control is always grey. */
export const armColors = ['#1f6553', '#c0812a', '#5b6ea8', '#8c4a6b', '#5d8a3a', '#317c8c'] as const
export const controlColor = '#9aa39f'

/** Lifecycle stages from cold start to lost, the same on every chart. */
export const stageColors: Record<string, string> = {
  prospect: '#a9b3b8',
  new: '#7fb5d0',
  active: '#5a9f80',
  loyal: '#1f6553',
  reactivated: '#8a7cc0',
  declining: '#d29a3a',
  lapsed: '#b65b48',
}

export const mono = 'ui-monospace, "SF Mono", "Cascadia Code", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'

export const theme: ThemeConfig = {
  token: {
    colorPrimary: color.pine,
    colorInfo: color.slate,
    colorSuccess: color.pine,
    colorWarning: color.ochre,
    colorError: color.brick,
    colorLink: color.pine,
    colorLinkHover: color.leaf,
    colorErrorBg: color.brickSoft,
    colorErrorBorder: '#ebc6bd',
    colorWarningBg: color.ochreSoft,
    colorWarningBorder: '#ead9ad',
    colorSuccessBg: color.pineSoft,
    colorSuccessBorder: '#bcd9c9',
    colorInfoBg: color.slateSoft,
    colorTextBase: color.ink,
    colorTextSecondary: color.inkSoft,
    colorTextTertiary: '#5f6b66',
    colorTextDescription: color.inkSoft,
    colorTextPlaceholder: '#66716c',
    colorBorder: '#cfcbbd',
    colorBorderSecondary: color.line,
    colorBgLayout: color.paper,
    fontFamily: 'var(--font)',
    fontFamilyCode: mono,
    fontSize: 15,
    borderRadius: 8,
    controlHeight: 36,
    wireframe: false,
    motion: !matchMedia('(prefers-reduced-motion: reduce)').matches,
  },
  components: {
    Table: { headerBg: '#faf8f2', headerColor: color.inkSoft, rowHoverBg: '#faf8f2', cellPaddingBlock: 12 },
    Card: { headerFontSize: 17, paddingLG: 22 },
    Tabs: { titleFontSize: 15 },
    Segmented: { trackBg: '#ebe7da', itemSelectedBg: '#ffffff', itemColor: '#48534f' },
    Collapse: { headerBg: '#ffffff', contentBg: '#ffffff' },
  },
}

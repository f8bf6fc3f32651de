// The typed door to the server. Names and units are those of the HTTP contract: fractions, money in major units, null = not computed.

export type Text = { zh: string; en: string }

export type Me = { role: string; name: string; currency: string; timezone: string; now: string; simulated_clock: boolean; version: string }

export type Constraint = { attribute: string; operator: string; values: string[]; inverted?: boolean; case_insensitive?: boolean }
export type Payload = { type: 'string' | 'number' | 'boolean' | 'json'; value: unknown }
export type PayloadRule = { when: Constraint[]; payload: Payload }
export type Variant = { key: string; name?: Text | null; weight: number; payload?: Payload | null; payloads?: PayloadRule[]; offer?: string }
export type Range = { variant: string; start: number; end: number }
export type Guardrail = { metric: string; margin: number; alpha?: number }
export type Plan = {
  inference?: 'fixed' | 'gst' | 'confseq'
  alpha?: number
  power?: number
  mde?: number | null
  revalidate_days?: number
  max_units?: number | null
  equivalence?: number | null
  looks?: number
  horizon_days?: number
}
export type Definition = {
  key: string
  name: Text
  hypothesis?: string
  salt?: string
  layer?: { key: string; share: number } | null
  sticky?: boolean | null
  control: string
  variants: Variant[]
  coverage?: number | null
  allocation?: Range[]
  targeting?: Constraint[]
  forced?: Record<string, string>
  prerequisite?: { experiment: string; variants: string[] } | null
  metrics: { primary?: string; secondary?: string[]; guardrails?: Guardrail[] }
  plan: Plan
  start_at?: string | null
  end_at?: string | null
  kill_switch?: string
  ramp?: { steps: number[]; days?: number; min_units?: number } | null
  simulated?: boolean
  tags?: string[]
}
export type Status = 'draft' | 'running' | 'stopped' | 'archived'
export type Experiment = Definition & {
  status: Status
  revision: number
  allocation_revision: number
  created_at: string
  started_at?: string | null
  stopped_at?: string | null
  decided?: { variant: string; reason: string; at: string; by?: string; revalidate_at?: string | null; evidence?: Evidence | null } | null
  ramped?: { step: number; since: string; status: 'ramping' | 'held' | 'done' | 'rolled_back'; reason?: Text | null } | null
}

/** What was known when somebody decided. */
export type Evidence = { source: { exposed: number; matured: number; as_of?: string }; look?: number; advice: { action: Action; text: Text }; profit: Profit[] }

export type Effect = {
  metric: string
  kind: string
  variant: string
  segment: { dimension: string; value: string } | null
  role?: 'primary' | 'secondary' | 'guardrail'
  direction?: string
  n: number
  n_control: number
  mean: number | null
  mean_control: number | null
  effect: number | null
  se: number | null
  p_value: number | null
  effect_low: number | null
  effect_high: number | null
  rel_effect: number | null
  rel_low: number | null
  rel_high: number | null
  shrunk?: number | null
  p_adjusted?: number | null
  variance_reduction?: number | null
  method?: string
  reason?: string | null
  warnings?: string[]
  fixed?: { se: number | null; p_value: number | null; effect_low: number | null; effect_high: number | null } | null
  exact?: { method: string; p_value: number | null; low: number | null; high: number | null } | null
  non_inferior?: { margin: number; alpha: number; p_value: number | null; verdict: string } | null
}
/** Money per matured unit of one variant; the discount is already out of revenue. */
export type Waterfall = Partial<Record<'revenue' | 'cost_of_goods' | 'discount' | 'refunds' | 'refunded' | 'commission' | 'contact' | 'profit', number | null>>
/** The cumulative effect of the units that had matured by the end of a day, with a band that holds at every moment. */
export type SeriesPoint = { metric: string; variant: string; day: string; n: number; effect: number | null; low: number | null; high: number | null }
export type Profit = {
  variant: string
  per_unit: number | null
  low: number | null
  high: number | null
  p_value: number | null
  total: number | null
  iroi: number | null
  iroi_low?: number | null
  iroi_high?: number | null
  reason?: string | null
  estimated_share?: number | null
}
/** What the units that used the coupon brought, and the others: it describes, it does not compare. */
export type Redemption = {
  units: number
  share: number | null
  revenue_per_unit: number | null
  discount_per_unit: number | null
  profit_per_unit: number | null
  profit_per_other_unit: number | null
  label: Text
}
export type Sensitivity = {
  metric: string
  variant: string
  choice: string
  effect: number | null
  effect_low: number | null
  effect_high: number | null
  p_value: number | null
  variance_reduction?: number | null
  cap_low?: number | null
  cap_high?: number | null
}
export type Action = 'ship' | 'keep_running' | 'stop_losing' | 'no_difference' | 'cannot_judge'
export type Results = {
  alpha: number
  inference: string
  control: string
  source: { exposed: number; matured: number; as_of?: string; snapshot?: string | number }
  arms: { variant: string; units: number; planned_share: number }[]
  srm: { statistic: number | null; df: number; p_value: number | null; sequential_p?: number | null; verdict: string; reason?: string | null } | null
  results: Effect[]
  profit?: Profit[]
  waterfall?: Record<string, Waterfall> | null
  series?: SeriesPoint[] | null
  markers?: { day: string; code: string; text: Text }[] | null
  sensitivity?: Sensitivity[] | null
  redemption?: Record<string, Redemption> | null
  heterogeneity?: { metric: string; variant: string; dimension: string; p_value: number | null; p_adjusted: number | null }[] | null
  state?: { look: number | null; looks: number | null; information: number | null; boundary: number | null; reason?: string | null; crossed: { look: number; at: string; variant: string; side: string; shrunk?: number | null } | null; closed?: boolean } | null
  health?: { code: string; verdict: string; p_value: number | null; detail?: Text | null; slope?: number | null; slope_low?: number | null; slope_high?: number | null }[] | null
  decision: {
    action: Action
    variant?: string | null
    code?: string
    text: Text
    days_left?: number | null
    monthly?: number | null
    waiting?: { days: number; cost: number | null; worth: number | null } | null
  }
  warnings?: { code: string; detail: Text }[]
  sql?: string[]
}
export type Look = { look: number; at: string; matured: number; doc?: unknown }

export type StageRow = { stage: string; users: number; churn_risk_mean: number | null; ltv_mean: number | null; ltv_total: number | null; revenue_all_total: number | null }
export type Lifecycle = {
  as_of: string
  score_version: string
  users: number
  stages: StageRow[]
  churn_deciles: { decile: number; users: number; churn_risk_mean: number | null }[]
  ltv_deciles: { decile: number; users: number; ltv_mean: number | null; ltv_total: number | null }[]
}
export type Phase = { key: string; label: Text; stages: string[] | null; goal?: boolean }
export type Vocabulary = { key: string; label: Text; phases: Phase[] }
export type StageHistory = { as_of: string; from: string; vocabulary: Vocabulary; days: { date: string; users: number; stages: Record<string, number>; phases: Record<string, number> }[] }
export type Transitions = { as_of: string; from: string; sum: { from: string; to: string; users: number }[] }
export type Retention = { as_of: string; points: { n: number; users: number; classic_rate: number | null; unbounded_rate: number | null; mature: boolean; reason?: string }[] }
export type Cohorts = { as_of: string; unit: string; cohorts: { start: string; users: number; cells: { k: number; users: number; rate: number | null; mature: boolean }[] }[] }
export type ChannelEconomics = {
  channel: string
  new_customers: number
  media_cost: number | null
  promo_cost: number
  cac: number | null
  ltv: number | null
  ltv_to_cac: number | null
  payback_days: number | null
  reason?: string
}
export type Economics = {
  from: string
  to: string
  acquired_from: string
  acquired_to: string
  ltv_horizon_days: number
  new_customers: number
  arpu: number | null
  arppu: number | null
  aov: number | null
  repurchase_rate: number | null
  refund_share: number | null
  repeat_within: { days: number; rate: number | null }[]
  reactivation: { rate: number | null; reason?: string }
  channels: ChannelEconomics[]
}
export type Reason = { feature: string; direction: string; zh: string; en: string }
export type Score = {
  user_id: string
  stage: string
  churn_risk: number | null
  churn_decile: number | null
  ltv: number | null
  ltv_low: number | null
  ltv_high: number | null
  ltv_decile: number | null
  reasons: Reason[] | null
  recency_days: number | null
  orders_all: number | null
  revenue_all: number | null
}
export type Scores = { as_of: string; score_version: string; total: number; scores: Score[]; next_cursor: string | null }
export type Assignment = {
  experiment: string
  variant: string | null
  enrolled: boolean
  reason: string
  p_assign: number | null
  allocation_revision?: number
}
export type User = {
  user_id: string
  as_of: string | null
  score_version?: string | null
  stage: string | null
  scores: Partial<Score> | null
  features: Record<string, number | string | null> | null
  reasons: Reason[] | null
  opted_out: boolean
  assignments: Assignment[] | null
}
export type Card = {
  target: 'churn' | 'ltv'
  version: string
  learner: string
  role: string
  of?: string
  horizon_days: number
  train_as_of: string[]
  test_as_of: string
  rows_train: number
  rows_test: number
  features: string[]
  metrics: Record<string, number | null>
  baselines: Record<string, Record<string, number | null>> | null
  candidates: Record<string, Record<string, number | null>> | null
  calibration: { predicted: number; observed: number; n: number }[] | null
  parameters: unknown
  importance?: { feature: string; share: number }[]
  notes?: string[]
}
export type Offer = {
  key: string
  kind: string
  name?: Text | null
  terms: unknown
  unit_cost?: number | null
  quota?: number | null
  starts_at?: string | null
  ends_at?: string | null
  rules: Text
  eligibility?: Constraint[]
  revision?: number
  rules_hash?: string
}
export type Finding = { level: 'error' | 'warning'; field: string; code: string; detail: Text }
export type Priced = { applied: boolean; reason: string | null; subtotal: number; shipping: number; discount: number; pay: number; cost: number; currency: string }
/** What an experiment would need; nothing is stored. */
export type Preflight = {
  audience: number
  share: number | null
  units_needed: number | null
  units_per_day: number | null
  days: number | null
  mde: number | null
  cost_low: number | null
  cost_high: number | null
  reason: string | null
  checks: { code: string; verdict: 'ok' | 'warning' | 'fail'; text: Text }[]
  text: Text
}
export type MetricDef = { key: string; name?: Text | null; kind: string; event?: string; field?: string; window_days?: number; direction?: string }
export type Layer = { key: string; salt?: string; allocation?: { experiment: string; start: number; end: number }[] }
export type Holdout = { key: string; share?: number; allocation?: { start: number; end: number }[]; experiments: string[] | null }
export type Key = { id: string; role: string; name: string; created_at: string; revoked_at?: string | null }
export type AuditEntry = { at: string; by: string; action: string; object: string; doc?: unknown }

/** One wrong field of a request, by its path in the body. */
export type Fault = { field: string; reason: string }

/** An RFC 9457 problem, or a network failure with status 0. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly errors: Fault[] = [],
  ) {
    super(detail || title)
  }
}

/** Called when the server does not know the session any more. */
let onUnauthorized: () => void = () => {}
export function whenUnauthorized(f: () => void): void {
  onUnauthorized = f
}

async function call(method: string, path: string, body?: unknown, options: { etag?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (method !== 'GET') headers['X-Requested-With'] = 'perennial'
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (options.etag) headers['If-Match'] = options.etag
  let answer: Response
  try {
    answer = await fetch(path, {
      method,
      headers,
      credentials: 'same-origin',
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal,
    })
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause
    throw new ApiError(0, 'network', '')
  }
  if (answer.ok) return answer
  const problem = (await answer.json().catch(() => ({}))) as { title?: string; detail?: string; errors?: Fault[] }
  if (answer.status === 401 && path !== '/signin') onUnauthorized()
  throw new ApiError(answer.status, problem.title ?? answer.statusText, problem.detail ?? '', problem.errors ?? [])
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await call('GET', path, undefined, { signal })).json() as Promise<T>
}

async function send<T>(method: string, path: string, body?: unknown, etag?: string): Promise<T> {
  const answer = await call(method, path, body, { etag })
  const text = await answer.text()
  return (text === '' ? undefined : JSON.parse(text)) as T
}

const at = (key: string) => `/v1/experiments/${encodeURIComponent(key)}`

export type ScoresQuery = { stage?: string; q?: string; sort?: string; limit?: number; cursor?: string }

export const api = {
  me: (s?: AbortSignal) => get<Me>('/v1/me', s),
  signIn: (key: string) => send<unknown>('POST', '/signin', { key }),
  signOut: () => send<unknown>('POST', '/signout'),

  experiments: (s?: AbortSignal) => get<{ experiments: Experiment[] | null }>('/v1/experiments', s).then((x) => x.experiments ?? []),
  experiment: async (key: string, s?: AbortSignal): Promise<{ experiment: Experiment; etag: string }> => {
    const answer = await call('GET', at(key), undefined, { signal: s })
    return { experiment: (await answer.json()) as Experiment, etag: answer.headers.get('ETag') ?? '' }
  },
  results: (key: string, s?: AbortSignal) => get<Results>(`${at(key)}/results`, s),
  segments: (key: string, dimension: string, s?: AbortSignal) => get<Results>(`${at(key)}/results?segment=${dimension}`, s),
  looks: (key: string, s?: AbortSignal) => get<{ looks: Look[] | null }>(`${at(key)}/looks`, s).then((x) => x.looks ?? []),
  preflight: (d: Definition) => send<Preflight>('POST', '/v1/experiments/preflight', d),
  dataset: (key: string, format: 'csv' | 'ndjson') => `${at(key)}/dataset?format=${format}`,
  create: (d: Definition) => send<Experiment>('POST', '/v1/experiments', d),
  act: (key: string, action: string, body: unknown, etag: string) => send<unknown>('POST', `${at(key)}/${action}`, body, etag),

  lifecycle: (s?: AbortSignal) => get<Lifecycle>('/v1/lifecycle', s),
  stages: (vocabulary: string, s?: AbortSignal) => get<StageHistory>(`/v1/lifecycle/stages${vocabulary ? `?vocabulary=${encodeURIComponent(vocabulary)}` : ''}`, s),
  transitions: (s?: AbortSignal) => get<Transitions>('/v1/lifecycle/transitions', s),
  retention: (s?: AbortSignal) => get<Retention>('/v1/lifecycle/retention?days=1,7,30,60,90', s),
  cohorts: (q: { unit: string; definition: string }, s?: AbortSignal) => get<Cohorts>(`/v1/lifecycle/cohorts?${new URLSearchParams(q)}`, s),
  economics: (s?: AbortSignal) => get<Economics>('/v1/lifecycle/economics', s),
  vocabularies: (s?: AbortSignal) => get<{ vocabularies: Vocabulary[] }>('/v1/lifecycle/vocabularies', s),
  scores: (q: ScoresQuery, s?: AbortSignal) => {
    const p = new URLSearchParams()
    for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== '') p.set(k, String(v))
    return get<Scores>(`/v1/scores?${p}`, s)
  },
  user: (id: string, s?: AbortSignal) => get<User>(`/v1/users/${encodeURIComponent(id)}`, s),

  models: (s?: AbortSignal) => get<{ models: Card[] | null }>('/v1/models', s).then((x) => x.models ?? []),

  offers: (s?: AbortSignal) => get<{ offers: Offer[] | null }>('/v1/offers', s).then((x) => x.offers ?? []),
  putOffer: (o: Offer) => send<Offer>('POST', '/v1/offers', o),
  lintOffer: (o: Offer) => send<{ findings: Finding[] | null }>('POST', '/v1/offers/lint', o).then((x) => x.findings ?? []),
  priceOffer: (key: string, quantity: number, price: number) => send<Priced>('POST', '/v1/offers/price', { key, items: [{ quantity, price }] }),
  metrics: (s?: AbortSignal) => get<{ metrics: MetricDef[] | null }>('/v1/metrics', s).then((x) => x.metrics ?? []),
  layers: (s?: AbortSignal) => get<{ layers: Layer[] | null }>('/v1/layers', s).then((x) => x.layers ?? []),
  putLayer: (l: Layer) => send<Layer>('POST', '/v1/layers', l),
  holdouts: (s?: AbortSignal) => get<{ holdouts: Holdout[] | null }>('/v1/holdouts', s).then((x) => x.holdouts ?? []),
  putHoldout: (h: Holdout) => send<Holdout>('POST', '/v1/holdouts', h),

  keys: (s?: AbortSignal) => get<{ keys: Key[] | null }>('/v1/keys', s).then((x) => x.keys ?? []),
  createKey: (role: string, name: string) => send<Key & { key: string }>('POST', '/v1/keys', { role, name }),
  revokeKey: (id: string) => send<unknown>('DELETE', `/v1/keys/${encodeURIComponent(id)}`),
  audit: (limit: number, s?: AbortSignal) => get<{ entries: AuditEntry[] | null }>(`/v1/audit?limit=${limit}`, s).then((x) => x.entries ?? []),
}

// Package warehouse compiles the catalog to SQL, runs it on an engine (DuckDB embedded, Trino scaled out) over a lake snapshot, and
// writes Parquet runs. What leaves it is per-user rows or integer sums, never raw events.
package warehouse

import (
	"context"
	"encoding/json"
	"io"
	"math/big"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// Options of Open.
type Options struct {
	Dir     string // the data directory; temporary files go to Dir/tmp
	Shop    features.Shop
	Memory  int64 // bytes; 0 means 1 GiB
	Threads int   // 0 means 2
}

// Engine runs compiled SQL on an in-memory DuckDB of its own. It is safe for concurrent use.
type Engine struct{ o Options }

// Open starts an engine with the safe settings (no extensions from outside, bounded memory, locked configuration).
func Open(ctx context.Context, o Options) (*Engine, error) { panic("warehouse: Open") }

// Close ends the engine.
func (e *Engine) Close() error { panic("warehouse: Close") }

// Features builds the features of every user of the population as of a day: one statement, known facts only.
func (e *Engine) Features(ctx context.Context, s *lake.Snapshot, asOf features.Day) (*features.Table, error) {
	panic("warehouse: Features")
}

// Labels of a horizon for the users of a feature table: what happened in [asOf, asOf+horizonDays).
type Labels struct {
	Orders      []int64           // orders of the horizon
	Revenue     []features.Micros // value of the orders
	Refunds     []features.Micros // value of the refunds of those orders known at maturity
	Margin      []features.Micros // margin of the orders minus that of their refunds; estimated where absent
	MarginShare float64           // share of the horizon's orders that carried a margin
}

// Labels returns the labels of users (in their order) for [asOf, asOf+horizonDays). It errs with *ImmatureError when the window is not over.
// notAfter bounds what may be known: 0 means all.
func (e *Engine) Labels(ctx context.Context, s *lake.Snapshot, users []string, asOf features.Day, horizonDays int, notAfter features.Day) (*Labels, error) {
	panic("warehouse: Labels")
}

// ImmatureError says that a label window is not over and names the first date at which it would be.
type ImmatureError struct {
	AsOf        features.Day
	HorizonDays int
	DataDay     features.Day // the last complete day
	MatureOn    features.Day // asOf + horizonDays: the first date at which the window is over
}

func (e *ImmatureError) Error() string { panic("warehouse: ImmatureError") }

// DataDay returns the last complete local day with events of at least two users, never beyond the day before now.
func (e *Engine) DataDay(ctx context.Context, s *lake.Snapshot, now time.Time) (features.Day, error) {
	panic("warehouse: DataDay")
}

// Digest returns the order-free digest of the events known before a cut, and their number.
func (e *Engine) Digest(ctx context.Context, s *lake.Snapshot, asOf features.Day) (digest string, rows int64, err error) {
	panic("warehouse: Digest")
}

// Stale reports whether the input before a cut is stale: no event for longer than max(2 days, 1.5 × the longest gap of the last
// 365 days). last is the newest day with an event before the cut.
func (e *Engine) Stale(ctx context.Context, s *lake.Snapshot, asOf features.Day) (stale bool, last features.Day, err error) {
	panic("warehouse: Stale")
}

// WriteTable writes a table as .parquet, .csv or .ndjson (with .gz or .zst), atomically; the extension of path decides.
func (e *Engine) WriteTable(ctx context.Context, t *features.Table, path string) error {
	panic("warehouse: WriteTable")
}

// ReadTable reads a Parquet file that WriteTable wrote.
func (e *Engine) ReadTable(ctx context.Context, path string) (*features.Table, error) {
	panic("warehouse: ReadTable")
}

// ExportFilter narrows an export of events; zero fields do not filter.
type ExportFilter struct {
	From, To features.Day // biz days, To exclusive
	User     string
}

// ExportEvents writes stored events as NDJSON in the form of CONTRACT §3 and §4.
func (e *Engine) ExportEvents(ctx context.Context, s *lake.Snapshot, f ExportFilter, w io.Writer) error {
	panic("warehouse: ExportEvents")
}

// MetricPlan is an experiment's question in neutral words; cmd maps the experiment and its metrics onto it.
type MetricPlan struct {
	Experiment         string
	Start              time.Time // exposures from here on
	AsOf               time.Time // facts known up to here
	HorizonDays        int       // the outcome window of a unit is [first exposure, + HorizonDays × 24 h)
	RefundMaturityDays int
	Variants           []string // others are ignored
	Forced             []string // units that are left out
	Metrics            []Metric
	Covariates         []string // value before exposure of: pre_revenue, pre_orders (days = HorizonDays), or a column of Frozen
	Frozen             string   // Parquet scores run to join by user (stage, churn_decile, ltv_decile, churn_risk, ltv), or ""
	SegmentBy          string   // "", stage, churn_decile, ltv_decile, channel
	ByDay              bool     // also cumulative sums for every local day
}

// Metric is one per-unit value. Kind says which fields matter.
type Metric struct {
	Key         string
	Kind        string // profit, mean, proportion, ratio, quantile, retention, funnel
	Event       string // order events by default
	Field       string // value, margin, …, or "" to count events
	Denominator string // key of another metric of the plan, for ratio
	WindowDays  int    // 0 means the plan's horizon
	CapMicros   int64  // 0 means no cap; already pooled
	Day         int    // retention: the day [Day×24 h, (Day+1)×24 h)
	MinEvents   int    // proportion: at least so many events; 0 means 1
	Quantile    float64
}

// Sum holds exact integer sums over the matured units of one variant, stratum and segment for one metric. Money is in micros.
type Sum struct {
	Metric, Variant string
	Stratum         string // the unit's own vector of assignment probability at enrolment, as text
	Segment         string // "" for all units
	Day             string // "" for all days, else YYYY-MM-DD: units matured by the end of that day
	N               int64
	X, XX           *big.Int   // Σx, Σx²
	D, DD, XD       *big.Int   // denominator, for ratio
	C, CC, XC       []*big.Int // per covariate (CC and CD are flattened upper triangles of Σcᵢcⱼ)
}

// Measured is the answer to a MetricPlan.
type Measured struct {
	Exposed, Matured int64
	TwoArm           map[string]int64            // units exposed to more than one variant, by the first
	ExposedBy        map[string]map[string]int64 // stratum → variant → exposed units
	ExposedByDay     []DayCount                  // for sequential SRM
	Sums             []Sum
	Waterfall        map[string]map[string]int64 // variant → revenue, cost_of_goods, discount, refunds, commission, contact → micros over matured units
	RefundsOpen      bool
	SQL              []string
}

// DayCount is how many units of a variant were first exposed on a day.
type DayCount struct {
	Day, Stratum, Variant string
	Units                 int64
}

// Measure answers a plan in one pass over the snapshot.
func (e *Engine) Measure(ctx context.Context, s *lake.Snapshot, p MetricPlan) (*Measured, error) {
	panic("warehouse: Measure")
}

// RunMeta is run.json of a features or scores run.
type RunMeta struct {
	AsOf    string          `json:"as_of"`
	Version string          `json:"version"`
	Rows    int             `json:"rows"`
	Digest  string          `json:"digest"`
	Catalog string          `json:"catalog"`
	Extra   json.RawMessage `json:"extra,omitempty"`
}

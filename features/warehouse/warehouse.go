// Package warehouse compiles the catalog to SQL, runs it on an engine (DuckDB embedded, Trino scaled out) over a lake snapshot, and
// writes Parquet runs. What leaves it is per-user rows or integer sums, never raw events.
package warehouse

import (
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"perennial/features"
)

// Options of Open.
type Options struct {
	Catalog *features.Catalog // nil means the default catalog
	Dir     string            // the data directory; temporary files go to Dir/tmp
	Shop    features.Shop
	Memory  int64            // bytes; 0 means 1 GiB
	Threads int              // 0 means 2
	Now     func() time.Time // the shop's clock; nil means time.Now. No day is complete before it is over
	Trino   *TrinoOptions    // the cluster that computes; nil means this process does
}

// Labels of a horizon for the users of a feature table: what happened in [asOf, asOf+horizonDays).
type Labels struct {
	Orders      []int64           // orders of the horizon
	Revenue     []features.Micros // value of the orders
	Refunds     []features.Micros // value of the refunds of those orders known at maturity
	Margin      []features.Micros // margin of the orders minus that of their refunds; estimated where absent
	MarginShare float64           // share of the horizon's orders that carried a margin
}

// ImmatureError says that a label window is not over and names the first date at which it would be.
type ImmatureError struct {
	AsOf        features.Day
	HorizonDays int
	DataDay     features.Day // the last complete day
	MatureOn    features.Day // asOf + horizonDays: the first date at which the window is over
}

func (e *ImmatureError) Error() string {
	return fmt.Sprintf("as_of: the %d days after %s are not over: data is complete up to %s; the window is over on %s, the last date that is mature now is %s",
		e.HorizonDays, e.AsOf, e.DataDay, e.MatureOn, e.DataDay+1-features.Day(e.HorizonDays))
}

// ExportFilter narrows an export of events; zero fields do not filter.
type ExportFilter struct {
	From, To features.Day // biz days, To exclusive
	User     string
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
	Covariates         []string                // value before exposure of: pre_revenue, pre_orders (days = HorizonDays), or a column of Frozen
	Frozen             string                  // Parquet scores run to join by user (stage, churn_decile, ltv_decile, churn_risk, ltv), or ""
	SegmentBy          string                  // "", stage, churn_decile, ltv_decile, channel
	ByDay              bool                    // also cumulative sums for every local day
	Cap                string                  // key of a money metric that is also summed capped at the pooled 99.9th percentile, or ""
	Coupons            map[string]string       // variant → coupon_id of its offer: the redemption split and the leak check
	UnitCosts          map[string]int64        // coupon_id → micros that an order with it costs where the event names no cost
	ScoreDays          map[string]features.Day // score version → its cut: exposures on older scores are counted
	Others             []string                // other experiments whose interaction with the first metric is measured
	// Strata names the vector of assignment probabilities of every allocation revision (statistics.md §6.7): revisions with one vector
	// share a text. nil is one stratum, ""; a revision that the map lacks is a stratum of its own.
	Strata map[int64]string
	// Progress is told how far the measuring of a large snapshot is: rows of all rows by a merge, ranges of users by the statements. nil asks for nothing.
	Progress func(done, all int)

	from, to string // the range of user ids that one pass measures; "" is open
}

// Metric is one per-unit value. Kind says which fields matter.
type Metric struct {
	Key         string
	Kind        string // profit, mean, proportion, ratio, quantile, retention, funnel; novelty: Σ value × (2·day − (days − 1)) over the days of the window, which grows with a trend
	Event       string // order events by default
	Field       string // value, margin, …, or "" to count events
	Denominator string // key of another metric of the plan, for ratio
	WindowDays  int    // 0 means the plan's horizon
	CapMicros   int64  // 0 means no cap; already pooled
	Day         int    // retention: the day [Day×24 h, (Day+1)×24 h)
	MinEvents   int    // proportion: at least so many events; 0 means 1
	Quantile    float64
	Ranks       func(n int64) []int64 // quantile: the ranks (from 1) of the values that its estimate from n units needs
	Steps       []string              // funnel: events that follow one another within the window
	// Filter keeps the events whose column (category, channel, product_id, coupon_id) has one of the values.
	Filter map[string][]string
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
	C, XC, DC       []*big.Int // per covariate of Measured.Covariates: Σc, Σxc, Σdc
	CC              []*big.Int // the flattened upper triangle of Σcᵢcⱼ: (0,0), (0,1), …, (1,1), …
}

// Measured is the answer to a MetricPlan.
type Measured struct {
	Exposed, Matured int64
	TwoArm           map[string]int64            // units exposed to more than one variant, by the first
	ExposedBy        map[string]map[string]int64 // stratum → variant → exposed units
	ExposedByDay     []DayCount                  // for sequential SRM
	Covariates       []string                    // what C counts: a covariate of the plan, then NAME_missing where a unit may lack it (its value is 0 there)
	Sums             []Sum
	// Waterfall is, by variant over matured units in micros: revenue (as paid), cost_of_goods, discount (ours; already out of revenue), refunds
	// (margin lost), refunded (value given back), commission, contact, profit = revenue − cost_of_goods − refunds − commission − contact.
	Waterfall   map[string]map[string]int64
	RefundsOpen bool // refunds of matured units may still come
	Quantiles   []OrderStatistics
	Health      Health
	SQL         []string
}

// Health is what is asked about the soundness of the data.
type Health struct {
	Stray        int64                       // units that were only exposed to variants that the experiment does not have
	Silent       map[string]int64            // matured units of a variant without any event of their own, from one window before the exposure on
	Early, Late  map[string]int64            // matured units of a variant with an order in the hour before the exposure, and in the hour after it
	Leaked       map[string]int64            // matured units of a variant that used another variant's coupon
	Stale        map[string]int64            // units that were assigned on scores more than two days old
	Ancient      map[string]int64            // of them, on scores more than thirty days old
	Estimated    map[string]int64            // orders of matured units whose margin is an estimate
	Orders       map[string]int64            // orders of matured units
	Redeemed     map[string]map[string]int64 // variant → units, revenue, margin, discount, contact, profit of the matured units that used its coupon
	Dimensions   []DimensionCount
	Caps         [2]int64 // the two caps of MetricPlan.Cap
	Interactions []Interaction
}

// DimensionCount is how many exposed units of a variant have a value of a dimension: of the frozen scores, and the channel where it is the segment.
type DimensionCount struct {
	Dimension, Value, Stratum, Variant string
	Units                              int64
}

// Interaction is Σ of the first metric over the matured units of both experiments, by this experiment's variant and the other's.
type Interaction struct {
	Other, OtherVariant, Variant string
	N                            int64
	X, XX                        *big.Int
}

// OrderStatistics are the values at the ranks (from 1) that a quantile of one variant, stratum and segment needs.
type OrderStatistics struct {
	Metric, Variant, Stratum, Segment string
	N                                 int64
	Values                            map[int64]int64
}

// DayCount is how many units of a variant were first exposed on a day.
type DayCount struct {
	Day, Stratum, Variant string
	Units                 int64
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

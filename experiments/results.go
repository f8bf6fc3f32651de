package experiments

import (
	"time"

	"perennial/experiments/stats"
)

// Roles of a metric in an experiment.
const (
	RolePrimary   = "primary"
	RoleSecondary = "secondary"
	RoleGuardrail = "guardrail"
)

// Results is the document of CONTRACT §5: the analysis of an experiment with money, state, health and decision.
type Results struct {
	Analysis
	Source      ResultsSource                 `json:"source"`
	Experiment  string                        `json:"experiment"`
	Revision    int64                         `json:"revision"`
	Currency    string                        `json:"currency"`
	Simulated   bool                          `json:"simulated"`
	Profit      []Profit                      `json:"profit"`
	Waterfall   map[string]map[string]float64 `json:"waterfall"` // per matured unit, by variant
	Redemption  map[string]Redemption         `json:"redemption,omitempty"`
	State       State                         `json:"state"`
	Health      []HealthCheck                 `json:"health"`
	Decision    Decision                      `json:"decision"`
	Sensitivity []Sensitivity                 `json:"sensitivity,omitempty"`
	Series      []SeriesPoint                 `json:"series,omitempty"`
	Markers     []Marker                      `json:"markers,omitempty"` // what changed while the series ran
	Live        *Live                         `json:"live,omitempty"`    // gst: what came after the last recorded look, undecided
	SQL         []string                      `json:"sql"`
}

// ResultsSource says which facts were used.
type ResultsSource struct {
	Exposed  int64     `json:"exposed"`
	Matured  int64     `json:"matured"`
	AsOf     time.Time `json:"as_of"`
	Snapshot int64     `json:"snapshot"`
}

// Profit is incremental profit per exposed unit of one variant against the control. Total is what the variant's matured units brought
// beyond the control's rate; IROI is incremental profit ÷ incremental promotion cost, null when that cost may be 0.
type Profit struct {
	Variant  string  `json:"variant"`
	PerUnit  Num     `json:"per_unit"`
	Low      Num     `json:"low"`
	High     Num     `json:"high"`
	PValue   Num     `json:"p_value"`
	Total    Num     `json:"total"`
	IROI     Num     `json:"iroi"`
	IROILow  Num     `json:"iroi_low"`
	IROIHigh Num     `json:"iroi_high"`
	Reason   *string `json:"reason"`
	// EstimatedShare is the share of both arms' orders that came without a margin, so that the shop's margin rate stands in for it.
	EstimatedShare Num `json:"estimated_share"`
}

// Redemption is what the units of one variant that used its coupon brought, and what the others of the variant brought, per unit. It describes: who
// redeems chose to, so the difference between the two is no effect of the coupon.
type Redemption struct {
	Units           int64 `json:"units"`
	Share           Num   `json:"share"` // of the variant's matured units
	RevenuePerUnit  Num   `json:"revenue_per_unit"`
	DiscountPerUnit Num   `json:"discount_per_unit"`
	ProfitPerUnit   Num   `json:"profit_per_unit"`
	RestPerUnit     Num   `json:"profit_per_other_unit"`
	Label           Text  `json:"label"`
}

// State of the sequential plan. Information is matured ÷ planned units; Boundary the |z| to exceed at this look.
type State struct {
	Look        int      `json:"look"`
	Looks       int      `json:"looks"`
	Information Num      `json:"information"`
	Boundary    Num      `json:"boundary"`
	MaxUnits    *int64   `json:"max_units"`
	Reason      *string  `json:"reason,omitempty"` // no_history: nothing to plan with yet
	Crossed     *Crossed `json:"crossed"`
	Closed      bool     `json:"closed"`
}

// Crossed is the first crossing: it stands, whatever later looks show.
type Crossed struct {
	Look    int       `json:"look"`
	At      time.Time `json:"at"`
	Variant string    `json:"variant"`
	Side    string    `json:"side"` // better or worse
	Effect  Num       `json:"effect"`
	Low     Num       `json:"low"`
	High    Num       `json:"high"`
	Shrunk  Num       `json:"shrunk"` // the median-unbiased estimate, for forecasts: at a crossing the plain one is inflated
	Action  string    `json:"action"`
}

// HealthCheck is one question about the data's soundness.
type HealthCheck struct {
	Code    string `json:"code"`
	Verdict string `json:"verdict"` // ok, warning, fail
	PValue  Num    `json:"p_value"`
	Detail  *Text  `json:"detail,omitempty"`
	// Slope is novelty's: by how much the effect on a unit's revenue grows from one day of its window to the next, with its interval of level 1 − α.
	Slope     *Num `json:"slope,omitempty"`
	SlopeLow  *Num `json:"slope_low,omitempty"`
	SlopeHigh *Num `json:"slope_high,omitempty"`
}

// Sensitivity is the same effect under another choice.
type Sensitivity struct {
	Metric            string `json:"metric"`
	Variant           string `json:"variant"`
	Choice            string `json:"choice"` // adjusted: regressed on what was known before; capped: values beyond the pooled 0.1th and 99.9th percentile drawn in
	Effect            Num    `json:"effect"`
	SE                Num    `json:"se"`
	EffectLow         Num    `json:"effect_low"`
	EffectHigh        Num    `json:"effect_high"`
	PValue            Num    `json:"p_value"`
	VarianceReduction Num    `json:"variance_reduction"`
	CapLow            *Num   `json:"cap_low,omitempty"`
	CapHigh           *Num   `json:"cap_high,omitempty"`
}

// SeriesPoint is the cumulative effect of the units that had matured by the end of a day, recomputed from raw facts. Low and High are an
// anytime band, never narrower than the fixed interval.
type SeriesPoint struct {
	Metric  string `json:"metric"`
	Variant string `json:"variant"`
	Day     string `json:"day"`
	N       int64  `json:"n"`
	Effect  Num    `json:"effect"`
	Low     Num    `json:"low"`
	High    Num    `json:"high"`
}

// Marker is a change of an experiment's enrolment on a day: of its coverage (a ramp's step) or of its weights.
type Marker struct {
	Day  string `json:"day"`
	Code string `json:"code"` // coverage, weights
	Text Text   `json:"text"`
}

// Live is what is known beyond the last recorded look.
type Live struct {
	Source  ResultsSource `json:"source"`
	Results []Result      `json:"results"`
}

// MetricSpec is a metric in words that every engine can compile; money is in the shop's currency.
type MetricSpec struct {
	Key         string
	Kind        string // profit mean proportion ratio quantile retention funnel; novelty only for health
	Event       string
	Field       string
	Denominator string // key of another spec
	WindowDays  int
	Day         int
	MinEvents   int
	Quantile    float64
	Steps       []string
	Filter      map[string][]string
	CapMicros   int64
	Margin      float64 // of a guardrail whose experiment gives none
	Name        Text    // in words; empty for a metric that has only its key
	Share       bool    // the value is a share, told in percentage points
	Lower       bool    // lower is better
	Money       bool    // the numerator is money
	Hidden      bool    // only there for another metric
}

// Cell is the moments of one metric over the matured units of one variant, stratum, segment and day. The values are the metric, then the
// denominator of a ratio, then covariates; money in major units.
type Cell struct {
	Metric, Variant, Stratum, Segment, Day string
	Moments                                stats.Moments
	Covariates                             int             // how many of the values at the end are covariates
	Quantile                               *stats.Estimate // of a quantile metric, in place of moments; Mean and Var are in major units
}

// ExposedDay is how many units of a variant and stratum were first exposed on a day.
type ExposedDay struct {
	Day, Stratum, Variant string
	Units                 int64
}

// Measurement is what was measured, in neutral form; cmd fills it from the engine's sums.
type Measurement struct {
	Source       ResultsSource
	Cells        []Cell
	ExposedBy    map[string]map[string]int64
	ExposedByDay []ExposedDay
	TwoArm       map[string]int64
	Waterfall    map[string]map[string]float64 // variant → part → money over the matured units
	RefundsOpen  bool
	Soundness    Soundness
	SQL          []string
}

// Soundness is what was counted about the data itself.
type Soundness struct {
	Stray             int64                         // units that only met variants which the experiment does not have
	Silent            map[string]int64              // matured units without any event of their own
	Early, Late       map[string]int64              // matured units with an order in the hour before the exposure, and in the hour after it
	Leaked            map[string]int64              // matured units that used another variant's coupon
	Stale             map[string]int64              // units assigned on scores of more than two days before
	Ancient           map[string]int64              // of more than thirty days before
	Estimated, Orders map[string]int64              // orders of matured units without a margin, and all
	Redeemed          map[string]map[string]float64 // variant → units, revenue, margin, discount, contact, profit of its redeemers
	Dimensions        []DimensionUnits
	Caps              [2]float64
	Overlaps          []OverlapCell
}

// DimensionUnits is how many exposed units of a variant have a value of a dimension.
type DimensionUnits struct {
	Dimension, Value, Stratum, Variant string
	Units                              int64
}

// OverlapCell is the primary metric over the units that met both this experiment and another one.
type OverlapCell struct {
	Other, OtherVariant, Variant string
	Summary                      stats.Summary
}

// Look is one recorded look: the clocks that later looks need, and the document that was true at it. It never changes.
type Look struct {
	Number      int                `json:"look"`
	At          time.Time          `json:"at"`
	Matured     int64              `json:"matured"`
	Fraction    float64            `json:"fraction"`    // α clock
	Information map[string]float64 `json:"information"` // metric/variant → variance of the sum
	MaxUnits    int64              `json:"max_units"`
	Closing     bool               `json:"closing"`
	Crossed     *Crossed           `json:"crossed,omitempty"`
	Results     *Results           `json:"results"`
}

// Question is everything besides the measurement that results depend on.
type Question struct {
	Experiment  *Experiment
	Specs       []MetricSpec                  // primary first, then secondary, guardrails, hidden ones
	Shares      map[string]map[string]float64 // stratum → variant → planned share; "" is the present one
	Looks       []Look                        // recorded so far, oldest first
	Record      bool                          // gst: compute the next look
	Now         time.Time
	MarginRate  float64
	Currency    string
	SegmentBy   string
	HistorySD   *float64 // sd of the primary metric per unit from history, when known
	HistoryMean *float64
}

// Package experiments holds the definition of an experiment, the compiled snapshot that assigns units to variants, and the analysis that
// turns summaries into effects, money and a decision. It is pure: no I/O, no clock, no driver.
package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Buckets is how many buckets a salt has; an allocation is a set of half-open ranges within [0, Buckets).
const Buckets = 100_000

// NotEnrolled is the reserved name that wires which need a variant use for a unit without one.
const NotEnrolled = "not_enrolled"

// Sentinels that callers decide on.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("key is taken")
	ErrStale    = errors.New("the revision has changed")
)

// InvalidError lists every fault of an input by field path, such as "variants[1].weight".
type InvalidError struct{ Faults []Fault }

// Fault is one wrong field.
type Fault struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Field + ": " + f.Reason
	}
	return strings.Join(parts, "; ")
}

// Invalid returns an InvalidError of one fault.
func Invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{Faults: []Fault{{field, fmt.Sprintf(format, args...)}}}
}

// Text is a text in Chinese and English. In JSON a plain string is accepted for both.
type Text struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// UnmarshalJSON accepts {"zh","en"} and a plain string.
func (t *Text) UnmarshalJSON(raw []byte) error {
	var plain string
	if err := json.Unmarshal(raw, &plain); err == nil {
		*t = Text{plain, plain}
		return nil
	}
	type both Text
	return json.Unmarshal(raw, (*both)(t))
}

// Status of an experiment.
type Status string

const (
	Draft    Status = "draft"
	Running  Status = "running"
	Stopped  Status = "stopped"
	Archived Status = "archived"
)

// Definition is what people write (CONTRACT §5).
type Definition struct {
	Key          string            `json:"key"`
	Name         Text              `json:"name"`
	Hypothesis   string            `json:"hypothesis,omitempty"`
	Salt         string            `json:"salt,omitempty"`
	Layer        *LayerShare       `json:"layer,omitempty"`
	Sticky       *bool             `json:"sticky,omitempty"`
	StickyFrom   int64             `json:"sticky_min_revision,omitempty"` // kept answers of an older allocation revision do not count any more
	Exploration  *Exploration      `json:"exploration,omitempty"`
	Control      string            `json:"control"`
	Variants     []Variant         `json:"variants"`
	Coverage     *float64          `json:"coverage,omitempty"` // nil means 1
	Allocation   []Range           `json:"allocation,omitempty"`
	Targeting    []Constraint      `json:"targeting,omitempty"`
	Forced       map[string]string `json:"forced,omitempty"`
	Prerequisite *Prerequisite     `json:"prerequisite,omitempty"`
	Metrics      Metrics           `json:"metrics"`
	Plan         Plan              `json:"plan"`
	StartAt      *time.Time        `json:"start_at,omitempty"`
	EndAt        *time.Time        `json:"end_at,omitempty"`
	Ramp         *RampPlan         `json:"ramp,omitempty"`
	KillSwitch   string            `json:"kill_switch,omitempty"` // flag of an upstream Unleash server
	Upstream     string            `json:"upstream,omitempty"`    // flag of that server which splits: its variants are these, weights say what is planned
	Simulated    bool              `json:"simulated,omitempty"`   // the behaviour of its units was made by features/synth
	Tags         []string          `json:"tags,omitempty"`
}

// LayerShare joins a layer with a share of its buckets.
type LayerShare struct {
	Key   string  `json:"key"`
	Share float64 `json:"share"`
}

// Exploration gives a slice of all units an even split over the variants, whatever their weights are, so that what is learned of them is not biased by a
// policy. The slice has a salt of its own (ExplorationSalt), the same in every experiment; the server fills the allocation in.
type Exploration struct {
	Share      float64 `json:"share"`
	Allocation []Range `json:"allocation,omitempty"`
}

// Prerequisite holds an experiment back from units that do not have one of the variants of another.
type Prerequisite struct {
	Experiment string   `json:"experiment"`
	Variants   []string `json:"variants"`
}

// Variant is one arm.
type Variant struct {
	Key      string        `json:"key"`
	Name     *Text         `json:"name,omitempty"`
	Weight   float64       `json:"weight"`
	Payload  *Payload      `json:"payload,omitempty"`
	Payloads []PayloadRule `json:"payloads,omitempty"`
	Offer    string        `json:"offer,omitempty"`
}

// Payload is what an app receives. Value is the raw JSON as it came: 2.0 stays 2.0.
type Payload struct {
	Type  string          `json:"type"` // string number boolean json
	Value json.RawMessage `json:"value"`
}

// PayloadRule replaces the payload for units that its constraints hold for.
type PayloadRule struct {
	When    []Constraint `json:"when"`
	Payload Payload      `json:"payload"`
}

// Range gives the buckets [Start, End) to a variant.
type Range struct {
	Variant string `json:"variant"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
}

// Constraint is one condition of targeting (Unleash client-specification 6.1).
type Constraint struct {
	Attribute       string   `json:"attribute"`
	Operator        string   `json:"operator"`
	Values          []string `json:"values"`
	Inverted        bool     `json:"inverted,omitempty"`
	CaseInsensitive bool     `json:"case_insensitive,omitempty"`
}

// Metrics says what should move and what must not get worse.
type Metrics struct {
	Primary    string      `json:"primary,omitempty"` // "" means profit
	Secondary  []string    `json:"secondary,omitempty"`
	Guardrails []Guardrail `json:"guardrails,omitempty"`
}

// Guardrail is a metric that must not get worse by more than a relative margin.
type Guardrail struct {
	Metric string  `json:"metric"`
	Margin float64 `json:"margin"`
	Alpha  float64 `json:"alpha,omitempty"` // 0 means 0.025
}

// Plan is how the experiment will be judged, fixed before it starts.
type Plan struct {
	Inference   string   `json:"inference,omitempty"` // fixed, gst (default), confseq
	Alpha       float64  `json:"alpha,omitempty"`     // 0 means 0.05
	Power       float64  `json:"power,omitempty"`     // 0 means 0.8
	MDE         *float64 `json:"mde,omitempty"`       // relative; nil means 0.05
	MaxUnits    *int64   `json:"max_units,omitempty"`
	Equivalence *float64 `json:"equivalence,omitempty"`
	Looks       int      `json:"looks,omitempty"`        // 0 means 14
	HorizonDays int      `json:"horizon_days,omitempty"` // 0 means 14
	// RevalidateDays is after how many days a decision is to be looked at again; 0 means 180.
	RevalidateDays int `json:"revalidate_days,omitempty"`
}

// Experiment is a stored definition with its state.
type Experiment struct {
	Definition
	Status             Status     `json:"status"`
	Revision           int64      `json:"revision"`
	AllocationRevision int64      `json:"allocation_revision"`
	CreatedAt          time.Time  `json:"created_at"`
	StartedAt          *time.Time `json:"started_at,omitempty"`
	StoppedAt          *time.Time `json:"stopped_at,omitempty"`
	Decision           *Decided   `json:"decided,omitempty"`
	Ramped             *RampState `json:"ramped,omitempty"` // where the ramp stands, from the start on
}

// Decided is what a person decided, and when.
type Decided struct {
	Variant string    `json:"variant"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	// Evidence is what was known then; RevalidateAt when the decision is to be looked at again.
	Evidence     *Evidence  `json:"evidence,omitempty"`
	RevalidateAt *time.Time `json:"revalidate_at,omitempty"`
}

// Layer owns buckets so that its experiments never share a unit.
type Layer struct {
	Key        string       `json:"key"`
	Salt       string       `json:"salt,omitempty"`
	Allocation []LayerRange `json:"allocation,omitempty"`
}

// LayerRange gives the layer's buckets [Start, End) to an experiment.
type LayerRange struct {
	Experiment string `json:"experiment"`
	Start      int    `json:"start"`
	End        int    `json:"end"`
}

// Holdout keeps units out of experiments, to measure the whole. Experiments nil means every experiment.
type Holdout struct {
	Key         string         `json:"key"`
	Salt        string         `json:"salt,omitempty"`
	Share       float64        `json:"share,omitempty"`
	Allocation  []HoldoutRange `json:"allocation,omitempty"`
	Experiments []string       `json:"experiments"`
}

// HoldoutRange is [Start, End).
type HoldoutRange struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Offer is a promotion of the catalogue. Every change makes a new version; earlier ones are kept, so that what a customer was promised can be shown.
type Offer struct {
	Key      string          `json:"key"`
	Kind     string          `json:"kind"`
	Name     *Text           `json:"name,omitempty"`
	Terms    json.RawMessage `json:"terms"`
	UnitCost *float64        `json:"unit_cost,omitempty"`
	Quota    *int64          `json:"quota,omitempty"`
	StartsAt *time.Time      `json:"starts_at,omitempty"`
	EndsAt   *time.Time      `json:"ends_at,omitempty"`
	Rules    Text            `json:"rules"`
	// Eligibility is who may have the offer; it joins the targeting of every experiment that gives it.
	Eligibility []Constraint `json:"eligibility,omitempty"`
	Revision    int64        `json:"revision,omitempty"`   // of the offer, from 1; set by the store
	RulesHash   string       `json:"rules_hash,omitempty"` // SHA-256 of the rules; set by the store
}

// MetricDef is a metric of the library. Another definition under the same key is another revision; earlier ones are kept.
type MetricDef struct {
	Key        string          `json:"key"`
	Name       *Text           `json:"name,omitempty"`
	Kind       string          `json:"kind"` // mean proportion ratio quantile retention funnel
	Event      string          `json:"event,omitempty"`
	Field      string          `json:"field,omitempty"`
	Filter     json.RawMessage `json:"filter,omitempty"`
	WindowDays int             `json:"window_days,omitempty"`
	Cap        json.RawMessage `json:"cap,omitempty"`
	Direction  string          `json:"direction,omitempty"` // up (default), down
	// Margin is how much worse, relative, the metric may get where an experiment guards it without saying so.
	Margin      *float64 `json:"margin,omitempty"`
	Unit        string   `json:"unit,omitempty"`        // what a value belongs to: user, the unit of randomisation (default and only one)
	Quantile    *float64 `json:"quantile,omitempty"`    // quantile: which, 0.5 by default
	Denominator string   `json:"denominator,omitempty"` // ratio: key of the metric below the line; by default the count of the events above it
	MinEvents   int      `json:"min_events,omitempty"`  // proportion: at least so many events, 1 by default
	Revision    int64    `json:"revision,omitempty"`
}

package experiments

import "time"

// Reasons of an assignment (CONTRACT §5).
const (
	ReasonForced         = "forced"
	ReasonStopped        = "stopped"
	ReasonNotStarted     = "not_started"
	ReasonOptedOut       = "opted_out"
	ReasonHoldout        = "holdout"
	ReasonLayer          = "layer"
	ReasonTargeting      = "targeting"
	ReasonNotEnrolled    = "not_enrolled"
	ReasonSplit          = "split"
	ReasonSticky         = "sticky"
	ReasonOfferExhausted = "offer_exhausted"
	ReasonUnknown        = "unknown_experiment"
	ReasonUpstreamOff    = "upstream_off"
)

// Value is an attribute's value: a text, a number or a boolean. Kind 0 is missing.
type Value struct {
	Kind ValueKind
	Text string
	Num  float64 // 1 or 0 for a boolean
}

// ValueKind tells the field of Value that holds.
type ValueKind uint8

const (
	Missing ValueKind = iota
	Text_
	Number
	Boolean
)

// Attributes looks up what is known of a unit. Implementations must not allocate.
type Attributes interface {
	Attribute(name string) Value
}

// Unit is one question. Server attributes (scores, stage, features, today's counts) win over Sent ones of the same name.
type Unit struct {
	ID       string
	Server   Attributes // nil: nothing known
	Sent     Attributes // nil: nothing sent
	OptedOut bool
	Now      time.Time
	Sticky   func(experiment string) (StickyAnswer, bool) // nil: none kept
	Upstream func(flag string) bool                       // nil: every kill switch is on
}

// StickyAnswer is a kept first answer.
type StickyAnswer struct {
	Variant            string
	AllocationRevision int64
	PAssign            float64
	ScoreVersion       string
}

// Assignment is the answer for one unit and one experiment. Variant is "" when not enrolled; Payload is then the control's.
type Assignment struct {
	Experiment         string
	Variant            string
	Payload            *Payload
	Enrolled           bool
	Reason             string
	PAssign            float64 // 0 when not enrolled
	AllocationRevision int64
	Bucket             int // -1 when not computed
	Offer              *Offer
	Keep               bool // the caller keeps this first answer (sticky)
	NeedsServer        bool // scores, stage, features, payload rules or sticky took part
}

// Snapshot is every definition, compiled and immutable: share it behind an atomic pointer.
type Snapshot struct{ version int64 }

// Source is what Compile needs.
type Source struct {
	Version     int64
	Experiments []Experiment
	Layers      []Layer
	Holdouts    []Holdout
	Offers      []Offer
}

// Compile checks and compiles definitions. Definitions that the store accepted always compile.
func Compile(s Source) (*Snapshot, error) { panic("experiments: Compile") }

// Version returns the version of the definitions.
func (s *Snapshot) Version() int64 { return s.version }

// Keys returns the keys of all experiments in a stable order.
func (s *Snapshot) Keys() []string { panic("experiments: Keys") }

// Experiment returns a stored experiment.
func (s *Snapshot) Experiment(key string) (*Experiment, bool) { panic("experiments: Experiment") }

// Assign answers for one unit and one experiment. It does no I/O and does not allocate.
func (s *Snapshot) Assign(u *Unit, key string) Assignment { panic("experiments: Assign") }

// Validate returns every fault of a definition; offers, layers and existing experiments are checked by the store.
func (d *Definition) Validate() error { panic("experiments: Validate") }

// Bucket returns murmur3_x86_32(salt + ":" + unit, seed 86028157) mod 100000.
func Bucket(salt, unit string) int { panic("experiments: Bucket") }

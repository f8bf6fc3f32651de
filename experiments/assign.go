package experiments

import (
	"strconv"
	"time"
)

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

// String is the value as text: a number in its shortest decimal, "" when it is missing.
func (v Value) String() string {
	switch v.Kind {
	case Number:
		return strconv.FormatFloat(v.Num, 'f', -1, 64)
	case Boolean:
		return boolText(v)
	}
	return v.Text
}

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
	OfferOut func(offer string) bool                      // tells that an offer's quota is used up; nil: none is
	Split    func(flag string) (variant string, on bool)  // what the upstream server gives the unit; nil: its flags are off
	// First names the id of the same person that met an experiment first: its buckets decide, so that who signs in keeps the variant that she was shown
	// before. nil: the unit has one id.
	First func(experiment string) string
}

// first is the id whose buckets decide.
func (u *Unit) first(experiment string) string {
	if u.First == nil {
		return u.ID
	}
	return u.First(experiment)
}

// StickyAnswer is a kept first answer.
type StickyAnswer struct {
	Variant            string
	AllocationRevision int64
	PAssign            float64
	ScoreVersion       string
}

// Assignment is the answer for one unit and one experiment. Variant is "" when not enrolled; Payload is then the control's. Payload and Offer point
// into the snapshot: they must not be modified.
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
	Explored           bool   // the unit is in the exploration slice: an even split, not the weights, chose the variant
	Keep               bool   // the caller keeps this first answer (sticky)
	KeepFrom           int64  // and replaces one of an older allocation revision than this
	NeedsServer        bool   // scores, stage, features, payload rules or sticky may take part: an SDK cannot answer locally
	ScoreVersion       string // of a kept first answer; "" otherwise
}

// Policy says what chose the variant, as an exposure tells it: the reason, or "exploration".
func (a *Assignment) Policy() string {
	if a.Explored {
		return "exploration"
	}
	return a.Reason
}

// Assign answers for one unit and one experiment, in the order of DESIGN §5: forced, status and schedule, kill switch, opt-out, holdouts, layer,
// prerequisite, sticky, targeting, offers, exploration, bucket. It does no I/O, and allocates only where a constraint folds the case of a value that is not in lower
// case or matches a pattern. A unit with an empty id is never enrolled.
func (s *Snapshot) Assign(u *Unit, key string) (a Assignment) {
	e, ok := s.byKey[key]
	if !ok {
		a.Experiment, a.Reason, a.Bucket = key, ReasonUnknown, -1
		return a
	}
	e.assign(u, &a)
	return a
}

// assign fills an empty answer.
func (e *compiled) assign(u *Unit, a *Assignment) {
	a.Experiment, a.AllocationRevision, a.NeedsServer, a.Bucket = e.key, e.allocationRevision, e.needsServer, -1
	if len(e.forced) > 0 {
		if arm, ok := e.forced[u.ID]; ok {
			e.enrol(u, a, arm, ReasonForced)
			a.PAssign = 1
			return
		}
	}
	id := u.first(e.key)
	if reason := e.closed(u, id); reason != "" {
		e.leaveOut(u, a, reason)
		return
	}
	if e.sticky && u.Sticky != nil {
		if kept, ok := u.Sticky(e.key); ok && kept.AllocationRevision >= e.stickyFrom {
			if arm, ok := e.armOf(kept.Variant); ok {
				e.enrol(u, a, arm, ReasonSticky)
				a.AllocationRevision, a.PAssign, a.ScoreVersion = kept.AllocationRevision, kept.PAssign, kept.ScoreVersion
				return
			}
		}
	}
	if !e.targeting.Hold(u) {
		e.leaveOut(u, a, ReasonTargeting)
		return
	}
	if u.ID == "" {
		e.leaveOut(u, a, ReasonNotEnrolled)
		return
	}
	arm, explored := -1, false
	switch {
	case e.upstream != "":
		name, on := "", false
		if u.Split != nil {
			name, on = u.Split(e.upstream)
		}
		if !on {
			e.leaveOut(u, a, ReasonUpstreamOff)
			return
		}
		if i, ok := e.armOf(name); ok {
			arm = i
		}
	default:
		a.Bucket = e.hash.bucket(id)
		if explored = e.explore != nil && explorationHash.bucket(id) < e.explore.buckets; explored {
			arm = armAt(e.explore.ranges, a.Bucket)
		} else {
			arm = armAt(e.ranges, a.Bucket)
		}
	}
	switch {
	case arm < 0:
		e.leaveOut(u, a, ReasonNotEnrolled)
	case len(e.offers) > 0 && e.exhausted(u):
		e.leaveOut(u, a, ReasonOfferExhausted)
	default:
		e.enrol(u, a, arm, ReasonSplit)
		a.Keep, a.KeepFrom = e.sticky, e.stickyFrom
		if explored {
			a.Explored, a.PAssign = true, e.explore.shares[arm]
		}
	}
}

var explorationHash = newPrefix(ExplorationSalt)

// closed says why a unit cannot enter, whatever it is like; "" when it can. id is the one whose buckets decide.
func (e *compiled) closed(u *Unit, id string) string {
	switch {
	case e.status == Draft:
		return ReasonNotStarted
	case e.status != Running:
		return ReasonStopped
	case !e.startAt.IsZero() && u.Now.Before(e.startAt):
		return ReasonNotStarted
	case !e.endAt.IsZero() && !u.Now.Before(e.endAt):
		return ReasonStopped
	case e.killSwitch != "" && u.Upstream != nil && !u.Upstream(e.killSwitch):
		return ReasonUpstreamOff
	case u.OptedOut:
		return ReasonOptedOut
	}
	for _, h := range e.holdouts {
		if h.holds(id) {
			return ReasonHoldout
		}
	}
	if e.layer != nil && !e.inLayer(id) {
		return ReasonLayer
	}
	if p := e.parent; p != nil {
		var a Assignment
		p.assign(u, &a)
		if !a.Enrolled || !e.parentVariants[a.Variant] {
			return ReasonTargeting
		}
	}
	return ""
}

// exhausted tells that an offer of any arm is not open, or used up. Then nobody new enters any arm: were only that arm closed, the others would go on
// filling and the split would no longer be the planned one.
func (e *compiled) exhausted(u *Unit) bool {
	for i := range e.offers {
		o := e.offers[i]
		if o.StartsAt != nil && u.Now.Before(*o.StartsAt) || o.EndsAt != nil && !u.Now.Before(*o.EndsAt) {
			return true
		}
		if u.OfferOut != nil && u.OfferOut(o.Key) {
			return true
		}
	}
	return false
}

func (e *compiled) enrol(u *Unit, a *Assignment, arm int, reason string) {
	v := &e.arms[arm]
	a.Variant, a.Payload, a.Enrolled, a.Reason, a.PAssign, a.Offer = v.key, v.payloadFor(u), true, reason, v.share, v.offer
}

func (e *compiled) leaveOut(u *Unit, a *Assignment, reason string) {
	a.Payload, a.Reason = e.arms[e.control].payloadFor(u), reason
}

// payloadFor is the payload of the first rule that holds, else the arm's own.
func (v *arm) payloadFor(u *Unit) *Payload {
	for i := range v.rules {
		if v.rules[i].when.Hold(u) {
			return v.rules[i].payload
		}
	}
	return v.payload
}

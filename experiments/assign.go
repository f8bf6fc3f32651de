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
	OfferOut func(offer string) bool                      // tells that an offer's quota is used up; nil: none is
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
	Keep               bool   // the caller keeps this first answer (sticky)
	NeedsServer        bool   // scores, stage, features, payload rules or sticky may take part: an SDK cannot answer locally
	ScoreVersion       string // of a kept first answer; "" otherwise
}

// Assign answers for one unit and one experiment, in the order of DESIGN §5: forced, status and schedule, kill switch, opt-out, holdouts, layer,
// prerequisite, sticky, targeting, offers, bucket. It does no I/O, and allocates only where a constraint folds the case of a value that is not in lower
// case or matches a pattern. A unit with an empty id is never enrolled.
func (s *Snapshot) Assign(u *Unit, key string) Assignment {
	e, ok := s.byKey[key]
	if !ok {
		return Assignment{Experiment: key, Reason: ReasonUnknown, Bucket: -1}
	}
	return e.assign(u)
}

func (e *compiled) assign(u *Unit) Assignment {
	if len(e.forced) > 0 {
		if arm, ok := e.forced[u.ID]; ok {
			a := e.enrolled(u, arm, ReasonForced)
			a.PAssign = 1
			return a
		}
	}
	if reason := e.closed(u); reason != "" {
		return e.out(u, reason)
	}
	if e.sticky && u.Sticky != nil {
		if kept, ok := u.Sticky(e.key); ok {
			if arm, ok := e.armOf(kept.Variant); ok {
				a := e.enrolled(u, arm, ReasonSticky)
				a.AllocationRevision, a.PAssign, a.ScoreVersion = kept.AllocationRevision, kept.PAssign, kept.ScoreVersion
				return a
			}
		}
	}
	if !e.targeting.Hold(u) {
		return e.out(u, ReasonTargeting)
	}
	if u.ID == "" {
		return e.out(u, ReasonNotEnrolled)
	}
	bucket := e.hash.bucket(u.ID)
	arm := e.armAt(bucket)
	if arm < 0 {
		a := e.out(u, ReasonNotEnrolled)
		a.Bucket = bucket
		return a
	}
	if e.exhausted(u) {
		return e.out(u, ReasonOfferExhausted)
	}
	a := e.enrolled(u, arm, ReasonSplit)
	a.Bucket, a.Keep = bucket, e.sticky
	return a
}

// closed says why a unit cannot enter, whatever it is like; "" when it can.
func (e *compiled) closed(u *Unit) string {
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
		if h.holds(u.ID) {
			return ReasonHoldout
		}
	}
	if e.layer != nil && !e.inLayer(u.ID) {
		return ReasonLayer
	}
	if p := e.parent; p != nil {
		a := p.assign(u)
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

func (e *compiled) enrolled(u *Unit, arm int, reason string) Assignment {
	v := &e.arms[arm]
	return Assignment{Experiment: e.key, Variant: v.key, Payload: v.payloadFor(u), Enrolled: true, Reason: reason, PAssign: v.share,
		AllocationRevision: e.allocationRevision, Bucket: -1, Offer: v.offer, NeedsServer: e.needsServer}
}

func (e *compiled) out(u *Unit, reason string) Assignment {
	return Assignment{Experiment: e.key, Payload: e.arms[e.control].payloadFor(u), Reason: reason,
		AllocationRevision: e.allocationRevision, Bucket: -1, NeedsServer: e.needsServer}
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

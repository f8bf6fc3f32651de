package experiments

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Snapshot is every definition, compiled and immutable: share it behind an atomic pointer.
type Snapshot struct {
	version    int64
	keys       []string
	byKey      map[string]*compiled
	layers     map[string]*Layer
	holdouts   []Holdout
	attributes []string
}

// Source is what Compile needs. Experiments and offers become part of the snapshot and must not be modified afterwards.
type Source struct {
	Version     int64
	Experiments []*Experiment
	Layers      []Layer
	Holdouts    []Holdout
	Offers      []*Offer
	// ServerAttributes are names that only the server may give, beside those that IsServerAttribute knows: the columns of the newest
	// feature snapshot.
	ServerAttributes []string
}

// compiled is an experiment ready to answer.
type compiled struct {
	source             *Experiment // as it stands in Source
	experiment         *Experiment // with the eligibility of its offers
	key                string
	status             Status
	startAt, endAt     time.Time
	killSwitch         string
	upstream           string
	forced             map[string]int
	holdouts           []*gate
	layer              *gate // the buckets of its layer that it owns; nil without a layer
	parent             *compiled
	parentVariants     map[string]bool
	sticky             bool
	stickyFrom         int64
	asksServer         bool // by itself
	needsServer        bool // or by a prerequisite
	targeting          Matcher
	hash               prefix
	ranges             []armRange // by start
	explore            *exploring // nil without an exploration slice
	arms               []arm
	control            int
	offers             []*Offer
	allocationRevision int64
}

type arm struct {
	key     string
	payload *Payload
	rules   []payloadRule
	offer   *Offer
	share   float64 // of the enrolled
}

// exploring is the even split of the exploration slice.
type exploring struct {
	buckets int // of ExplorationSalt: the lowest
	ranges  []armRange
	shares  []float64 // p_assign by arm
}

type payloadRule struct {
	when    Matcher
	payload *Payload
}

type armRange struct{ start, end, arm int }

// gate is a set of buckets under its own salt: a holdout, or an experiment's part of a layer.
type gate struct {
	key    string
	hash   prefix
	ranges []HoldoutRange // by start
}

func (g *gate) holds(unit string) bool {
	bucket := g.hash.bucket(unit)
	for i := range g.ranges {
		if bucket < g.ranges[i].Start {
			return false
		}
		if bucket < g.ranges[i].End {
			return true
		}
	}
	return false
}

func (e *compiled) inLayer(unit string) bool { return e.layer.holds(unit) }

// armAt returns the arm that owns a bucket, or -1.
func armAt(ranges []armRange, bucket int) int {
	low, high := 0, len(ranges)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if ranges[mid].end <= bucket {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(ranges) && ranges[low].start <= bucket {
		return ranges[low].arm
	}
	return -1
}

func (e *compiled) armOf(variant string) (int, bool) {
	for i := range e.arms {
		if e.arms[i].key == variant {
			return i, true
		}
	}
	return 0, false
}

// Compile checks and compiles definitions. Definitions that the store accepted always compile.
func Compile(source Source) (*Snapshot, error) { return Recompile(nil, source) }

// Recompile is Compile that takes from an earlier snapshot what has not changed: experiments that are the same object, with offers that are. A server that
// answers while it takes in one change of five hundred experiments then compiles one. before may be nil.
func Recompile(before *Snapshot, source Source) (*Snapshot, error) {
	s := &Snapshot{version: source.Version, byKey: make(map[string]*compiled, len(source.Experiments)),
		layers: make(map[string]*Layer, len(source.Layers)), holdouts: slices.Clone(source.Holdouts), attributes: source.ServerAttributes}
	if before != nil && !slices.Equal(before.attributes, s.attributes) {
		before = nil
	}
	server := serverAttributes(source.ServerAttributes)
	offers := make(map[string]*Offer, len(source.Offers))
	for _, o := range source.Offers {
		offers[o.Key] = o
	}
	for i := range source.Layers {
		s.layers[source.Layers[i].Key] = &source.Layers[i]
	}
	slices.SortFunc(s.holdouts, func(a, b Holdout) int { return strings.Compare(a.Key, b.Key) })
	layerOf := make(map[string]*gate)
	for _, l := range source.Layers {
		for _, r := range l.Allocation {
			g := layerOf[r.Experiment]
			if g == nil {
				g = &gate{key: l.Key, hash: newPrefix(l.Salt)}
				layerOf[r.Experiment] = g
			}
			g.ranges = append(g.ranges, HoldoutRange{r.Start, r.End})
		}
	}
	for _, e := range source.Experiments {
		if _, twice := s.byKey[e.Key]; twice {
			return nil, fmt.Errorf("compile: experiment %s stands twice", e.Key)
		}
		c := before.unchanged(e, offers)
		if c == nil {
			var err error
			if c, err = compileExperiment(withEligibility(e, offers), offers, server); err != nil {
				return nil, fmt.Errorf("compile: experiment %s: %w", e.Key, err)
			}
			c.source = e
			runtime.Gosched() // requests come first
		}
		if c.layer = layerOf[e.Key]; c.layer != nil {
			slices.SortFunc(c.layer.ranges, func(a, b HoldoutRange) int { return a.Start - b.Start })
		} else if e.Layer != nil {
			c.layer = &gate{key: e.Layer.Key} // no buckets: it holds nobody
		}
		s.byKey[e.Key] = c
		s.keys = append(s.keys, e.Key)
	}
	slices.Sort(s.keys)
	for _, h := range s.holdouts {
		g := &gate{key: h.Key, hash: newPrefix(h.Salt), ranges: slices.Clone(h.Allocation)}
		slices.SortFunc(g.ranges, func(a, b HoldoutRange) int { return a.Start - b.Start })
		for _, c := range s.byKey {
			if h.Experiments == nil || slices.Contains(h.Experiments, c.key) {
				c.holdouts = append(c.holdouts, g)
			}
		}
	}
	return s, s.link()
}

// unchanged returns a copy of the compiled experiment without what it has from others, or nil when it has to be compiled.
func (s *Snapshot) unchanged(e *Experiment, offers map[string]*Offer) *compiled {
	if s == nil || s.byKey[e.Key] == nil || s.byKey[e.Key].source != e {
		return nil
	}
	c := *s.byKey[e.Key]
	for _, o := range c.offers {
		if offers[o.Key] != o {
			return nil
		}
	}
	c.layer, c.holdouts, c.parent, c.parentVariants, c.needsServer = nil, nil, nil, nil, c.asksServer
	return &c
}

// link resolves prerequisites: it refuses circles, and what a parent needs its children need too.
func (s *Snapshot) link() error {
	for _, key := range s.keys {
		c := s.byKey[key]
		p := c.experiment.Prerequisite
		if p == nil {
			continue
		}
		if c.parent = s.byKey[p.Experiment]; c.parent == nil {
			return fmt.Errorf("compile: experiment %s: prerequisite %s does not exist", key, p.Experiment)
		}
		c.parentVariants = make(map[string]bool, len(p.Variants))
		for _, v := range p.Variants {
			c.parentVariants[v] = true
		}
	}
	for _, key := range s.keys {
		c := s.byKey[key]
		steps := 0
		for p := c.parent; p != nil; p = p.parent {
			if steps++; steps > len(s.keys) {
				return fmt.Errorf("compile: experiment %s: its prerequisites form a circle", key)
			}
			c.needsServer = c.needsServer || p.needsServer
		}
	}
	return nil
}

func compileExperiment(e *Experiment, offers map[string]*Offer, server func(string) bool) (*compiled, error) {
	if err := e.Definition.Validate(); err != nil {
		return nil, err
	}
	c := &compiled{experiment: e, key: e.Key, status: e.Status, killSwitch: e.KillSwitch, upstream: e.Upstream, stickyFrom: e.StickyFrom, hash: newPrefix(e.Salt),
		control: e.variant(e.Control), allocationRevision: e.AllocationRevision, targeting: NewMatcher(e.Targeting, server)}
	if e.StartAt != nil {
		c.startAt = *e.StartAt
	}
	if e.EndAt != nil {
		c.endAt = *e.EndAt
	}
	rules, scored, quota := false, c.targeting.needsServer(), false
	have := widths(e.Allocation, e.Variants)
	total := Covered(e.Allocation)
	for i := range e.Variants {
		v := &e.Variants[i]
		a := arm{key: v.Key, payload: v.Payload}
		if total > 0 {
			a.share = float64(have[i]) / float64(total)
		}
		if v.Offer != "" {
			if a.offer = offers[v.Offer]; a.offer == nil {
				return nil, Invalid(fmt.Sprintf("variants[%d].offer", i), "%q does not exist", v.Offer)
			}
			quota = quota || a.offer.Quota != nil
			c.offers = append(c.offers, a.offer)
		}
		for j := range v.Payloads {
			when := NewMatcher(v.Payloads[j].When, server)
			rules, scored = true, scored || when.needsServer()
			a.rules = append(a.rules, payloadRule{when, &v.Payloads[j].Payload})
		}
		c.arms = append(c.arms, a)
	}
	c.ranges = compileRanges(e, e.Allocation)
	if x := e.Exploration; x != nil && x.Share > 0 {
		c.explore = &exploring{buckets: share(Buckets, x.Share), ranges: compileRanges(e, x.Allocation), shares: make([]float64, len(e.Variants))}
		for i, width := range widths(x.Allocation, e.Variants) {
			if width > 0 {
				c.explore.shares[i] = float64(width) / float64(Covered(x.Allocation))
			}
		}
	}
	if len(e.Forced) > 0 {
		c.forced = make(map[string]int, len(e.Forced))
		for unit, v := range e.Forced {
			c.forced[unit] = e.variant(v)
		}
	}
	c.sticky = scored
	if e.Sticky != nil {
		c.sticky = *e.Sticky
	}
	c.asksServer = scored || c.sticky || rules || quota || c.killSwitch != "" || c.upstream != "" || c.explore != nil
	c.needsServer = c.asksServer
	return c, nil
}

func compileRanges(e *Experiment, allocation []Range) []armRange {
	ranges := make([]armRange, 0, len(allocation))
	for _, r := range allocation {
		ranges = append(ranges, armRange{r.Start, r.End, e.variant(r.Variant)})
	}
	slices.SortFunc(ranges, func(a, b armRange) int { return a.start - b.start })
	return ranges
}

// Version returns the version of the definitions.
func (s *Snapshot) Version() int64 { return s.version }

// Keys returns the keys of all experiments in byte order; the slice must not be modified.
func (s *Snapshot) Keys() []string { return s.keys }

// Experiment returns a stored experiment; it must not be modified.
func (s *Snapshot) Experiment(key string) (*Experiment, bool) {
	c, ok := s.byKey[key]
	if !ok {
		return nil, false
	}
	return c.experiment, true
}

// NeedsServer tells whether an experiment's answers depend on what only the server knows: scores, stage, features, kept answers, payload rules,
// quotas, kill switches, an upstream's split, or on an exploration slice, which Unleash's documents cannot say; or a prerequisite that does. Its definition is then not sent to SDKs that evaluate locally.
func (s *Snapshot) NeedsServer(key string) bool {
	c, ok := s.byKey[key]
	return ok && c.needsServer
}

// Sticky tells whether an experiment keeps first answers.
func (s *Snapshot) Sticky(key string) bool {
	c, ok := s.byKey[key]
	return ok && c.sticky
}

// Offers returns the offers of an experiment's variants, in declared order; they must not be modified.
func (s *Snapshot) Offers(key string) []*Offer {
	if c, ok := s.byKey[key]; ok {
		return c.offers
	}
	return nil
}

// LayerOf returns the layer of an experiment and the buckets that it owns there; ok is false without a layer.
func (s *Snapshot) LayerOf(key string) (layer Layer, owned []HoldoutRange, ok bool) {
	c, found := s.byKey[key]
	if !found || c.layer == nil {
		return Layer{}, nil, false
	}
	if l := s.layers[c.layer.key]; l != nil {
		layer = *l
	}
	return layer, c.layer.ranges, true
}

// HoldoutsOf returns the holdouts that an experiment obeys, in byte order of their keys.
func (s *Snapshot) HoldoutsOf(key string) []Holdout {
	var out []Holdout
	for _, h := range s.holdouts {
		if h.Experiments == nil || slices.Contains(h.Experiments, key) {
			out = append(out, h)
		}
	}
	return out
}

// Holdouts returns every holdout, and HeldOut whether a unit is in one.
func (s *Snapshot) Holdouts() []Holdout { return s.holdouts }

// HeldOut tells whether a unit is in a holdout.
func HeldOut(h *Holdout, unit string) bool {
	bucket := Bucket(h.Salt, unit)
	return slices.ContainsFunc(h.Allocation, func(r HoldoutRange) bool { return r.Start <= bucket && bucket < r.End })
}

// Explores tells whether a unit is in the exploration slice of an experiment.
func Explores(e *Experiment, unit string) bool {
	return e.Exploration != nil && Bucket(ExplorationSalt, unit) < share(Buckets, e.Exploration.Share)
}

// scoreNames are the columns of a scores run and of the profile; windowed are the families of features over a window, "orders_30d" or "revenue_all".
var (
	scoreNames = regexp.MustCompile(`^(stage|churn_risk|churn_decile|ltv|ltv_low|ltv_high|ltv_decile|score_version|aov_all|max_order_all|recency_days|tenure_days|` +
		`frequency|recency|T|monetary|ipt_mean|recency_ratio|trend_90|active_days_30|inactive_days|days_since_last_order)$`)
	windowed = regexp.MustCompile(`^(orders|revenue|refunds|refund_share|discount_share|sessions|margin|aov|max_order|active_days|events|cart|views)_(all|today|[0-9]+d)$`)
)

// IsServerAttribute tells whether an attribute is one that nobody has to send: scores, stage, features of the default catalog and today's counts.
func IsServerAttribute(name string) bool {
	return scoreNames.MatchString(name) || windowed.MatchString(name)
}

func serverAttributes(more []string) func(string) bool {
	set := make(map[string]bool, len(more))
	for _, name := range more {
		set[name] = true
	}
	delete(set, "user_id")
	return func(name string) bool { return set[name] || IsServerAttribute(name) }
}

// UsesScores tells whether targeting or payloads of a definition ask for what only the server knows: scores, stage, features.
func (d *Definition) UsesScores() bool {
	asks := func(list []Constraint) bool {
		return slices.ContainsFunc(list, func(c Constraint) bool { return IsServerAttribute(c.Attribute) })
	}
	if asks(d.Targeting) {
		return true
	}
	for _, v := range d.Variants {
		for _, rule := range v.Payloads {
			if asks(rule.When) {
				return true
			}
		}
	}
	return false
}

// withEligibility returns the experiment with the conditions of its offers among its own. They hold for all variants alike: if only those who may have an
// offer met it, the arms would differ before the offer did anything.
func withEligibility(e *Experiment, offers map[string]*Offer) *Experiment {
	var more []Constraint
	for _, v := range e.Variants {
		if o := offers[v.Offer]; o != nil {
			more = append(more, o.Eligibility...)
		}
	}
	if len(more) == 0 {
		return e
	}
	copied := *e
	copied.Targeting = append(slices.Clone(e.Targeting), more...)
	return &copied
}

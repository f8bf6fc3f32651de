// Package flags evaluates Unleash feature documents: the answer of /api/client/features, of our server or of any other. It passes all of Unleash's
// client-specification 6.1 and does no I/O.
package flags

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"perennial/experiments"
)

// Document is a parsed answer. It is immutable once it is in use; Apply is for its builder.
type Document struct {
	features map[string]*feature
	segments map[int]experiments.Matcher
}

type wireDocument struct {
	Features []wireFeature `json:"features"`
	Segments []wireSegment `json:"segments"`
	Events   []Event       `json:"events"`
}

type wireFeature struct {
	Name         string         `json:"name"`
	Enabled      bool           `json:"enabled"`
	Impressions  bool           `json:"impressionData"`
	Strategies   []wireStrategy `json:"strategies"`
	Variants     []Variant      `json:"variants"`
	Dependencies []struct {
		Feature  string   `json:"feature"`
		Enabled  *bool    `json:"enabled"`
		Variants []string `json:"variants"`
	} `json:"dependencies"`
}

type wireStrategy struct {
	Name        string           `json:"name"`
	Parameters  map[string]any   `json:"parameters"`
	Constraints []wireConstraint `json:"constraints"`
	Segments    []int            `json:"segments"`
	Variants    []Variant        `json:"variants"`
}

type wireConstraint struct {
	ContextName     string   `json:"contextName"`
	Operator        string   `json:"operator"`
	Value           any      `json:"value"`
	Values          []string `json:"values"`
	Inverted        bool     `json:"inverted"`
	CaseInsensitive bool     `json:"caseInsensitive"`
}

type wireSegment struct {
	ID          int              `json:"id"`
	Constraints []wireConstraint `json:"constraints"`
}

// Variant is one arm of a flag.
type Variant struct {
	Name       string   `json:"name"`
	Weight     int      `json:"weight"`
	Stickiness string   `json:"stickiness"`
	Payload    *Payload `json:"payload"`
	Overrides  []struct {
		ContextName string   `json:"contextName"`
		Values      []string `json:"values"`
	} `json:"overrides"`
}

// Payload is text of a type.
type Payload struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Event is one step of Unleash's delta format.
type Event struct {
	Type        string        `json:"type"`
	EventID     int64         `json:"eventId"`
	Features    []wireFeature `json:"features"` // hydration
	Segments    []wireSegment `json:"segments"`
	Feature     *wireFeature  `json:"feature"`
	FeatureName string        `json:"featureName"`
	Segment     *wireSegment  `json:"segment"`
	SegmentID   int           `json:"segmentId"`
}

type feature struct {
	name       string
	enabled    bool
	reports    bool // impression data is wanted
	parents    []parent
	strategies []strategy
	variants   []Variant
}

type parent struct {
	feature  string
	enabled  bool
	variants []string
}

type strategy struct {
	holds    func(d *Document, c *Context) bool // the strategy itself, without constraints
	matcher  experiments.Matcher
	segments []int
	group    string
	sticky   string
	variants []Variant
}

// Parse reads a document of features, or of delta events.
func Parse(raw []byte) (*Document, error) {
	var w wireDocument
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("unleash features: %w", err)
	}
	d := &Document{map[string]*feature{}, map[int]experiments.Matcher{}}
	d.hydrate(w.Features, w.Segments)
	for _, e := range w.Events {
		d.Apply(e)
	}
	return d, nil
}

func (d *Document) hydrate(features []wireFeature, segments []wireSegment) {
	for _, s := range segments {
		d.segments[s.ID] = matcher(s.Constraints)
	}
	for i := range features {
		d.features[features[i].Name] = compileFeature(&features[i])
	}
}

// Apply applies one delta event; an unknown type changes nothing.
func (d *Document) Apply(e Event) {
	switch e.Type {
	case "hydration":
		clear(d.features)
		clear(d.segments)
		d.hydrate(e.Features, e.Segments)
	case "feature-updated":
		if e.Feature != nil {
			d.features[e.Feature.Name] = compileFeature(e.Feature)
		}
	case "feature-removed":
		delete(d.features, e.FeatureName)
	case "segment-updated":
		if e.Segment != nil {
			d.segments[e.Segment.ID] = matcher(e.Segment.Constraints)
		}
	case "segment-removed":
		delete(d.segments, e.SegmentID)
	}
}

// Names returns the names of all flags, in no order.
func (d *Document) Names() []string {
	names := make([]string, 0, len(d.features))
	for name := range d.features {
		names = append(names, name)
	}
	return names
}

// ImpressionData tells whether a flag wants its evaluations reported.
func (d *Document) ImpressionData(name string) bool {
	f, ok := d.features[name]
	return ok && f.reports
}

// Has tells whether there is a flag of this name.
func (d *Document) Has(name string) bool { _, ok := d.features[name]; return ok }

func matcher(list []wireConstraint) experiments.Matcher {
	constraints := make([]experiments.Constraint, len(list))
	for i, c := range list {
		values := c.Values
		if strings.HasPrefix(c.Operator, "NUM_") || strings.HasPrefix(c.Operator, "DATE_") || strings.HasPrefix(c.Operator, "SEMVER_") || c.Operator == "REGEX" {
			values = []string{text(c.Value)}
		}
		if len(values) == 0 { // nothing is in an empty list
			values, c.Operator = []string{""}, map[bool]string{true: c.Operator, false: "IN"}[c.Operator == "NOT_IN"]
		}
		constraints[i] = experiments.Constraint{Attribute: c.ContextName, Operator: c.Operator, Values: values, Inverted: c.Inverted, CaseInsensitive: c.CaseInsensitive}
	}
	return experiments.NewMatcher(constraints, nil)
}

// text reads a JSON scalar as the text that SDKs compare.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func compileFeature(w *wireFeature) *feature {
	f := &feature{name: w.Name, enabled: w.Enabled, reports: w.Impressions, variants: w.Variants}
	for _, p := range w.Dependencies {
		f.parents = append(f.parents, parent{p.Feature, p.Enabled == nil || *p.Enabled, p.Variants})
	}
	for _, s := range w.Strategies {
		c := strategy{matcher: matcher(s.Constraints), segments: s.Segments, group: text(s.Parameters["groupId"]), sticky: text(s.Parameters["stickiness"]), variants: s.Variants}
		c.holds = compileStrategy(s.Name, s.Parameters)
		f.strategies = append(f.strategies, c)
	}
	return f
}

// compileStrategy returns one of Unleash's built-in strategies; an unknown one never holds.
func compileStrategy(name string, parameters map[string]any) func(*Document, *Context) bool {
	get := func(key string) string { return text(parameters[key]) }
	gradual := func(id func(c *Context) string) func(*Document, *Context) bool {
		group, percent := get("groupId"), number(get("percentage"))
		return func(_ *Document, c *Context) bool { return rolledOut(group, id(c), percent) }
	}
	switch name {
	case "default":
		return func(*Document, *Context) bool { return true }
	case "userWithId":
		users := list(get("userIds"))
		return func(_ *Document, c *Context) bool { return c.UserID != "" && users[c.UserID] }
	case "gradualRolloutUserId":
		return gradual(func(c *Context) string { return c.UserID })
	case "gradualRolloutSessionId":
		return gradual(func(c *Context) string { return c.SessionID })
	case "gradualRolloutRandom":
		percent := number(get("percentage"))
		return func(*Document, *Context) bool { return float64(rand.IntN(100)+1) <= percent }
	case "remoteAddress":
		return remoteAddress(get("IPs"))
	case "flexibleRollout":
		group, sticky, percent := get("groupId"), get("stickiness"), number(get("rollout"))
		return func(_ *Document, c *Context) bool { return rolledOut(group, c.sticky(sticky), percent) }
	}
	return func(*Document, *Context) bool { return false }
}

// rolledOut is Unleash's rollout: murmur3 (seed 0) of group:id in steps of one per cent.
func rolledOut(group, id string, percent float64) bool {
	return id != "" && percent > 0 && float64(experiments.Hash32(group, id, 0)%100+1) <= percent
}

func number(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return n
}

func list(s string) map[string]bool {
	set := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		set[strings.TrimSpace(part)] = true
	}
	return set
}

func remoteAddress(ips string) func(*Document, *Context) bool {
	var nets []netip.Prefix
	for part := range strings.SplitSeq(ips, ",") {
		part = strings.TrimSpace(part)
		if p, err := netip.ParsePrefix(part); err == nil {
			nets = append(nets, p)
		} else if a, err := netip.ParseAddr(part); err == nil {
			nets = append(nets, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return func(_ *Document, c *Context) bool {
		a, err := netip.ParseAddr(c.RemoteAddress)
		for _, n := range nets {
			if err == nil && n.Contains(a) {
				return true
			}
		}
		return false
	}
}

// Context is what a caller knows of one request. Empty fields are missing.
type Context struct {
	UserID        string            `json:"userId"`
	SessionID     string            `json:"sessionId"`
	RemoteAddress string            `json:"remoteAddress"`
	Environment   string            `json:"environment"`
	AppName       string            `json:"appName"`
	CurrentTime   string            `json:"currentTime"` // RFC 3339; Now when empty
	Properties    map[string]string `json:"properties"`
	Now           time.Time         `json:"-"`
}

// field returns a context field by the name that constraints and stickiness use.
func (c *Context) field(name string) string {
	switch name {
	case "userId":
		return c.UserID
	case "sessionId":
		return c.SessionID
	case "remoteAddress":
		return c.RemoteAddress
	case "environment":
		return c.Environment
	case "appName":
		return c.AppName
	case "currentTime":
		return c.CurrentTime
	}
	return c.Properties[name]
}

// Attribute makes a context the attributes that were sent.
func (c *Context) Attribute(name string) experiments.Value {
	if v := c.field(name); v != "" {
		return experiments.Value{Kind: experiments.Text_, Text: v}
	}
	return experiments.Value{}
}

// sticky returns the value that a rollout hashes; "" when there is none.
func (c *Context) sticky(name string) string {
	switch name {
	case "", "default":
		if c.UserID != "" {
			return c.UserID
		}
		if c.SessionID != "" {
			return c.SessionID
		}
		return random()
	case "random":
		return random()
	}
	return c.field(name)
}

func random() string { return strconv.Itoa(rand.IntN(10_000) + 1) }

// Package unleash speaks Unleash in both directions: it encodes our experiments as the features that any Unleash SDK evaluates locally, and it
// watches the flags of an existing Unleash server as kill switches. Its HTTP handlers live in api.
package unleash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"perennial/experiments"
)

// The wire types follow what real SDKs can read: parameters are strings, strategies have no id, variants carry their own stickiness, payload values are
// text, there are no null times. Each rule has broken at least one SDK.
type (
	document struct {
		Version  int       `json:"version"`
		Features []feature `json:"features"`
		Segments []any     `json:"segments"`
	}
	feature struct {
		Name           string       `json:"name"`
		Type           string       `json:"type"`
		Enabled        bool         `json:"enabled"`
		Project        string       `json:"project"`
		Stale          bool         `json:"stale"`
		ImpressionData bool         `json:"impressionData"`
		Strategies     []strategy   `json:"strategies"`
		Variants       []variant    `json:"variants"`
		Dependencies   []dependency `json:"dependencies,omitempty"`
		Perennial      *extra       `json:"perennial,omitempty"`
	}
	// extra is what our own client needs for exposures; SDKs ignore fields that they do not know.
	extra struct {
		AllocationRevision int64    `json:"allocationRevision"`
		Forced             int      `json:"forced"`            // so many strategies come first and hold for forced units only
		Default            *Payload `json:"default,omitempty"` // the control's payload, for units without a variant
	}
	strategy struct {
		Name        string            `json:"name"`
		Constraints []constraint      `json:"constraints"`
		Parameters  map[string]string `json:"parameters"`
		Variants    []variant         `json:"variants"`
	}
	constraint struct {
		ContextName     string   `json:"contextName"`
		Operator        string   `json:"operator"`
		Values          []string `json:"values"`
		Value           string   `json:"value,omitempty"`
		Inverted        bool     `json:"inverted"`
		CaseInsensitive bool     `json:"caseInsensitive"`
	}
	variant struct {
		Name       string   `json:"name"`
		Weight     int      `json:"weight"`
		WeightType string   `json:"weightType"`
		Stickiness string   `json:"stickiness"`
		Payload    *Payload `json:"payload,omitempty"`
	}
	dependency struct {
		Feature  string   `json:"feature"`
		Variants []string `json:"variants"`
	}
)

// Payload is a payload as Unleash writes it: its value is always text.
type Payload struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// entered is the variant of a holdout's parent flag for units that are not held out.
const entered = "entered"

// EncodeFeatures returns the body of GET /api/client/features and its ETag, which depends on nothing but the body. specVersion is the
// Unleash-Client-Spec header, "" when absent; operators that an SDK of that version does not know keep an experiment on the server. So does everything that
// Snapshot.NeedsServer names, a prerequisite that itself depends on another flag (Unleash allows one level), and a prerequisite together with
// forced units (Unleash asks for it first).
func EncodeFeatures(s *experiments.Snapshot, specVersion string) (body []byte, etag string) {
	d := document{Version: 2, Features: []feature{}, Segments: []any{}}
	parents := map[string]feature{}
	for _, key := range s.Keys() {
		if f, ok := encodeFeature(s, key, specVersion, parents); ok {
			d.Features = append(d.Features, f)
		}
	}
	names := make([]string, 0, len(parents))
	for name := range parents {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		d.Features = append(d.Features, parents[name])
	}
	body, err := experiments.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("unleash: %v", err)) // the types above hold nothing that JSON cannot
	}
	sum := sha256.Sum256(body)
	return body, `"` + hex.EncodeToString(sum[:12]) + `"`
}

// encodeFeature encodes one experiment and adds the parent flags that it needs.
func encodeFeature(s *experiments.Snapshot, key, specVersion string, parents map[string]feature) (feature, bool) {
	e, _ := s.Experiment(key)
	if e.Status == experiments.Archived || s.NeedsServer(key) {
		return feature{}, false
	}
	main, ok := mainStrategy(s, e, specVersion)
	if !ok {
		return feature{}, false
	}
	f := feature{Name: key, Type: "experiment", Enabled: true, Project: "default", ImpressionData: true, Strategies: forcedStrategies(e), Variants: []variant{}}
	f.Perennial = &extra{e.AllocationRevision, len(f.Strategies), payloadOf(e, e.Control)}
	running := e.Status == experiments.Running
	if running {
		f.Strategies = append(f.Strategies, main)
	}
	if len(f.Strategies) == 0 {
		f.Enabled, f.Strategies = false, []strategy{main}
	}
	if !running {
		return f, true // nothing but forced units, who come before holdouts and layers
	}
	if p := e.Prerequisite; p != nil {
		if len(e.Forced) > 0 || !plain(s, p.Experiment, specVersion) {
			return feature{}, false
		}
		f.Dependencies = append(f.Dependencies, dependency{p.Experiment, p.Variants})
	}
	suffix := "" // with forced units an experiment has parents of its own, which let these units in
	if len(e.Forced) > 0 {
		suffix = "." + key
	}
	if layer, owned, ok := s.LayerOf(key); ok {
		name := "layer." + layer.Key + suffix
		parents[name] = layerParent(name, layer, e, owned, suffix != "")
		f.Dependencies = append(f.Dependencies, dependency{name, []string{key}})
	}
	for _, h := range s.HoldoutsOf(key) {
		name := "holdout." + h.Key + suffix
		parents[name] = holdoutParent(name, h, e, suffix != "")
		f.Dependencies = append(f.Dependencies, dependency{name, []string{entered}})
	}
	return f, true
}

// plain tells whether an experiment is exported without dependencies of its own, so that another may depend on it.
func plain(s *experiments.Snapshot, key, specVersion string) bool {
	e, ok := s.Experiment(key)
	if !ok || e.Prerequisite != nil || s.NeedsServer(key) || len(s.HoldoutsOf(key)) > 0 || e.Status == experiments.Archived {
		return false
	}
	if _, _, layered := s.LayerOf(key); layered {
		return false
	}
	_, ok = mainStrategy(s, e, specVersion)
	return ok
}

// mainStrategy is what decides for units that nobody forced: schedule, targeting, then the ranges as an ordered variant list whose weights sum to 100000.
func mainStrategy(s *experiments.Snapshot, e *experiments.Experiment, specVersion string) (strategy, bool) {
	var constraints []constraint
	start, end := window(s, e)
	if start != nil {
		// DATE_AFTER is strict and JavaScript's dates have milliseconds.
		constraints = append(constraints, single("currentTime", "DATE_AFTER", start.Add(-time.Millisecond).UTC().Format(time.RFC3339Nano)))
	}
	if end != nil {
		constraints = append(constraints, single("currentTime", "DATE_BEFORE", end.UTC().Format(time.RFC3339Nano)))
	}
	for _, c := range e.Targeting {
		encoded, ok := encodeConstraint(c, specVersion)
		if !ok {
			return strategy{}, false
		}
		constraints = append(constraints, encoded...)
	}
	gap := payloadOf(e, e.Control)
	ranges := make([]piece, len(e.Allocation))
	for i, r := range e.Allocation {
		ranges[i] = piece{r.Variant, r.Start, r.End}
	}
	return rollout(e.Salt, constraints, variants(ranges, func(name string) *Payload {
		if name == experiments.NotEnrolled {
			return gap
		}
		return payloadOf(e, name)
	})), true
}

// window is the schedule of an experiment within that of its offers.
func window(s *experiments.Snapshot, e *experiments.Experiment) (start, end *time.Time) {
	start, end = e.StartAt, e.EndAt
	for _, o := range s.Offers(e.Key) {
		if o.StartsAt != nil && (start == nil || o.StartsAt.After(*start)) {
			start = o.StartsAt
		}
		if o.EndsAt != nil && (end == nil || o.EndsAt.Before(*end)) {
			end = o.EndsAt
		}
	}
	return start, end
}

func rollout(salt string, constraints []constraint, variants []variant) strategy {
	if constraints == nil {
		constraints = []constraint{}
	}
	return strategy{"flexibleRollout", constraints, map[string]string{"groupId": salt, "rollout": "100", "stickiness": "userId"}, variants}
}

type piece struct {
	name       string
	start, end int
}

// variants lays ranges out from bucket 0 to 100000: an SDK walks cumulative weights, so a repeated name is another range of the same variant, and what
// nobody owns is a variant named not_enrolled.
func variants(ranges []piece, payload func(name string) *Payload) []variant {
	slices.SortFunc(ranges, func(a, b piece) int { return a.start - b.start })
	var out []variant
	add := func(name string, width int) {
		if width > 0 {
			out = append(out, variant{name, width, "fix", "userId", payload(name)})
		}
	}
	at := 0
	for _, r := range ranges {
		add(experiments.NotEnrolled, r.start-at)
		add(r.name, r.end-r.start)
		at = r.end
	}
	add(experiments.NotEnrolled, experiments.Buckets-at)
	return out
}

// forcedStrategies come first, one for each variant that units are forced into.
func forcedStrategies(e *experiments.Experiment) []strategy {
	units := map[string][]string{}
	for unit, v := range e.Forced {
		units[v] = append(units[v], unit)
	}
	var out []strategy
	for _, v := range e.Variants {
		if len(units[v.Key]) > 0 {
			out = append(out, rollout(e.Salt, []constraint{among(units[v.Key])}, variants([]piece{{v.Key, 0, experiments.Buckets}}, func(string) *Payload { return payloadOf(e, v.Key) })))
		}
	}
	return out
}

func layerParent(name string, l experiments.Layer, e *experiments.Experiment, owned []experiments.HoldoutRange, forced bool) feature {
	ranges := make([]piece, 0, len(l.Allocation))
	if forced {
		for _, r := range owned {
			ranges = append(ranges, piece{e.Key, r.Start, r.End})
		}
	} else {
		for _, r := range l.Allocation {
			ranges = append(ranges, piece{r.Experiment, r.Start, r.End})
		}
	}
	return parent(name, l.Salt, ranges, e, forced, e.Key)
}

func holdoutParent(name string, h experiments.Holdout, e *experiments.Experiment, forced bool) feature {
	at := 0
	var ranges []piece
	held := slices.Clone(h.Allocation)
	slices.SortFunc(held, func(a, b experiments.HoldoutRange) int { return a.Start - b.Start })
	for _, r := range append(held, experiments.HoldoutRange{Start: experiments.Buckets, End: experiments.Buckets}) {
		if r.Start > at {
			ranges = append(ranges, piece{entered, at, r.Start})
		}
		at = r.End
	}
	return parent(name, h.Salt, ranges, e, forced, entered)
}

// parent is a flag that other flags depend on; forced units of e get the variant let.
func parent(name, salt string, ranges []piece, e *experiments.Experiment, forced bool, let string) feature {
	none := func(string) *Payload { return nil }
	f := feature{Name: name, Type: "operational", Enabled: true, Project: "default", Variants: []variant{}}
	if forced {
		units := make([]string, 0, len(e.Forced))
		for unit := range e.Forced {
			units = append(units, unit)
		}
		f.Strategies = append(f.Strategies, rollout(salt, []constraint{among(units)}, variants([]piece{{let, 0, experiments.Buckets}}, none)))
	}
	f.Strategies = append(f.Strategies, rollout(salt, nil, variants(ranges, none)))
	return f
}

func among(units []string) constraint {
	slices.Sort(units)
	return constraint{ContextName: "userId", Operator: "IN", Values: units}
}

func single(attribute, operator, value string) constraint {
	return constraint{ContextName: attribute, Operator: operator, Values: []string{}, Value: value}
}

var digitsFirst = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}

// encodeConstraint writes one constraint so that every SDK reads it as we do; ok is false when the SDK's version does not know the operator, and where SDKs
// differ: that of Node trims the values of a list.
func encodeConstraint(c experiments.Constraint, specVersion string) (out []constraint, ok bool) {
	if slices.ContainsFunc(c.Values, func(v string) bool { return strings.TrimSpace(v) != v || strings.Trim(v, "\ufeff") != v }) {
		return nil, false
	}
	name := c.Attribute
	if name == "unit_id" || name == "user_id" {
		name = "userId"
	}
	operator := c.Operator
	if operator == "CIDR" {
		operator = "IN_CIDR"
	}
	switch operator {
	case "REGEX", "IN_CIDR", "SEMVER_GTE", "SEMVER_LTE":
		if !atLeast(specVersion, 6, 1) {
			return nil, false
		}
	}
	e := constraint{ContextName: name, Operator: operator, Values: []string{}, Inverted: c.Inverted, CaseInsensitive: c.CaseInsensitive}
	guard := constraint{ContextName: name, Operator: "STR_STARTS_WITH", Values: digitsFirst}
	switch {
	case strings.HasPrefix(operator, "DATE_"):
		e.Value = c.Values[0]
		out = append(out, e)
		if name != "currentTime" { // the Go SDK takes a missing time as now
			out = append(out, guard)
		}
		return out, true
	case strings.HasPrefix(operator, "NUM_"):
		e.Value = c.Values[0]
		opposite := map[string]string{"NUM_LT": "NUM_GTE", "NUM_GTE": "NUM_LT", "NUM_GT": "NUM_LTE", "NUM_LTE": "NUM_GT"}[operator]
		if c.Inverted && opposite != "" { // SDKs differ on an inverted comparison with a missing number
			e.Operator, e.Inverted = opposite, false
		} else if c.Inverted {
			guard.Values = append([]string{"-", "+", "."}, digitsFirst...)
			return []constraint{guard, e}, true
		}
	case strings.HasPrefix(operator, "SEMVER_"):
		e.Value = c.Values[0]
		if c.Inverted {
			return []constraint{guard, e}, true
		}
	case operator == "REGEX":
		e.Value = c.Values[0]
	case operator == "IN" || operator == "NOT_IN":
		e.Values, e.CaseInsensitive = c.Values, false
	default:
		e.Values = c.Values
	}
	return []constraint{e}, true
}

// atLeast compares a client-specification version such as "5.2.0"; an unreadable one is old.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	x, err1 := strconv.Atoi(parts[0])
	y, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (x > major || x == major && y >= minor)
}

func payloadOf(e *experiments.Experiment, key string) *Payload {
	for i := range e.Variants {
		if e.Variants[i].Key == key {
			return encodePayload(e.Variants[i].Payload)
		}
	}
	return nil
}

// encodePayload writes a payload as text; Unleash has no booleans, so one travels as JSON.
func encodePayload(p *experiments.Payload) *Payload {
	if p == nil {
		return nil
	}
	raw := string(bytes.TrimSpace(p.Value))
	switch p.Type {
	case "string":
		var text string
		if json.Unmarshal(p.Value, &text) == nil {
			return &Payload{"string", text}
		}
		return &Payload{"string", raw}
	case "number":
		return &Payload{"number", raw}
	}
	return &Payload{"json", raw}
}

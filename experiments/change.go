package experiments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// NewExperiment makes a draft of a valid definition: it writes the defaults of the plan and the allocation out. Salt must be set.
func NewExperiment(d Definition, now time.Time) (*Experiment, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	d.Plan = d.Plan.WithDefaults()
	if d.Metrics.Primary == "" {
		d.Metrics.Primary = "profit"
	}
	d.layOut()
	if d.StickyFrom > 1 {
		return nil, Invalid("sticky_min_revision", "%d is above the first allocation revision", d.StickyFrom)
	}
	return &Experiment{Definition: d, Status: Draft, Revision: 1, AllocationRevision: 1, CreatedAt: now.UTC()}, nil
}

// layOut makes the allocation of a definition that nobody is enrolled in; explicit ranges win, and coverage then says what they cover.
func (d *Definition) layOut() {
	coverage := 1.0
	switch {
	case d.Coverage != nil:
		coverage = *d.Coverage
	case d.Ramp != nil:
		coverage = d.Ramp.Steps[0]
	}
	if len(d.Allocation) == 0 {
		d.Allocation = Allocate(d.Variants, coverage)
	} else {
		coverage = float64(Covered(d.Allocation)) / Buckets
	}
	d.Coverage = &coverage
	if d.Exploration != nil {
		d.Exploration = &Exploration{d.Exploration.Share, explore(nil, d.Variants, d.Allocation, coverage)}
	}
}

// readOnly are fields of an Experiment that a patch may carry (people send back what they read) and that it cannot change.
var readOnly = []string{"status", "revision", "allocation_revision", "created_at", "started_at", "stopped_at", "decided", "ramped"}

// Patch returns the experiment after a JSON merge patch (RFC 7396) of its definition. What was promised before the start stays: once an experiment has started its
// salt, control, layer, plan, primary metric and guardrails are fixed and its variants cannot go. New weights, arms and coverage keep every
// enrolled unit that can stay.
func (e *Experiment) Patch(doc json.RawMessage) (*Experiment, error) {
	if e.Status == Archived {
		return nil, Invalid("status", "is archived: it cannot change any more")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(doc, &fields); err != nil || fields == nil {
		return nil, Invalid("", "the patch is not a JSON object")
	}
	for _, name := range readOnly {
		delete(fields, name)
	}
	before, err := Marshal(e.Definition)
	if err != nil {
		return nil, err
	}
	patch, err := Marshal(fields)
	if err != nil {
		return nil, err
	}
	merged, err := mergePatch(before, patch)
	if err != nil {
		return nil, err
	}
	next := *e
	if next.Definition, err = DecodeDefinition(merged); err != nil {
		return nil, err
	}
	next.Plan = next.Plan.WithDefaults()
	if next.Salt == "" {
		next.Salt = e.Salt
	}
	if next.Key != e.Key {
		return nil, Invalid("key", "cannot change from %q", e.Key)
	}
	if e.StartedAt != nil {
		if err := e.keepsPromises(&next); err != nil {
			return nil, err
		}
	}
	_, explicit := fields["allocation"]
	if !explicit { // the ranges of a variant that left a draft go with it
		next.Allocation = slices.DeleteFunc(next.Allocation, func(r Range) bool { return next.variant(r.Variant) < 0 })
	}
	if x := next.Exploration; x != nil {
		x.Allocation = slices.DeleteFunc(x.Allocation, func(r Range) bool { return next.variant(r.Variant) < 0 })
	}
	if err := next.Definition.Validate(); err != nil {
		return nil, err
	}
	next.reallocate(e, explicit && len(next.Allocation) > 0 && !slices.Equal(next.Allocation, e.Allocation))
	if next.StickyFrom > next.AllocationRevision {
		return nil, Invalid("sticky_min_revision", "%d is above the allocation revision %d: no answer could ever be kept", next.StickyFrom, next.AllocationRevision)
	}
	if err := next.Definition.Validate(); err != nil { // ranges that needed no weights may be gone
		return nil, err
	}
	return &next, nil
}

// reallocate brings the ranges of the next revision in line with its weights and coverage.
func (next *Experiment) reallocate(old *Experiment, explicit bool) {
	coverage := 1.0
	if next.Coverage != nil {
		coverage = *next.Coverage
	}
	switch {
	case explicit:
		coverage = float64(Covered(next.Allocation)) / Buckets
	case slices.EqualFunc(next.Variants, old.Variants, func(a, b Variant) bool { return a.Key == b.Key && a.Weight == b.Weight }) && len(next.Allocation) > 0:
		if coverage != *old.Coverage {
			next.Allocation = Ramp(old.Allocation, old.Variants, *old.Coverage, coverage)
		}
	case old.StartedAt == nil:
		next.Allocation = Allocate(next.Variants, coverage)
	default:
		next.Allocation = Reallocate(old.Allocation, next.Variants, coverage)
	}
	next.Coverage = &coverage
	var explored []Range
	if old.Exploration != nil {
		explored = old.Exploration.Allocation
	}
	changed := !slices.Equal(next.Allocation, old.Allocation)
	if next.Exploration != nil {
		from := explored
		if old.StartedAt == nil {
			from = nil
		}
		next.Exploration = &Exploration{next.Exploration.Share, explore(from, next.Variants, next.Allocation, coverage)}
		changed = changed || !slices.Equal(next.Exploration.Allocation, explored)
	}
	if changed {
		next.AllocationRevision = old.AllocationRevision + 1
	}
}

// keepsPromises names what may not change after the start.
func (e *Experiment) keepsPromises(next *Experiment) error {
	var f faults
	const fixed = "is fixed since the experiment started: stop it and create another one"
	for _, p := range []struct {
		field    string
		old, new any
	}{{"salt", e.Salt, next.Salt}, {"control", e.Control, next.Control}, {"plan", e.Plan, next.Plan}, {"metrics.primary", e.Metrics.Primary, next.Metrics.Primary},
		{"metrics.guardrails", e.Metrics.Guardrails, next.Metrics.Guardrails}, {"layer.key", layerKey(e), layerKey(next)}, {"prerequisite", e.Prerequisite, next.Prerequisite},
		{"sticky", e.Sticky, next.Sticky}, {"exploration.share", exploredShare(e), exploredShare(next)}, {"upstream", e.Upstream, next.Upstream}, {"simulated", e.Simulated, next.Simulated}} {
		if !reflect.DeepEqual(p.old, p.new) {
			f.add(p.field, fixed)
		}
	}
	for _, v := range e.Variants {
		if next.variant(v.Key) < 0 {
			f.add("variants", "%q cannot go since the experiment started: give it weight 0", v.Key)
		}
	}
	return f.err()
}

func exploredShare(e *Experiment) float64 {
	if e.Exploration == nil {
		return 0
	}
	return e.Exploration.Share
}

func layerKey(e *Experiment) string {
	if e.Layer == nil {
		return ""
	}
	return e.Layer.Key
}

// Act returns the experiment after start, stop, archive, ramp {"coverage"}, decide {"variant","reason","evidence"}, or the moves of the night ramp_advance {"coverage"},
// ramp_hold and ramp_roll_back {"reason"}.
func (e *Experiment) Act(action string, doc json.RawMessage, by string, now time.Time) (*Experiment, error) {
	next := *e
	now = now.UTC()
	switch action {
	case "patch":
		return e.Patch(doc)
	case "start":
		if e.Status != Draft && e.Status != Stopped {
			return nil, Invalid("status", "is %s: only a draft or a stopped experiment can start", e.Status)
		}
		if e.EndAt != nil && !now.Before(*e.EndAt) {
			return nil, Invalid("end_at", "is over: set a later one first")
		}
		next.Status, next.StoppedAt = Running, nil
		if e.StartedAt == nil {
			next.StartedAt = &now
		}
		if e.Ramp != nil {
			next.Ramped = &RampState{Since: now, Status: Ramping}
			for next.Ramped.Step+1 < len(e.Ramp.Steps) && e.Coverage != nil && e.Ramp.Steps[next.Ramped.Step+1] <= *e.Coverage {
				next.Ramped.Step++ // started again after a stop
			}
		}
	case "stop":
		if e.Status != Running {
			return nil, Invalid("status", "is %s: only a running experiment can stop", e.Status)
		}
		next.Status, next.StoppedAt = Stopped, &now
	case "archive":
		if e.Status == Running || e.Status == Archived {
			return nil, Invalid("status", "is %s: stop it first", e.Status)
		}
		next.Status = Archived
	case "ramp":
		var body struct {
			Coverage *float64 `json:"coverage"`
		}
		if err := decodeStrict(doc, &body); err != nil {
			return nil, err
		}
		if body.Coverage == nil {
			return nil, Invalid("coverage", "is missing: give the new share of all buckets, such as 0.2")
		}
		patch, err := Marshal(body)
		if err != nil {
			return nil, err
		}
		return e.Patch(patch)
	case "decide":
		var body struct {
			Variant  string    `json:"variant"`
			Reason   string    `json:"reason"`
			Evidence *Evidence `json:"evidence"`
		}
		if err := decodeStrict(doc, &body); err != nil {
			return nil, err
		}
		if e.StartedAt == nil {
			return nil, Invalid("status", "is %s: nothing has been measured yet", e.Status)
		}
		if e.variant(body.Variant) < 0 {
			return nil, Invalid("variant", "%q is not one of the variants", body.Variant)
		}
		again := e.Plan.revalidateAt(now)
		next.Decision = &Decided{Variant: body.Variant, Reason: body.Reason, At: now, By: by, Evidence: body.Evidence, RevalidateAt: &again}
	case "ramp_advance", "ramp_hold", "ramp_roll_back":
		var move RampMove
		if err := decodeStrict(doc, &move); err != nil {
			return nil, err
		}
		return e.ramped(action, move, now)
	default:
		return nil, Invalid("action", "%q is not patch, start, stop, archive, ramp or decide", action)
	}
	return &next, nil
}

// DecodeDefinition reads a definition strictly: an unknown field is an *InvalidError that names it.
func DecodeDefinition(raw []byte) (Definition, error) {
	var d Definition
	err := decodeStrict(raw, &d)
	return d, err
}

// DecodeMetric reads a metric of the library from JSON; an unknown field is a fault.
func DecodeMetric(raw []byte) (MetricDef, error) {
	var m MetricDef
	err := decodeStrict(raw, &m)
	return m, err
}

// decodeStrict turns what encoding/json says into an *InvalidError; unreadable JSON is named with an empty field. An empty document is an empty object.
func decodeStrict(raw []byte, into any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		if d.More() {
			return Invalid("", "more than one JSON document")
		}
		return nil
	case errors.As(err, &wrong):
		return Invalid(wrong.Field, "is a JSON %s, want %s", wrong.Value, wrong.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Invalid(strings.Trim(name, `"`), "is not a known field")
	}
	return Invalid("", "not readable: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// Marshal is json.Marshal without HTML escapes, so that raw payloads keep their bytes.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// mergePatch applies RFC 7396 and leaves every untouched value in its own spelling.
func mergePatch(target, patch json.RawMessage) (json.RawMessage, error) {
	var p map[string]json.RawMessage
	if trimmed := bytes.TrimSpace(patch); len(trimmed) == 0 || trimmed[0] != '{' {
		return patch, nil
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, fmt.Errorf("merge patch: %w", err)
	}
	t := map[string]json.RawMessage{}
	if trimmed := bytes.TrimSpace(target); len(trimmed) > 0 && trimmed[0] == '{' {
		if err := json.Unmarshal(target, &t); err != nil {
			return nil, fmt.Errorf("merge patch: %w", err)
		}
	}
	for name, value := range p {
		if string(bytes.TrimSpace(value)) == "null" {
			delete(t, name)
			continue
		}
		merged, err := mergePatch(t[name], value)
		if err != nil {
			return nil, err
		}
		t[name] = merged
	}
	return Marshal(t)
}

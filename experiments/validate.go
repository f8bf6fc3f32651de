package experiments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

const (
	maxVariants = 100
	maxPayload  = 64 << 10 // bytes of one payload
	maxRanges   = 10_000   // of one allocation
	maxForced   = 1_000
	maxUnitID   = 512 // bytes
)

var (
	keyForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	saltForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// faults collects what is wrong, by field path.
type faults []Fault

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, Fault{field, fmt.Sprintf(format, args...)})
}

// err returns an *InvalidError, or nil when nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &InvalidError{Faults: f}
}

// Validate returns every fault of a definition as an *InvalidError; offers, layers, metrics and other experiments are checked by the store. Zero
// values that stand for a default (salt, coverage, plan) are valid.
func (d *Definition) Validate() error {
	var f faults
	checkKey(&f, "key", d.Key)
	for _, reserved := range []string{"layer.", "holdout."} {
		if strings.HasPrefix(d.Key, reserved) {
			f.add("key", "must not begin with %q: Unleash SDKs see layers and holdouts under such names", reserved)
		}
	}
	if d.Key == NotEnrolled {
		f.add("key", "%q is reserved", NotEnrolled)
	}
	if d.Salt != "" {
		checkSalt(&f, "salt", d.Salt)
	}
	if d.Layer != nil {
		checkKey(&f, "layer.key", d.Layer.Key)
		checkFraction(&f, "layer.share", d.Layer.Share)
	}
	d.checkVariants(&f)
	if d.Coverage != nil {
		checkFraction(&f, "coverage", *d.Coverage)
	}
	d.checkAllocation(&f)
	checkConstraints(&f, "targeting", d.Targeting)
	d.checkForced(&f)
	if p := d.Prerequisite; p != nil {
		checkKey(&f, "prerequisite.experiment", p.Experiment)
		if p.Experiment == d.Key {
			f.add("prerequisite.experiment", "is the experiment itself")
		}
		if len(p.Variants) == 0 {
			f.add("prerequisite.variants", "is empty: name the variants that open this experiment")
		}
	}
	d.checkExploration(&f)
	d.checkMetrics(&f)
	d.Plan.check(&f)
	if d.Ramp != nil {
		coverage := d.Coverage
		if len(d.Allocation) > 0 {
			coverage = nil // a stored definition has both; its coverage has moved on
		}
		d.Ramp.check(&f, coverage)
	}
	if d.StartAt != nil && d.EndAt != nil && !d.StartAt.Before(*d.EndAt) {
		f.add("end_at", "is not after start_at")
	}
	return f.err()
}

func (d *Definition) checkVariants(f *faults) {
	if len(d.Variants) == 0 {
		f.add("variants", "is empty")
		return
	}
	if len(d.Variants) > maxVariants {
		f.add("variants", "has %d variants, at most %d are allowed", len(d.Variants), maxVariants)
		return
	}
	total, readable := 0.0, true
	for i, v := range d.Variants {
		at := fmt.Sprintf("variants[%d]", i)
		checkKey(f, at+".key", v.Key)
		if v.Key == NotEnrolled {
			f.add(at+".key", "%q is reserved for units without a variant", NotEnrolled)
		}
		if d.variant(v.Key) < i {
			f.add(at+".key", "%q stands twice", v.Key)
		}
		if !(v.Weight >= 0) || math.IsInf(v.Weight, 0) || v.Weight > 1e9 {
			f.add(at+".weight", "%v is not a number within 0..1e9", v.Weight)
			readable = false
		}
		total += v.Weight
		if v.Payload != nil {
			v.Payload.check(f, at+".payload")
		}
		for j, rule := range v.Payloads {
			here := fmt.Sprintf("%s.payloads[%d]", at, j)
			if len(rule.When) == 0 {
				f.add(here+".when", "is empty: the payload without a condition belongs in %s.payload", at)
			}
			checkConstraints(f, here+".when", rule.When)
			rule.Payload.check(f, here+".payload")
		}
		if v.Offer != "" {
			checkKey(f, at+".offer", v.Offer)
		}
	}
	if readable && total <= 0 && len(d.Allocation) == 0 { // explicit ranges need no weights
		f.add("variants", "all weights are zero")
	}
	if d.variant(d.Control) < 0 {
		f.add("control", "%q is not one of the variants", d.Control)
	}
}

// variant returns the index of the first variant with this key, or -1.
func (d *Definition) variant(key string) int {
	return slices.IndexFunc(d.Variants, func(v Variant) bool { return v.Key == key })
}

func (d *Definition) checkAllocation(f *faults) {
	if len(d.Allocation) > maxRanges {
		f.add("allocation", "has %d ranges, at most %d are allowed", len(d.Allocation), maxRanges)
		return
	}
	for i, r := range d.Allocation {
		at := fmt.Sprintf("allocation[%d]", i)
		if d.variant(r.Variant) < 0 {
			f.add(at+".variant", "%q is not one of the variants", r.Variant)
		}
		checkRange(f, at, r.Start, r.End)
	}
	spans := make([]span, len(d.Allocation))
	for i, r := range d.Allocation {
		spans[i] = span{i, r.Start, r.End}
	}
	checkOverlap(f, "allocation", spans)
}

func (d *Definition) checkExploration(f *faults) {
	if d.StickyFrom < 0 {
		f.add("sticky_min_revision", "%d is negative", d.StickyFrom)
	}
	x := d.Exploration
	if x == nil {
		return
	}
	checkFraction(f, "exploration.share", x.Share)
	for i, r := range x.Allocation {
		at := fmt.Sprintf("exploration.allocation[%d]", i)
		if d.variant(r.Variant) < 0 {
			f.add(at+".variant", "%q is not one of the variants", r.Variant)
		}
		checkRange(f, at, r.Start, r.End)
	}
	if d.Upstream != "" {
		f.add("exploration", "cannot be had where an upstream flag splits")
	}
}

type span struct{ index, start, end int }

// checkOverlap names the later of two ranges that share buckets.
func checkOverlap(f *faults, field string, spans []span) {
	slices.SortStableFunc(spans, func(a, b span) int { return a.start - b.start })
	for i := 1; i < len(spans); i++ {
		if a, b := spans[i-1], spans[i]; a.end > b.start && b.end > b.start {
			f.add(fmt.Sprintf("%s[%d].start", field, max(a.index, b.index)), "overlaps %s[%d]", field, min(a.index, b.index))
		}
		if spans[i-1].end > spans[i].end {
			spans[i].end = spans[i-1].end
		}
	}
}

func checkRange(f *faults, at string, start, end int) {
	if start < 0 || start >= Buckets {
		f.add(at+".start", "%d is not within 0..%d", start, Buckets-1)
	}
	if end <= start || end > Buckets {
		f.add(at+".end", "%d is not within start+1..%d", end, Buckets)
	}
}

func (d *Definition) checkForced(f *faults) {
	if len(d.Forced) > maxForced {
		f.add("forced", "has %d units, at most %d are allowed: a list test is `perennial experiment audience`", len(d.Forced), maxForced)
		return
	}
	for _, unit := range sortedKeys(d.Forced) {
		if unit == "" || len(unit) > maxUnitID {
			f.add("forced", "a unit id is empty or longer than %d bytes", maxUnitID)
		}
		if v := d.Forced[unit]; d.variant(v) < 0 {
			f.add(fmt.Sprintf("forced[%q]", unit), "%q is not one of the variants", v)
		}
	}
}

func (d *Definition) checkMetrics(f *faults) {
	if d.Metrics.Primary != "" {
		checkKey(f, "metrics.primary", d.Metrics.Primary)
	}
	for i, m := range d.Metrics.Secondary {
		checkKey(f, fmt.Sprintf("metrics.secondary[%d]", i), m)
	}
	for i, g := range d.Metrics.Guardrails {
		at := fmt.Sprintf("metrics.guardrails[%d]", i)
		checkKey(f, at+".metric", g.Metric)
		if !(g.Margin > 0 && g.Margin < 1) {
			f.add(at+".margin", "%v is not within 0..1: it is the relative worsening that is still acceptable", g.Margin)
		}
		if g.Alpha != 0 && !(g.Alpha > 0 && g.Alpha < 0.5) {
			f.add(at+".alpha", "%v is not within 0..0.5", g.Alpha)
		}
	}
}

// check leaves zero values alone: they stand for defaults.
func (p *Plan) check(f *faults) {
	if !slices.Contains([]string{"", "fixed", "gst", "confseq"}, p.Inference) {
		f.add("plan.inference", "%q is not fixed, gst or confseq", p.Inference)
	}
	if p.Alpha != 0 && !(p.Alpha > 0 && p.Alpha < 0.5) {
		f.add("plan.alpha", "%v is not within 0..0.5", p.Alpha)
	}
	if p.Power != 0 && !(p.Power > 0 && p.Power < 1) {
		f.add("plan.power", "%v is not within 0..1", p.Power)
	}
	if p.MDE != nil && !(*p.MDE > 0 && *p.MDE <= 10) {
		f.add("plan.mde", "%v is not within 0..10: 0.05 is five per cent", *p.MDE)
	}
	if p.MaxUnits != nil && *p.MaxUnits < 1 {
		f.add("plan.max_units", "%d is not positive", *p.MaxUnits)
	}
	if p.Equivalence != nil && !(*p.Equivalence > 0 && *p.Equivalence <= 1e9) {
		f.add("plan.equivalence", "%v is not positive: it is the difference per unit, in the primary metric's own unit, that does not matter", *p.Equivalence)
	}
	if p.RevalidateDays < 0 || p.RevalidateDays > 3650 {
		f.add("plan.revalidate_days", "%d is not within 1..3650", p.RevalidateDays)
	}
	if p.Looks < 0 || p.Looks > 1000 {
		f.add("plan.looks", "%d is not within 1..1000", p.Looks)
	}
	if p.HorizonDays < 0 || p.HorizonDays > 365 {
		f.add("plan.horizon_days", "%d is not within 1..365", p.HorizonDays)
	}
}

// WithDefaults returns the plan with every default written out, as an experiment keeps it from its creation on.
func (p Plan) WithDefaults() Plan {
	if p.Inference == "" {
		p.Inference = "gst"
	}
	if p.Alpha == 0 {
		p.Alpha = 0.05
	}
	if p.Power == 0 {
		p.Power = 0.8
	}
	if p.MDE == nil {
		mde := 0.05
		p.MDE = &mde
	}
	if p.Looks == 0 {
		p.Looks = 14
	}
	if p.HorizonDays == 0 {
		p.HorizonDays = 14
	}
	return p
}

// check wants a value of the payload's own type.
func (p *Payload) check(f *faults, at string) {
	if len(p.Value) > maxPayload {
		f.add(at+".value", "has %d bytes, at most %d are allowed", len(p.Value), maxPayload)
		return
	}
	raw := bytes.TrimSpace(p.Value)
	if !json.Valid(raw) {
		f.add(at+".value", "is missing or not JSON")
		return
	}
	ok := false
	switch p.Type {
	case "string":
		ok = raw[0] == '"'
	case "number":
		ok = raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
	case "boolean":
		ok = raw[0] == 't' || raw[0] == 'f'
	case "json":
		ok = true
	default:
		f.add(at+".type", "%q is not string, number, boolean or json", p.Type)
		return
	}
	if !ok {
		f.add(at+".value", "is not a %s", p.Type)
	}
}

func checkConstraints(f *faults, field string, list []Constraint) {
	if len(list) > maxConstraints {
		f.add(field, "has %d constraints, at most %d are allowed", len(list), maxConstraints)
		return
	}
	for i, c := range list {
		_, wrong := compileConstraint(c, nil)
		for _, w := range wrong {
			f.add(fmt.Sprintf("%s[%d].%s", field, i, w.Field), "%s", w.Reason)
		}
		for j, v := range c.Values {
			if v == "" && len(wrong) == 0 {
				f.add(fmt.Sprintf("%s[%d].values[%d]", field, i, j), "is empty: some SDKs take a missing attribute for it")
			}
		}
	}
}

func checkKey(f *faults, field, key string) {
	if !keyForm.MatchString(key) {
		f.add(field, "%q is not 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit", key)
	}
}

func checkSalt(f *faults, field, salt string) {
	if !saltForm.MatchString(salt) {
		f.add(field, "%q is not 1 to 64 of A-Z a-z 0-9 . _ -", salt)
	}
	if salt == ExplorationSalt {
		f.add(field, "%q is the salt of the exploration slice", salt)
	}
}

func checkFraction(f *faults, field string, x float64) {
	if !(x >= 0 && x <= 1) {
		f.add(field, "%v is not within 0..1", x)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

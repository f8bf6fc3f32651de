package experiments

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Validate returns every fault of a layer.
func (l *Layer) Validate() error {
	var f faults
	checkKey(&f, "key", l.Key)
	if l.Salt != "" {
		checkSalt(&f, "salt", l.Salt)
	}
	spans := make([]span, len(l.Allocation))
	for i, r := range l.Allocation {
		at := fmt.Sprintf("allocation[%d]", i)
		checkKey(&f, at+".experiment", r.Experiment)
		checkRange(&f, at, r.Start, r.End)
		spans[i] = span{i, r.Start, r.End}
	}
	checkOverlap(&f, "allocation", spans)
	return f.err()
}

// Validate returns every fault of a holdout.
func (h *Holdout) Validate() error {
	var f faults
	checkKey(&f, "key", h.Key)
	if h.Salt != "" {
		checkSalt(&f, "salt", h.Salt)
	}
	checkFraction(&f, "share", h.Share)
	spans := make([]span, len(h.Allocation))
	for i, r := range h.Allocation {
		checkRange(&f, fmt.Sprintf("allocation[%d]", i), r.Start, r.End)
		spans[i] = span{i, r.Start, r.End}
	}
	checkOverlap(&f, "allocation", spans)
	if len(h.Allocation) == 0 && h.Share == 0 {
		f.add("share", "is zero: give a share or an allocation")
	}
	for i, key := range h.Experiments {
		checkKey(&f, fmt.Sprintf("experiments[%d]", i), key)
	}
	return f.err()
}

// offerKinds and metricKinds are those of CONTRACT §5.
var (
	offerKinds  = []string{"timed_discount", "spend_threshold", "bundle", "buy_x_get_y", "first_order", "gift", "free_shipping", "points", "service"}
	metricKinds = []string{"mean", "proportion", "ratio", "quantile", "retention", "funnel"}
)

// BuiltInMetrics are there without being defined.
var BuiltInMetrics = []string{"profit", "revenue", "orders", "order_rate", "aov", "refund_share", "retention_7d", "repurchase_rate"}

// Validate returns every fault of an offer.
func (o *Offer) Validate() error {
	var f faults
	checkKey(&f, "key", o.Key)
	if !slices.Contains(offerKinds, o.Kind) {
		f.add("kind", "%q is not one of %s", o.Kind, strings.Join(offerKinds, " "))
	}
	if len(o.Terms) > maxPayload {
		f.add("terms", "has %d bytes, at most %d are allowed", len(o.Terms), maxPayload)
	}
	if raw := bytes.TrimSpace(o.Terms); len(raw) > 0 && (raw[0] != '{' || !json.Valid(raw)) {
		f.add("terms", "is not a JSON object")
	}
	if o.UnitCost != nil && !(*o.UnitCost >= 0 && *o.UnitCost <= 1e9) {
		f.add("unit_cost", "%v is not within 0..1e9", *o.UnitCost)
	}
	if o.Quota != nil && *o.Quota < 1 {
		f.add("quota", "%d is not positive; leave it out for an offer without limit", *o.Quota)
	}
	if o.StartsAt != nil && o.EndsAt != nil && !o.StartsAt.Before(*o.EndsAt) {
		f.add("ends_at", "is not after starts_at")
	}
	checkConstraints(&f, "eligibility", o.Eligibility)
	return f.err()
}

// HashOfRules identifies the rules as customers read them: SHA-256 of their JSON.
func (o *Offer) HashOfRules() string {
	rules, _ := json.Marshal(o.Rules)
	sum := sha256.Sum256(rules)
	return hex.EncodeToString(sum[:])
}

// Publishable returns why an offer must not be shown to customers yet: errors of Lint (rules in one language are missing, terms are incomplete). at is the
// path of the faults.
func (o *Offer) Publishable(at string) []Fault {
	var list []Fault
	for _, l := range o.Lint() {
		if l.Level == "error" {
			list = append(list, Fault{at, fmt.Sprintf("offer %q cannot be published: %s: %s", o.Key, l.Field, l.Detail.EN)})
		}
	}
	return list
}

// Validate returns every fault of a metric of the library.
func (m *MetricDef) Validate() error {
	var f faults
	checkKey(&f, "key", m.Key)
	if slices.Contains(BuiltInMetrics, m.Key) {
		f.add("key", "%q is built in", m.Key)
	}
	if !slices.Contains(metricKinds, m.Kind) {
		f.add("kind", "%q is not one of %s", m.Kind, strings.Join(metricKinds, " "))
	}
	if m.WindowDays < 0 || m.WindowDays > 365 {
		f.add("window_days", "%d is not within 1..365", m.WindowDays)
	}
	if m.Margin != nil && !(*m.Margin >= 0 && *m.Margin < 1) {
		f.add("margin", "%v is not within 0..1; 0.02 lets the metric get two per cent worse", *m.Margin)
	}
	if m.Unit != "" && m.Unit != "user" {
		f.add("unit", "%q is not user: what is randomised is what is analysed", m.Unit)
	}
	if m.Quantile != nil && (m.Kind != "quantile" || !(*m.Quantile > 0 && *m.Quantile < 1)) {
		f.add("quantile", "%v: only a metric of kind quantile has one, within 0..1", *m.Quantile)
	}
	if m.Denominator != "" && (m.Kind != "ratio" || m.Denominator == m.Key) {
		f.add("denominator", "%q: only a ratio has one, and it is another metric", m.Denominator)
	}
	if m.MinEvents < 0 || m.MinEvents > 1000 || m.MinEvents > 0 && m.Kind != "proportion" {
		f.add("min_events", "%d: only a proportion has it, within 1..1000", m.MinEvents)
	}
	if m.Direction != "" && m.Direction != "up" && m.Direction != "down" {
		f.add("direction", "%q is not up or down", m.Direction)
	}
	for _, raw := range []struct {
		field string
		value json.RawMessage
	}{{"filter", m.Filter}, {"cap", m.Cap}} {
		if len(raw.value) > maxPayload || len(raw.value) > 0 && !json.Valid(raw.value) {
			f.add(raw.field, "is not JSON of at most %d bytes", maxPayload)
		}
	}
	return f.err()
}

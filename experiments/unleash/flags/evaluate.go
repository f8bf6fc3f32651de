package flags

import (
	"slices"

	"perennial/experiments"
)

// Disabled is the name of the variant of a flag that has none for this context.
const Disabled = "disabled"

// Result is the answer for one flag. Variant is nil when the flag is off or has no variants; Strategy is the index of the strategy that holds, -1 when none does.
type Result struct {
	Enabled  bool
	Variant  *Variant
	Strategy int
}

var off = Result{Strategy: -1}

// Evaluate answers one flag; an unknown one is off. A flag is on when it is enabled, its parents are as it wants them and one of its strategies (or none is there)
// holds; the first strategy that holds gives the variants, else the flag does.
func (d *Document) Evaluate(name string, c *Context) Result {
	f, ok := d.features[name]
	if !ok {
		return off
	}
	for _, p := range f.parents {
		parent, ok := d.features[p.feature]
		if !ok || len(parent.parents) > 0 { // one level only
			return off
		}
		r := d.evaluate(parent, c)
		if r.Enabled != p.enabled {
			return off
		}
		got := Disabled
		if r.Variant != nil {
			got = r.Variant.Name
		}
		if len(p.variants) > 0 && !slices.Contains(p.variants, got) {
			return off
		}
	}
	return d.evaluate(f, c)
}

// evaluate leaves parents aside.
func (d *Document) evaluate(f *feature, c *Context) Result {
	if !f.enabled {
		return off
	}
	if len(f.strategies) == 0 {
		return Result{true, pick(f.variants, f.name, "", c), -1}
	}
	unit := experiments.Unit{ID: c.UserID, Sent: c, Now: c.Now}
	for i := range f.strategies {
		s := &f.strategies[i]
		if !d.inSegments(s.segments, &unit) || !s.matcher.Hold(&unit) || !s.holds(d, c) {
			continue
		}
		if len(s.variants) > 0 {
			return Result{true, pick(s.variants, s.group, s.sticky, c), i}
		}
		return Result{true, pick(f.variants, f.name, "", c), i}
	}
	return off
}

// inSegments fails on a segment that is not there.
func (d *Document) inSegments(ids []int, u *experiments.Unit) bool {
	for _, id := range ids {
		m, ok := d.segments[id]
		if !ok || !m.Hold(u) {
			return false
		}
	}
	return true
}

// pick chooses by overrides, then by weight. Without weights there is no variant.
func pick(variants []Variant, group, stickiness string, c *Context) *Variant {
	total := 0
	for i := range variants {
		total += max(variants[i].Weight, 0)
		for _, o := range variants[i].Overrides {
			if v := c.field(o.ContextName); v != "" && slices.Contains(o.Values, v) {
				return &variants[i]
			}
		}
	}
	if total == 0 {
		return nil
	}
	if variants[0].Stickiness != "" {
		stickiness = variants[0].Stickiness
	}
	target := int(experiments.Hash32(group, seed(stickiness, c), 86028157)%uint32(total)) + 1
	for i := range variants {
		if target -= max(variants[i].Weight, 0); target <= 0 {
			return &variants[i]
		}
	}
	return nil
}

// seed is what a variant hashes; unlike a rollout's, its default falls back on the address.
func seed(stickiness string, c *Context) string {
	if stickiness == "" || stickiness == "default" {
		for _, v := range []string{c.UserID, c.SessionID, c.RemoteAddress} {
			if v != "" {
				return v
			}
		}
		return random()
	}
	if v := c.sticky(stickiness); v != "" {
		return v
	}
	return random()
}

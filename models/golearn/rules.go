package golearn

import (
	"math"
	"slices"
	"strconv"
)

// Rule is one leaf of a readable tree: every condition holds, and then the share of class 1 is P.
type Rule struct {
	If []string `json:"if"`
	P  float64  `json:"p"`
}

// Rules reads the leaves of the first tree, highest P first. Conditions on one feature are drawn together, and one that only a missing value
// meets says so: a missing value stands below every known one.
func (f *Forest) Rules() []Rule {
	if len(f.Trees) == 0 {
		return nil
	}
	nodes := f.Trees[0]
	var rules []Rule
	type bound struct{ above, upTo float64 }
	var walk func(at int32, path map[int32]bound, order []int32)
	walk = func(at int32, path map[int32]bound, order []int32) {
		n := nodes[at]
		if n.Feature < 0 {
			r := Rule{If: []string{}, P: n.P}
			for _, j := range order {
				r.If = append(r.If, f.condition(j, path[j].above, path[j].upTo))
			}
			rules = append(rules, r)
			return
		}
		b, seen := path[n.Feature]
		if !seen {
			b = bound{math.Inf(-1), math.Inf(1)}
			order = append(slices.Clone(order), n.Feature)
		}
		for _, side := range []struct {
			child int32
			b     bound
		}{{n.Left, bound{b.above, min(b.upTo, n.Threshold)}}, {n.Right, bound{max(b.above, n.Threshold), b.upTo}}} {
			next := make(map[int32]bound, len(path)+1)
			for j, v := range path {
				next[j] = v
			}
			next[n.Feature] = side.b
			walk(side.child, next, order)
		}
	}
	walk(0, map[int32]bound{}, nil)
	slices.SortStableFunc(rules, func(a, b Rule) int {
		switch {
		case a.P > b.P:
			return -1
		case a.P < b.P:
			return 1
		}
		return 0
	})
	return rules
}

func (f *Forest) condition(j int32, above, upTo float64) string {
	name, number := f.Names[j], func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	missing := f.Fill[j] > above && f.Fill[j] <= upTo
	text := number(above) + " < " + name + " ≤ " + number(upTo)
	switch {
	case math.IsInf(above, -1):
		text = name + " ≤ " + number(upTo)
	case math.IsInf(upTo, 1):
		text = name + " > " + number(above)
	}
	if missing {
		text += " or missing"
	}
	return text
}

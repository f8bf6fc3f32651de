package experiments

import (
	"sort"
	"strconv"
	"strings"

	"perennial/experiments/stats"
)

// segment adds results for every value of a column, Holm-adjusted inside the dimension, and the test of different effects.
func (a *tableAnalysis) segment(out *Analysis, dimension string) {
	labels := a.t.Labels[dimension]
	seen := map[string]bool{}
	for _, l := range labels {
		if l != "" {
			seen[l] = true
		}
	}
	values := make([]string, 0, len(seen))
	for l := range seen {
		values = append(values, l)
	}
	sortSegments(values)
	how := a.plan.Adjust
	if how == "" {
		how = "holm"
	}
	var tests []*Heterogeneity
	for mi, m := range a.plan.Metrics {
		from := len(out.Results)
		for _, l := range values {
			keep := make([]bool, len(labels))
			for r := range labels {
				keep[r] = labels[r] == l
			}
			for v := 1; v < len(a.names); v++ {
				out.Results = append(out.Results, a.result(mi, v, &Segment{dimension, l}, keep))
			}
		}
		var family []*Result
		for i := from; i < len(out.Results); i++ {
			family = append(family, &out.Results[i])
		}
		adjustP(family, how)
		for v := 1; v < len(a.names); v++ {
			if h := heterogeneity(m.Column, a.names[v], dimension, family); h != nil {
				tests = append(tests, h)
			}
		}
	}
	p := make([]float64, len(tests))
	for i, h := range tests {
		p[i] = float64(h.PValue)
	}
	for i, adjusted := range stats.Holm(p) {
		tests[i].PAdjusted = Num(adjusted)
		out.Heterogeneity = append(out.Heterogeneity, *tests[i])
	}
}

// sortSegments sorts numbers by value (deciles) and other names by bytes.
func sortSegments(values []string) {
	sort.Slice(values, func(i, j int) bool {
		a, erra := strconv.ParseFloat(values[i], 64)
		b, errb := strconv.ParseFloat(values[j], 64)
		if erra == nil && errb == nil {
			return a < b
		}
		return values[i] < values[j]
	})
}

// heterogeneity tests whether the effects of one variant differ between the segments of a family, and writes their shrunk effects (empirical
// Bayes: with no heterogeneity all are the common mean). It is nil with fewer than two segments.
func heterogeneity(metric, variant, dimension string, family []*Result) *Heterogeneity {
	var effects, variances, ranks []float64
	var rows []*Result
	numbered := true
	for _, r := range family {
		if r.Variant != variant || r.Segment == nil || r.Segment.Dimension != dimension || !r.SE.Known() || r.SE == 0 {
			continue
		}
		effects, variances = append(effects, float64(r.Effect)), append(variances, float64(r.SE)*float64(r.SE))
		rows = append(rows, r)
		x, err := strconv.ParseFloat(r.Segment.Value, 64)
		ranks, numbered = append(ranks, x), numbered && err == nil
	}
	q, df, p, err := stats.Heterogeneity(effects, variances)
	if err != nil {
		return nil
	}
	if shrunk, _, err := stats.Shrink(effects, variances); err == nil {
		for i, r := range rows {
			n := Num(shrunk[i])
			r.Shrunk = &n
		}
	}
	h := &Heterogeneity{Metric: metric, Variant: variant, Dimension: dimension, Statistic: Num(q), DF: Num(df), PValue: Num(p), PAdjusted: Num(p)}
	if numbered && len(effects) > 2 {
		if _, _, tp, err := stats.Trend(ranks, effects, variances); err == nil {
			n := Num(tp)
			h.TrendP = &n
		}
	}
	return h
}

// someNames lists at most eight keys, sorted and quoted.
func someNames[V any](set map[string]V) string {
	names := make([]string, 0, len(set))
	for n := range set {
		names = append(names, strconv.Quote(n))
	}
	sort.Strings(names)
	if len(names) > 8 {
		return strings.Join(names[:8], ", ") + " and " + strconv.Itoa(len(names)-8) + " more"
	}
	return strings.Join(names, ", ")
}

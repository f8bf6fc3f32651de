package experiments

import (
	"math"
	"sort"

	"perennial/experiments/stats"
)

// Table is an A/B table of one row per unit. Missing numbers are NaN, missing labels "".
type Table struct {
	Variant []string
	Numbers map[string][]float64
	Labels  map[string][]string // segment and cluster columns
}

// TableMetric is one question to a table.
type TableMetric struct {
	Column      string
	Kind        string // proportion, mean, ratio, quantile
	Denominator string // ratio
	Quantile    float64
	Covariates  []string
	CapQuantile float64 // 0 means no cap
	Cluster     string
	Lower       bool    // lower is better
	Margin      float64 // a guardrail's relative margin; 0 means none
}

// TablePlan says how a table is to be read.
type TablePlan struct {
	Control   string
	Split     map[string]float64 // planned shares; nil means equal
	Alpha     float64
	Inference string
	Looks     int // gst: planned equally spaced looks
	Look      int // gst: this look
	Tuning    float64
	Segments  []string
	Adjust    string // holm, bh, none; "" means none, and Holm inside each segment dimension
	Metrics   []TableMetric
}

// AnalyzeTable compares every variant of a table with the control. Faults of the plan are returned as *InvalidError.
func AnalyzeTable(t *Table, plan TablePlan) (*Analysis, error) {
	a := &tableAnalysis{t: t, plan: plan}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	out := &Analysis{Schema: AnalysisSchema, Alpha: plan.Alpha, Inference: plan.Inference, Control: plan.Control, Arms: a.arms(), Results: []Result{}}
	out.Source.Units = int64(len(t.Variant))
	out.SRM = testSplit(out.Arms)
	for mi := range plan.Metrics {
		for v := 1; v < len(a.names); v++ {
			out.Results = append(out.Results, a.result(mi, v, nil, nil))
		}
	}
	var family []*Result
	for i := range out.Results {
		if out.Results[i].NonInferior == nil {
			family = append(family, &out.Results[i])
		}
	}
	adjustP(family, plan.Adjust)
	for _, dimension := range plan.Segments {
		a.segment(out, dimension)
	}
	out.Warnings = a.warnings(out)
	return out, nil
}

type tableAnalysis struct {
	t     *Table
	plan  TablePlan
	names []string // control first, then by name
	rows  [][]int  // rows of each variant
	caps  []float64
	judge judge
	clips map[int][]float64 // capped values by metric
}

func (a *tableAnalysis) prepare() error {
	seen := map[string]int{}
	for _, v := range a.t.Variant {
		seen[v]++
	}
	if seen[a.plan.Control] == 0 {
		return Invalid("control", "%q is not a value of the variant column; it has %s", a.plan.Control, someNames(seen))
	}
	a.names = []string{a.plan.Control}
	for v := range seen {
		if v != a.plan.Control {
			a.names = append(a.names, v)
		}
	}
	for v := range a.plan.Split {
		if seen[v] == 0 {
			a.names = append(a.names, v)
		}
	}
	for v := range seen {
		if _, ok := a.plan.Split[v]; a.plan.Split != nil && !ok {
			return Invalid("split", "names no share for variant %q", v)
		}
	}
	sort.Strings(a.names[1:])
	at := make(map[string]int, len(a.names))
	for i, v := range a.names {
		at[v] = i
	}
	a.rows = make([][]int, len(a.names))
	for r, v := range a.t.Variant {
		i := at[v]
		a.rows[i] = append(a.rows[i], r)
	}
	a.judge = judge{method: a.plan.Inference, alpha: a.plan.Alpha, seq: stats.Sequence{Alpha: a.plan.Alpha, Tuning: a.plan.Tuning}}
	if a.plan.Inference == GST {
		if a.plan.Looks < 1 || a.plan.Look < 1 || a.plan.Look > a.plan.Looks {
			return Invalid("look", "look %d of %d looks is not one of them", a.plan.Look, a.plan.Looks)
		}
		var err error
		if a.judge.look, err = stats.NewLook(stats.EqualLooks(a.plan.Looks, a.plan.Look), a.plan.Alpha); err != nil {
			return Invalid("looks", "%v", err)
		}
	}
	a.clips = map[int][]float64{}
	a.caps = make([]float64, len(a.plan.Metrics))
	for i, m := range a.plan.Metrics {
		a.cap(i, m)
	}
	return nil
}

// cap cuts a metric at the quantile of all arms pooled.
func (a *tableAnalysis) cap(i int, m TableMetric) {
	a.caps[i] = math.NaN()
	if m.CapQuantile == 0 {
		return
	}
	col := a.t.Numbers[m.Column]
	known := make([]float64, 0, len(col))
	for _, x := range col {
		if x == x {
			known = append(known, x)
		}
	}
	a.caps[i] = stats.PooledCap(known, m.CapQuantile)
	cut := make([]float64, len(col))
	for r, x := range col {
		cut[r] = x
		if x > a.caps[i] {
			cut[r] = a.caps[i]
		}
	}
	a.clips[i] = cut
}

func (a *tableAnalysis) arms() []Arm {
	sum := 0.0
	for _, s := range a.plan.Split {
		sum += s
	}
	out := make([]Arm, len(a.names))
	for i, v := range a.names {
		out[i] = Arm{v, int64(len(a.rows[i])), 1 / float64(len(a.names))}
		if a.plan.Split != nil {
			out[i].PlannedShare = a.plan.Split[v] / sum
		}
	}
	return out
}

// result compares variant v with the control; rows, when given, narrow both to a segment.
func (a *tableAnalysis) result(mi, v int, segment *Segment, keep []bool) Result {
	m := a.plan.Metrics[mi]
	r := blank(m.Column, m.Kind, a.names[v])
	r.Segment = segment
	if m.Lower {
		r.Direction = "down"
	}
	values := a.t.Numbers[m.Column]
	if cut := a.clips[mi]; cut != nil {
		values = cut
	}
	pair, raw, err := a.pair(&r, m, values, v, keep)
	a.judge.fill(&r, pair, err)
	if m.Kind == KindQuantile {
		r.Method = "quantile"
	}
	if m.Cluster != "" {
		r.Method = "cluster"
	}
	if len(m.Covariates) > 0 && err == nil {
		r.Method = "lin"
		if s := raw.SE(); s > 0 {
			r.VarianceReduction = Num(1 - pair.SE()*pair.SE()/(s*s))
		}
	} else if err == nil {
		r.VarianceReduction = 0
	}
	if m.Margin > 0 && err == nil {
		r.NonInferior = nonInferior(pair, m.Margin, 0.025, m.Lower, nil)
	}
	if cut := a.clips[mi]; cut != nil {
		c := Num(a.caps[mi])
		r.Cap = &c
		var loose Result
		if p, _, err := a.pair(&loose, m, a.t.Numbers[m.Column], v, keep); err == nil {
			(judge{method: Fixed, alpha: a.plan.Alpha}).fill(&loose, p, nil)
			e := loose.Effect
			r.Uncapped = &FixedResult{Effect: &e, SE: loose.SE, PValue: loose.PValue, EffectLow: loose.EffectLow, EffectHigh: loose.EffectHigh}
		}
	}
	return r
}

// pair compares the arms and, with covariates, also without them (raw). It fills counts, means and codes of the result.
func (a *tableAnalysis) pair(r *Result, m TableMetric, values []float64, v int, keep []bool) (pair, raw stats.Pair, err error) {
	t, terr := a.arm(m, values, v, keep)
	c, cerr := a.arm(m, values, 0, keep)
	r.N, r.NControl = t.n, c.n
	if t.n > 0 {
		r.Mean = Num(t.mean)
	}
	if c.n > 0 {
		r.MeanControl = Num(c.mean)
	}
	for _, err := range []error{terr, cerr} {
		if err != nil {
			return stats.Pair{T: t.est, C: c.est}, raw, err
		}
	}
	raw, err = stats.Welch(t.est, c.est)
	if m.Kind == KindProportion {
		r.small(t, c, a.plan.Alpha)
	}
	r.code("heavy_tail", t.heavy || c.heavy)
	r.code("skewed", t.skewed || c.skewed)
	r.code("few_clusters", m.Cluster != "" && min(t.est.N, c.est.N) < 40)
	if err != nil || len(m.Covariates) == 0 {
		return raw, raw, err
	}
	pair, err = a.adjust(m, values, v, keep)
	return pair, raw, err
}

func (r *Result) code(code string, on bool) {
	if on {
		r.Warnings = append(r.Warnings, code)
	}
}

// armView is one arm of one metric before comparison.
type armView struct {
	n             int64
	mean          float64
	est           stats.Estimate
	heavy, skewed bool
}

func (a *tableAnalysis) arm(m TableMetric, values []float64, v int, keep []bool) (armView, error) {
	var y, d []float64
	var rows []int
	denominator := a.t.Numbers[m.Denominator]
	for _, r := range a.rows[v] {
		if (keep != nil && !keep[r]) || values[r] != values[r] || (denominator != nil && denominator[r] != denominator[r]) {
			continue
		}
		y = append(y, values[r])
		rows = append(rows, r)
		if denominator != nil {
			d = append(d, denominator[r])
		}
	}
	out := armView{n: int64(len(y))}
	if len(y) == 0 {
		return out, stats.ErrTooFew
	}
	var err error
	if m.Kind == KindQuantile {
		sort.Float64s(y)
		out.mean = stats.QuantileOf(y, m.Quantile)
		out.est, err = stats.Quantile(y, m.Quantile)
		return out, err
	}
	var mom stats.Moments
	if m.Cluster != "" {
		one := make([]float64, len(y))
		for i := range one {
			one[i] = 1
		}
		if d == nil {
			d = one
		}
		sums := a.byCluster(m.Cluster, rows, y, d)
		mom = stats.MomentsOf(sums...)
		out.est, err = stats.Ratio(mom)
		out.mean = out.est.Mean
		return out, err
	}
	if m.Kind == KindRatio {
		mom = stats.MomentsOf(y, d)
		out.est, err = stats.Ratio(mom)
		out.mean = out.est.Mean
		return out, err
	}
	mom = stats.MomentsOf(y)
	out.mean = mom.Mean[0]
	out.est, err = stats.Mean(mom)
	if m.Kind == KindMean {
		out.heavy, out.skewed = shape(y, mom)
	}
	return out, err
}

// shape tells whether one unit makes more than a tenth of the variance, and whether the mean of so skewed a metric needs more than n
// units to be near normal (n < 355·skewness², Kohavi et al. 2014, "Seven Rules of Thumb").
func shape(y []float64, m stats.Moments) (heavy, skewed bool) {
	if len(y) < 50 || m.M2[0] == 0 {
		return false, false
	}
	top, cube := 0.0, 0.0
	for _, x := range y {
		d := x - m.Mean[0]
		top = max(top, d*d)
		cube += d * d * d
	}
	n := float64(len(y))
	skew := cube / n / math.Pow(m.M2[0]/n, 1.5)
	return top > 0.1*m.M2[0], n < 355*skew*skew
}

// byCluster sums the columns over the rows of each cluster; a row without a cluster is one of its own.
func (a *tableAnalysis) byCluster(column string, rows []int, columns ...[]float64) [][]float64 {
	labels := a.t.Labels[column]
	at := map[string]int{}
	out := make([][]float64, len(columns))
	for i, r := range rows {
		g, ok := at[labels[r]]
		if !ok || labels[r] == "" {
			g = len(out[0])
			at[labels[r]] = g
			for c := range out {
				out[c] = append(out[c], 0)
			}
		}
		for c := range out {
			out[c][g] += columns[c][i]
		}
	}
	return out
}

// adjust compares after regression on the covariates. A missing covariate is the mean of both arms, with an indicator of its own.
func (a *tableAnalysis) adjust(m TableMetric, values []float64, v int, keep []bool) (stats.Pair, error) {
	take := func(arm int) []int {
		var rows []int
		d := a.t.Numbers[m.Denominator]
		for _, r := range a.rows[arm] {
			if (keep == nil || keep[r]) && values[r] == values[r] && (d == nil || d[r] == d[r]) {
				rows = append(rows, r)
			}
		}
		return rows
	}
	arms := [2][]int{take(v), take(0)}
	var columns [2][][]float64
	add := func(f func(r int) float64) {
		for i, rows := range arms {
			col := make([]float64, len(rows))
			for j, r := range rows {
				col[j] = f(r)
			}
			columns[i] = append(columns[i], col)
		}
	}
	add(func(r int) float64 { return values[r] })
	if m.Kind == KindRatio {
		add(func(r int) float64 { return a.t.Numbers[m.Denominator][r] })
	}
	for _, name := range m.Covariates {
		z := a.t.Numbers[name]
		sum, n, missing := 0.0, 0.0, false
		for _, rows := range arms {
			for _, r := range rows {
				if z[r] == z[r] {
					sum, n = sum+z[r], n+1
				} else {
					missing = true
				}
			}
		}
		fallback := 0.0
		if n > 0 {
			fallback = sum / n
		}
		add(func(r int) float64 {
			if z[r] != z[r] {
				return fallback
			}
			return z[r]
		})
		if missing {
			add(func(r int) float64 {
				if z[r] != z[r] {
					return 1
				}
				return 0
			})
		}
	}
	return stats.Adjust(stats.MomentsOf(columns[0]...), stats.MomentsOf(columns[1]...), m.Kind == KindRatio)
}

// small adds the exact view of two proportions when an arm has fewer than ten successes or failures.
func (r *Result) small(t, c armView, alpha float64) {
	xt, xc := math.Round(t.mean*float64(t.n)), math.Round(c.mean*float64(c.n))
	if min(xt, float64(t.n)-xt, xc, float64(c.n)-xc) >= 10 {
		return
	}
	p, low, high := stats.MiettinenNurminen(int64(xt), t.n, int64(xc), c.n, alpha)
	r.Exact = &Exact{Method: "miettinen-nurminen", PValue: Num(p), Low: Num(low), High: Num(high)}
	r.code("small_count", true)
}

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

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
	Strata      string  // a column whose values are post-strata
	CapQuantile float64 // 0 means no cap
	Cluster     string
	Lower       bool    // lower is better
	Margin      float64 // a guardrail's relative margin; 0 means none
	Equivalence float64 // a difference within this share of the control does not matter; 0 means not asked
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
	MDE       float64 // gst: the relative effect that the test was planned for; 0 means unknown
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
	wide  judge             // the same at 2α, for equivalence
	final float64           // gst: the boundary of the last look
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
	if err := a.judges(); err != nil {
		return err
	}
	a.clips = map[int][]float64{}
	a.caps = make([]float64, len(a.plan.Metrics))
	for i, m := range a.plan.Metrics {
		a.cap(i, m)
	}
	return nil
}

// judges prepares the boundaries of this look.
func (a *tableAnalysis) judges() error {
	p := a.plan
	a.judge = judge{method: p.Inference, alpha: p.Alpha, seq: stats.Sequence{Alpha: p.Alpha, Tuning: p.Tuning}}
	a.wide = judge{method: p.Inference, alpha: 2 * p.Alpha, seq: stats.Sequence{Alpha: 2 * p.Alpha, Tuning: p.Tuning}}
	if p.Inference != GST {
		return nil
	}
	if p.Looks < 1 || p.Look < 1 || p.Look > p.Looks {
		return Invalid("look", "look %d of %d looks is not one of them", p.Look, p.Looks)
	}
	for _, j := range []*judge{&a.judge, &a.wide} {
		var err error
		if j.look, err = stats.NewLook(stats.EqualLooks(p.Looks, p.Look), min(j.alpha, 0.5)); err != nil {
			return Invalid("looks", "%v", err)
		}
	}
	bounds, err := stats.EqualLooks(p.Looks, p.Looks).Boundaries(p.Alpha)
	if err != nil {
		return Invalid("looks", "%v", err)
	}
	a.final = bounds[len(bounds)-1]
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
	if m.adjusts() && err == nil {
		r.Method = "lin"
		if s := raw.SE(); s > 0 {
			r.VarianceReduction = Num(1 - pair.SE()*pair.SE()/(s*s))
		}
	} else if err == nil {
		r.VarianceReduction = 0
	}
	if err == nil {
		a.extend(&r, m, pair)
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

package experiments

import (
	"math"
	"sort"

	"perennial/experiments/stats"
)

// comparer compares variants with the control from cells, stratified by the vector of assignment probabilities (statistics.md §6.7).
type comparer struct {
	control string
	cells   map[cellKey][]Cell
	specs   map[string]MetricSpec
}

// cappedSuffix marks the cells of a metric whose outliers were drawn in.
const cappedSuffix = "|capped"

type cellKey struct{ metric, variant, segment, day string }

func newComparer(control string, m *Measurement, specs []MetricSpec) *comparer {
	c := &comparer{control: control, cells: map[cellKey][]Cell{}, specs: map[string]MetricSpec{}}
	for _, cell := range m.Cells {
		k := cellKey{cell.Metric, cell.Variant, cell.Segment, cell.Day}
		c.cells[k] = append(c.cells[k], cell)
	}
	for _, s := range specs {
		c.specs[s.Key] = s
		c.specs[s.Key+cappedSuffix] = s
	}
	return c
}

// bare drops covariates.
func (c Cell) bare() stats.Moments {
	m := c.Moments
	k := len(m.Mean)
	keep := k - c.Covariates
	if keep == k {
		return m
	}
	out := stats.Moments{N: m.N, Mean: m.Mean[:keep], M2: make([]float64, keep*keep)}
	for i := range keep {
		copy(out.M2[i*keep:(i+1)*keep], m.M2[i*k:i*k+keep])
	}
	return out
}

// units is how many units a cell has.
func (c Cell) units() int64 {
	if c.Quantile != nil {
		return c.Quantile.N
	}
	return c.Moments.N
}

// compareQuantiles compares two quantiles; an arm too small for one has no variance.
func compareQuantiles(t, c stats.Estimate) (stats.Pair, error) {
	if t.Var == 0 && t.DF == 0 || c.Var == 0 && c.DF == 0 {
		return stats.Pair{T: t, C: c}, stats.ErrTooFew
	}
	return stats.Welch(t, c)
}

// quantile is the units and the value of a variant's quantile; strata are averaged by their units.
func (c *comparer) quantile(metric, variant, segment, day string) (n int64, value Num) {
	sum := 0.0
	for _, cell := range c.cells[cellKey{metric, variant, segment, day}] {
		if cell.Quantile != nil && cell.Quantile.N > 0 {
			n += cell.Quantile.N
			sum += float64(cell.Quantile.N) * cell.Quantile.Mean
		}
	}
	if n == 0 {
		return 0, None
	}
	return n, Num(sum / float64(n))
}

// total merges the strata of one variant.
func (c *comparer) total(metric, variant, segment, day string) stats.Moments {
	var m stats.Moments
	for _, cell := range c.cells[cellKey{metric, variant, segment, day}] {
		m = m.Merge(cell.bare())
	}
	return m
}

// pair compares one variant with the control, pooling strata that have both. adjusted regresses on the covariates.
func (c *comparer) pair(metric, variant, segment, day string, adjusted bool) (stats.Pair, error) {
	spec := c.specs[metric]
	control := map[string]Cell{}
	for _, cell := range c.cells[cellKey{metric, c.control, segment, day}] {
		control[cell.Stratum] = cell
	}
	var strata []stats.Stratum
	var n int64
	var fault error = stats.ErrTooFew
	for _, t := range c.cells[cellKey{metric, variant, segment, day}] {
		cc, ok := control[t.Stratum]
		if !ok {
			continue
		}
		var p stats.Pair
		var err error
		if adjusted {
			p, err = stats.Adjust(t.Moments, cc.Moments, spec.Kind == KindRatio)
		} else if t.Quantile != nil && cc.Quantile != nil {
			p, err = compareQuantiles(*t.Quantile, *cc.Quantile)
		} else {
			p, err = compareMoments(t.bare(), cc.bare(), spec.Kind)
		}
		if err != nil && err != stats.ErrZeroVariance {
			fault = err
			continue
		}
		units := t.units() + cc.units()
		n += units
		strata = append(strata, stats.Stratum{Pair: p, Weight: float64(units)})
	}
	if n == 0 {
		return stats.Pair{}, fault
	}
	for i := range strata {
		strata[i].Weight /= float64(n)
	}
	return stats.Stratified(strata)
}

// compareMoments compares two arms of one stratum.
func compareMoments(t, c stats.Moments, kind string) (stats.Pair, error) {
	estimate := stats.Mean
	if kind == KindRatio {
		estimate = stats.Ratio
	}
	te, err := estimate(t)
	if err != nil {
		return stats.Pair{T: te}, err
	}
	ce, err := estimate(c)
	if err != nil {
		return stats.Pair{C: ce}, err
	}
	return stats.Welch(te, ce)
}

// result fills one row. The judge decides which interval is valid.
func (c *comparer) result(j judge, metric, variant string, segment *Segment, day string) (Result, stats.Pair, error) {
	spec := c.specs[metric]
	r := blank(metric, shownKind(spec.Kind), variant)
	r.Segment = segment
	if spec.Lower {
		r.Direction = "down"
	}
	value := ""
	if segment != nil {
		value = segment.Value
	}
	t, cm := c.total(metric, variant, value, day), c.total(metric, c.control, value, day)
	r.N, r.NControl = t.N, cm.N
	r.Mean, r.MeanControl = meanOf(t, spec.Kind), meanOf(cm, spec.Kind)
	if spec.Kind == "quantile" {
		r.N, r.Mean = c.quantile(metric, variant, value, day)
		r.NControl, r.MeanControl = c.quantile(metric, c.control, value, day)
	}
	p, err := c.pair(metric, variant, value, day, false)
	j.fill(&r, p, err)
	if err == nil {
		r.VarianceReduction = 0
	}
	if r.N == 0 && r.NControl == 0 {
		code := NotImmature
		r.Reason = &code
	}
	if isShare(spec.Kind) && r.N > 0 && r.NControl > 0 {
		r.small(armView{n: t.N, mean: t.Mean[0]}, armView{n: cm.N, mean: cm.Mean[0]}, j.alpha)
	}
	return r, p, err
}

func isShare(kind string) bool {
	return kind == KindProportion || kind == "retention" || kind == "funnel"
}

// shownKind is the kind of CONTRACT §2 that a metric's value has.
func shownKind(kind string) string {
	if isShare(kind) {
		return KindProportion
	}
	if kind == "profit" {
		return KindMean
	}
	return kind
}

func meanOf(m stats.Moments, kind string) Num {
	switch {
	case m.N == 0:
		return None
	case kind != KindRatio:
		return Num(m.Mean[0])
	case m.Mean[1] == 0:
		return None
	}
	return Num(m.Mean[0] / m.Mean[1])
}

// segments returns the values of the segment dimension that a metric has, sorted.
func (c *comparer) segments(metric string) []string {
	seen := map[string]bool{}
	for k := range c.cells {
		if k.metric == metric && k.segment != "" && k.day == "" {
			seen[k.segment] = true
		}
	}
	values := make([]string, 0, len(seen))
	for s := range seen {
		values = append(values, s)
	}
	sortSegments(values)
	return values
}

// days returns the days of a metric's cumulative cells, in order.
func (c *comparer) days(metric string) []string {
	seen := map[string]bool{}
	for k := range c.cells {
		if k.metric == metric && k.day != "" && k.segment == "" {
			seen[k.day] = true
		}
	}
	days := make([]string, 0, len(seen))
	for d := range seen {
		days = append(days, d)
	}
	sort.Strings(days)
	return days
}

// series is the cumulative effect by day with a band that may be looked at every day.
func (c *comparer) series(metric, variant string, seq stats.Sequence) []SeriesPoint {
	var out []SeriesPoint
	for _, d := range c.days(metric) {
		p, err := c.pair(metric, variant, "", d, false)
		point := SeriesPoint{Metric: metric, Variant: variant, Day: d, N: p.T.N + p.C.N, Effect: None, Low: None, High: None}
		if err == nil {
			crit := seq.StudentMultiplier(float64(p.T.N+p.C.N), p.DF)
			point.Effect, point.Low, point.High = Num(p.Effect()), Num(p.Effect()-crit*p.SE()), Num(p.Effect()+crit*p.SE())
		}
		out = append(out, point)
	}
	return out
}

// iroi is Δprofit ÷ Δ(discount + contact cost) with Fieller's interval; ok is false when the cost interval covers 0.
func (c *comparer) iroi(variant string, crit float64) (value, low, high float64, ok bool) {
	var num, den, vNum, vDen, cov float64
	for side, v := range map[float64]string{1: variant, -1: c.control} {
		dp, cp, dc := c.total("_discount_profit", v, "", ""), c.total("_contact_profit", v, "", ""), c.total("_discount_contact", v, "", "")
		if dp.N < 2 || cp.N != dp.N || dc.N != dp.N {
			return 0, 0, 0, false
		}
		n := float64(dp.N)
		s := 1 / (n - 1) / n
		num += side * dp.Mean[1]
		den += side * (dp.Mean[0] + cp.Mean[0])
		vNum += dp.M2[3] * s
		vDen += (dc.M2[0] + dc.M2[3] + 2*dc.M2[1]) * s
		cov += (dp.M2[1] + cp.M2[1]) * s
	}
	if !(vDen > 0) || math.Abs(den) <= crit*math.Sqrt(vDen) {
		return 0, 0, 0, false
	}
	p := stats.Pair{T: stats.Estimate{Mean: num, Var: vNum}, C: stats.Estimate{Mean: den, Var: vDen}, Cov: cov}
	low, high, err := p.Relative(crit)
	if err != nil {
		return 0, 0, 0, false
	}
	if den < 0 { // Relative gives the sign of the effect; here the plain quotient is wanted
		low, high = -high, -low
	}
	return num / den, low + 1, high + 1, true
}

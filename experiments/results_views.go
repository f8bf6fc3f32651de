package experiments

import (
	"perennial/experiments/stats"
)

// segmentRows are the rows of a document that speak of a segment.
func (r *Results) segmentRows() []Result {
	var rows []Result
	for _, x := range r.Results {
		if x.Segment != nil {
			rows = append(rows, x)
		}
	}
	return rows
}

// segmented adds the rows of the asked dimension: Holm inside it, and the test of different effects.
func (j *judging) segmented(doc *Results) {
	if j.SegmentBy == "" {
		return
	}
	var tests []*Heterogeneity
	for _, s := range j.Specs {
		if s.Hidden {
			continue
		}
		var family []*Result
		var rows []Result
		for _, value := range j.c.segments(s.Key) {
			for _, v := range j.variants {
				r := j.compare(s.Key, v, j.alpha, &Segment{j.SegmentBy, value})
				rows = append(rows, r.Result)
			}
		}
		for i := range rows {
			family = append(family, &rows[i])
		}
		adjustP(family, "holm")
		for _, v := range j.variants {
			if h := heterogeneity(s.Key, v, j.SegmentBy, family); h != nil {
				tests = append(tests, h)
			}
		}
		doc.Results = append(doc.Results, rows...)
	}
	p := make([]float64, len(tests))
	for i, h := range tests {
		p[i] = float64(h.PValue)
	}
	for i, adjusted := range stats.Holm(p) {
		tests[i].PAdjusted = Num(adjusted)
		doc.Heterogeneity = append(doc.Heterogeneity, *tests[i])
	}
}

// sensitivity shows every effect after regression on what was known before exposure, and the primary one with its outliers drawn in.
func (j *judging) sensitivity(doc *Results) {
	for _, r := range doc.Results {
		if r.Segment != nil || !r.SE.Known() || r.SE == 0 {
			continue
		}
		row := func(choice string, p stats.Pair) *Sensitivity {
			var x Result
			(judge{method: Fixed, alpha: j.alpha}).fill(&x, p, nil)
			doc.Sensitivity = append(doc.Sensitivity, Sensitivity{Metric: r.Metric, Variant: r.Variant, Choice: choice, Effect: x.Effect, SE: x.SE, EffectLow: x.EffectLow, EffectHigh: x.EffectHigh,
				PValue: x.PValue, VarianceReduction: Num(1 - p.SE()*p.SE()/float64(r.SE)/float64(r.SE))})
			return &doc.Sensitivity[len(doc.Sensitivity)-1]
		}
		if cells := j.c.cells[cellKey{r.Metric, r.Variant, "", ""}]; len(cells) > 0 && cells[0].Covariates > 0 {
			if p, err := j.c.pair(r.Metric, r.Variant, "", "", true); err == nil {
				row("adjusted", p)
			}
		}
		if p, err := j.c.pair(r.Metric+cappedSuffix, r.Variant, "", "", false); err == nil {
			x, low, high := row("capped", p), Num(j.m.Soundness.Caps[0]), Num(j.m.Soundness.Caps[1])
			x.CapLow, x.CapHigh = &low, &high
		}
	}
}

package experiments

import (
	"math"
	"sort"

	"perennial/experiments/stats"
)

// Judge turns a measurement into the results document. For gst with q.Record it is the next look, returned for the caller to keep; without
// it, the last recorded look is shown as it was, and what came since stands beside as live. A look that cannot be recorded (nothing new,
// closed, no plan yet) is an *InvalidError.
func Judge(q Question, m *Measurement) (*Results, *Look, error) {
	j := newJudging(q, m)
	if j.method != GST {
		doc, err := j.document()
		return doc, nil, err
	}
	if q.Record {
		if err := j.nextLook(); err != nil {
			return nil, nil, err
		}
		doc, err := j.document()
		if err != nil {
			return nil, nil, err
		}
		j.next.Results, j.next.Crossed = doc, doc.State.Crossed
		return doc, j.next, nil
	}
	j.method = noMethod
	live, err := j.document()
	if err != nil || len(q.Looks) == 0 {
		return live, nil, err
	}
	last := q.Looks[len(q.Looks)-1]
	doc := *last.Results
	doc.Live = &Live{Source: m.Source, Results: live.Results}
	doc.Series, doc.SQL, doc.Revision = live.Series, live.SQL, q.Experiment.Revision
	if q.SegmentBy != "" {
		doc.Results = append(append([]Result(nil), doc.Results...), live.segmentRows()...)
		doc.Heterogeneity = live.Heterogeneity
	}
	return &doc, nil, nil
}

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

// judging is one call of Judge.
type judging struct {
	Question
	m        *Measurement
	c        *comparer
	plan     Plan
	method   string
	alpha    float64
	primary  string
	variants []string // without the control
	maxUnits int64    // 0 when unknown
	next     *Look
	broken   string // why the data forbid a judgement beside the split and two arms: leak, stale, silent
}

func newJudging(q Question, m *Measurement) *judging {
	e := q.Experiment
	j := &judging{Question: q, m: m, c: newComparer(e.Control, m, q.Specs), plan: e.Plan, method: e.Plan.Inference, alpha: e.Plan.Alpha, primary: primaryOf(e)}
	if j.method == "" {
		j.method = GST
	}
	if j.alpha == 0 {
		j.alpha = 0.05
	}
	if j.plan.Power == 0 {
		j.plan.Power = 0.8
	}
	if j.plan.Looks == 0 {
		j.plan.Looks = 14
	}
	if j.plan.HorizonDays == 0 {
		j.plan.HorizonDays = 14
	}
	for _, v := range e.Variants {
		if v.Key != e.Control {
			j.variants = append(j.variants, v.Key)
		}
	}
	j.maxUnits = j.plannedUnits()
	return j
}

// mde is the relative effect that the plan wants to see.
func (j *judging) mde() float64 {
	if j.plan.MDE == nil || *j.plan.MDE == 0 {
		return 0.05
	}
	return math.Abs(*j.plan.MDE)
}

// pooled is the blinded summary of a metric: all variants together, so that it says nothing about their difference.
func (j *judging) pooled(metric string) stats.Moments {
	all := j.c.total(metric, j.c.control, "", "")
	for _, v := range j.variants {
		all = all.Merge(j.c.total(metric, v, "", ""))
	}
	return all
}

// wanted is the absolute effect of the primary metric that the plan wants to see; NaN when nothing is known yet. For profit it is
// mde × revenue per unit × margin rate: profit itself may be near 0.
func (j *judging) wanted() float64 {
	if j.primary == "profit" {
		revenue := j.pooled("revenue")
		if revenue.N == 0 || revenue.Mean[0] <= 0 {
			return math.NaN()
		}
		return j.mde() * revenue.Mean[0] * j.MarginRate
	}
	if j.HistoryMean != nil && *j.HistoryMean != 0 {
		return j.mde() * math.Abs(*j.HistoryMean)
	}
	all := meanOf(j.pooled(j.primary), j.c.specs[j.primary].Kind)
	if !all.Known() || all == 0 {
		return math.NaN()
	}
	return j.mde() * math.Abs(float64(all))
}

// plannedUnits is max_units: the plan's, or that of the first recorded look (frozen there), or the sample size for mde and power from the
// blinded variance. 0 when there is nothing to plan with.
func (j *judging) plannedUnits() int64 {
	if j.plan.MaxUnits != nil {
		return *j.plan.MaxUnits
	}
	if len(j.Looks) > 0 && j.Looks[0].MaxUnits > 0 {
		return j.Looks[0].MaxUnits
	}
	delta := j.wanted()
	sd := math.NaN()
	if j.HistorySD != nil {
		sd = *j.HistorySD
	} else if all := j.pooled(j.primary); all.N >= 2 {
		if e, err := estimateOf(all, j.c.specs[j.primary].Kind); err == nil {
			sd = math.Sqrt(e.Var * float64(all.N))
		}
	}
	if !(delta > 0) || !(sd > 0) || len(j.variants) == 0 {
		return 0
	}
	arms := float64(len(j.variants))
	z := stats.NormalUpper(j.alpha/2/arms) + stats.NormalUpper(1-j.plan.Power)
	n := z * z * 2 * sd * sd / (delta * delta) * (arms + 1)
	if j.method == GST {
		n *= stats.Inflation(j.plan.Looks, j.alpha/arms, j.plan.Power, stats.OBrienFleming)
	}
	if n > 1e15 {
		return 0
	}
	return int64(math.Ceil(n))
}

func estimateOf(m stats.Moments, kind string) (stats.Estimate, error) {
	if kind == KindRatio {
		return stats.Ratio(m)
	}
	return stats.Mean(m)
}

// ended tells whether the pre-declared end has passed.
func (j *judging) ended() bool {
	e := j.Experiment
	return e.EndAt != nil && !j.m.Source.AsOf.Before(*e.EndAt)
}

// nextLook prepares the clocks of the look to be recorded.
func (j *judging) nextLook() error {
	matured := j.m.Source.Matured
	n := &Look{Number: len(j.Looks) + 1, At: j.Now, Matured: matured, Information: map[string]float64{}, MaxUnits: j.maxUnits}
	if j.Experiment.Status != Running {
		return Invalid("status", "is %s; only a running experiment records looks", j.Experiment.Status)
	}
	if len(j.Looks) > 0 {
		last := j.Looks[len(j.Looks)-1]
		if last.Closing {
			return Invalid("look", "the plan ended with look %d; later numbers are descriptive", last.Number)
		}
		if matured <= last.Matured {
			return Invalid("look", "no unit has matured since look %d", last.Number)
		}
		n.Fraction = last.Fraction
	}
	if matured == 0 {
		return Invalid("look", "no unit has matured yet")
	}
	if j.maxUnits > 0 {
		n.Fraction = math.Max(n.Fraction, math.Min(1, float64(matured)/float64(j.maxUnits)))
	} else if !j.ended() {
		return Invalid("plan.max_units", "cannot be derived yet (no_history): set it, or wait for units that buy")
	}
	if n.Fraction >= 1 || j.ended() {
		n.Fraction, n.Closing = 1, true
	}
	j.next = n
	return nil
}

// design is the history of looks of one metric and variant: the recorded ones, and the one being recorded.
func (j *judging) design(metric, variant string, spending stats.Spending, oneSided bool, p stats.Pair) stats.Design {
	d := stats.Design{Spending: spending, OneSided: oneSided}
	key := metric + "/" + variant
	info := 0.0
	for _, l := range j.Looks {
		v, ok := l.Information[key]
		if !ok {
			continue
		}
		info = math.Max(info, v)
		d.Fraction, d.Information = append(d.Fraction, l.Fraction), append(d.Information, info)
	}
	n := float64(p.T.N + p.C.N)
	info = math.Max(info, n*n*p.SE()*p.SE())
	d.Fraction, d.Information = append(d.Fraction, j.next.Fraction), append(d.Information, info)
	j.next.Information[key] = info
	return d
}

// judgeFor is the judge of one metric and variant at a level.
func (j *judging) judgeFor(metric, variant string, alpha float64, p stats.Pair, ok bool) judge {
	out := judge{method: j.method, alpha: alpha, seq: stats.Sequence{Alpha: alpha, Tuning: float64(j.maxUnits)}}
	if j.plan.MaxUnits == nil {
		out.seq.Tuning = 5000 // a tuning must be fixed before the data
	}
	if j.method == GST && ok {
		look, err := stats.NewLook(j.design(metric, variant, stats.OBrienFleming, false, p), alpha)
		if err != nil {
			out.method = noMethod
			return out
		}
		out.look = look
	}
	return out
}

// row is a result and the pair behind it.
type row struct {
	Result
	pair stats.Pair
	ok   bool
}

// compare fills the row of a metric and variant at level alpha.
func (j *judging) compare(metric, variant string, alpha float64, segment *Segment) row {
	value := ""
	if segment != nil {
		value = segment.Value
	}
	p, err := j.c.pair(metric, variant, value, "", false)
	var g judge
	if segment == nil {
		g = j.judgeFor(metric, variant, alpha, p, err == nil)
	} else { // segments are read at the fixed horizon: they never decide
		g = judge{method: Fixed, alpha: alpha}
	}
	r, p, err := j.c.result(g, metric, variant, segment, "")
	return row{r, p, err == nil}
}

// document assembles everything.
func (j *judging) document() (*Results, error) {
	e := j.Experiment
	doc := &Results{Experiment: e.Key, Revision: e.Revision, Currency: j.Currency, Simulated: e.Simulated, Source: j.m.Source, Profit: []Profit{}, SQL: j.m.SQL}
	doc.Analysis = Analysis{Schema: AnalysisSchema, Alpha: j.alpha, Inference: e.Plan.Inference, Control: e.Control, Arms: j.arms(), Results: []Result{}, Warnings: []Warning{}}
	if doc.Inference == "" {
		doc.Inference = GST
	}
	var twoArmBad bool
	var twoArm int64
	doc.SRM = j.split()
	doc.Health, twoArm, twoArmBad = j.health(doc.SRM)
	rows := j.rows()
	profit := map[string]row{}
	for _, v := range j.variants {
		profit[v] = j.profitRow(rows, v)
		doc.Profit = append(doc.Profit, j.money(profit[v], v))
	}
	for i := range rows {
		if !j.c.specs[rows[i].Metric].Hidden {
			doc.Results = append(doc.Results, rows[i].Result)
		}
	}
	j.segmented(doc)
	doc.Waterfall = j.waterfall()
	doc.Redemption = j.redemption()
	doc.State = j.state()
	j.sensitivity(doc)
	for _, v := range j.variants {
		doc.Series = append(doc.Series, j.c.series(j.primary, v, j.alpha, j.judgeFor("", "", j.alpha, stats.Pair{}, false).seq.Tuning)...)
	}
	ev := j.evidence(rows, doc, twoArm, twoArmBad)
	doc.Decision = ev.decide()
	j.absorb(doc, ev)
	doc.Warnings = explain(j.warnings(doc, rows, twoArm))
	return doc, nil
}

// rows are all metrics and variants: primary first, with roles and adjusted p-values.
func (j *judging) rows() []row {
	var rows []row
	role := map[string]string{}
	for _, s := range j.Experiment.Metrics.Secondary {
		role[s] = RoleSecondary
	}
	guard := map[string]Guardrail{}
	for _, g := range j.Experiment.Metrics.Guardrails {
		role[g.Metric], guard[g.Metric] = RoleGuardrail, g
	}
	role[j.primary] = RolePrimary
	for _, s := range j.Specs {
		if s.Hidden && s.Key != "profit" {
			continue
		}
		for _, v := range j.variants {
			r := j.compare(s.Key, v, j.alpha, nil)
			r.Role = role[s.Key]
			if g, ok := guard[s.Key]; ok && r.ok {
				r.NonInferior = j.guardrail(g, s, v, r)
			}
			if s.Key == j.primary && r.ok {
				r.Bayes = j.belief(r)
			}
			rows = append(rows, r)
		}
	}
	adjust := func(which, how string) {
		var family []*Result
		for i := range rows {
			if rows[i].Role == which {
				family = append(family, &rows[i].Result)
			}
		}
		adjustP(family, how)
	}
	adjust(RolePrimary, "holm")
	adjust(RoleSecondary, "bh")
	order := map[string]int{RolePrimary: 0, RoleSecondary: 1, RoleGuardrail: 2, "": 3}
	sort.SliceStable(rows, func(a, b int) bool { return order[rows[a].Role] < order[rows[b].Role] })
	return rows
}

// guardrail tests harm and non-inferiority; harm spends α·t² over the looks.
func (j *judging) guardrail(g Guardrail, s MetricSpec, variant string, r row) *NonInferior {
	alpha, margin := g.Alpha, g.Margin
	if alpha == 0 {
		alpha = 0.025
	}
	if margin == 0 {
		margin = s.Margin
	}
	var harm func(z float64) float64
	switch j.method {
	case GST:
		if look, err := stats.NewLook(j.design(s.Key, variant, stats.Quadratic, true, r.pair), alpha); err == nil {
			harm = look.P
		}
	case ConfSeq:
		n := float64(r.pair.T.N + r.pair.C.N)
		harm = func(z float64) float64 { return stats.Sequence{Alpha: alpha}.OneSidedP(z, n) }
	}
	return nonInferior(r.pair, margin, alpha, s.Lower, harm)
}

// belief is the Bayesian line: a weak proper prior N(0, τ²) with τ = 30 % of the metric's level (the mde where that is more). For talk, never for
// stopping.
func (j *judging) belief(r row) *Bayes {
	tau := j.wanted() * math.Max(1, 0.3/j.mde())
	if !(tau > 0) || !(r.pair.SE() > 0) {
		return nil
	}
	mean, sd := shrink(r.pair.Effect(), r.pair.SE(), tau)
	gain, loss := stats.ExpectedLoss(mean, sd)
	b := &Bayes{ChanceToBeat: Num(stats.NormalCDF(mean / sd)), LossIfShip: Num(loss), LossIfKeep: Num(gain), Shrunk: Num(mean)}
	if j.c.specs[j.primary].Lower {
		b.ChanceToBeat, b.LossIfShip, b.LossIfKeep = 1-b.ChanceToBeat, b.LossIfKeep, b.LossIfShip
	}
	return b
}

// shrink is the posterior mean and sd of an effect under a N(0, τ²) prior.
func shrink(effect, se, tau float64) (mean, sd float64) {
	w := tau * tau / (tau*tau + se*se)
	return effect * w, se * math.Sqrt(w)
}

func (j *judging) profitRow(rows []row, variant string) row {
	for _, r := range rows {
		if r.Metric == "profit" && r.Variant == variant {
			return r
		}
	}
	return j.compare("profit", variant, j.alpha, nil)
}

// money is the profit line of a variant.
func (j *judging) money(r row, variant string) Profit {
	p := Profit{Variant: variant, EstimatedShare: j.estimatedShare(variant), PerUnit: r.Effect, Low: r.EffectLow, High: r.EffectHigh, PValue: r.PValue, Total: None, IROI: None, IROILow: None, IROIHigh: None, Reason: r.Reason}
	if r.Reason != nil && *r.Reason == NotControlNearZero {
		p.Reason = nil // only the relative lift is unbounded
	}
	if r.Effect.Known() {
		p.Total = r.Effect * Num(r.N)
	}
	if !r.ok {
		return p
	}
	if v, low, high, ok := j.c.iroi(variant, stats.StudentUpper(j.alpha/2, r.pair.DF)); ok {
		p.IROI, p.IROILow, p.IROIHigh = Num(v), Num(low), Num(high)
	}
	return p
}

// waterfall is the parts of profit per matured unit of each variant.
func (j *judging) waterfall() map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for v, parts := range j.m.Waterfall {
		n := j.c.total("profit", v, "", "").N
		if n == 0 {
			continue
		}
		out[v] = map[string]float64{}
		for name, sum := range parts {
			out[v][name] = sum / float64(n)
		}
	}
	return out
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

// state is where the sequential plan stands.
func (j *judging) state() State {
	s := State{Look: len(j.Looks), Looks: j.plan.Looks, Information: None, Boundary: None}
	if j.maxUnits > 0 {
		n := j.maxUnits
		s.MaxUnits = &n
		s.Information = Num(math.Min(1, float64(j.m.Source.Matured)/float64(j.maxUnits)))
	} else {
		code := "no_history"
		s.Reason = &code
	}
	switch {
	case j.method == GST && j.next != nil:
		s.Look, s.Closed = j.next.Number, j.next.Closing
		s.Information = Num(j.next.Fraction)
		if len(j.variants) > 0 {
			if p, err := j.c.pair(j.primary, j.variants[0], "", "", false); err == nil {
				if look, err := stats.NewLook(j.design(j.primary, j.variants[0], stats.OBrienFleming, false, p), j.alpha/float64(len(j.variants))); err == nil {
					s.Boundary = Num(look.Boundary())
				}
			}
		}
	case j.Experiment.Plan.Inference == Fixed || j.Experiment.Plan.Inference == ConfSeq:
		s.Closed = j.ended() || j.plan.MaxUnits != nil && j.m.Source.Matured >= *j.plan.MaxUnits
	}
	for _, l := range j.Looks {
		if l.Crossed != nil && s.Crossed == nil {
			s.Crossed = l.Crossed
		}
		s.Closed = s.Closed || l.Closing
	}
	return s
}

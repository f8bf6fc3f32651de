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
		doc.Series = append(doc.Series, j.c.series(j.primary, v, j.sequence(j.alpha))...)
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
				r.Bayes = weakBelief(r.pair, j.priorSD(), s.Lower)
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
		harm = func(z float64) float64 { return j.sequence(alpha).OneSidedP(z, n) }
	}
	return nonInferior(r.pair, margin, alpha, s.Lower, harm)
}

// priorSD is the τ of the weak proper prior N(0, τ²) of the primary effect: 30 % of the metric's level, the mde where that is more. For talk, never for stopping.
func (j *judging) priorSD() float64 { return j.wanted() * math.Max(1, 0.3/j.mde()) }

// shrink is the posterior mean and sd of an effect under a N(0, τ²) prior.
func shrink(effect, se, tau float64) (mean, sd float64) {
	w := tau * tau / (tau*tau + se*se)
	return effect * w, se * math.Sqrt(w)
}

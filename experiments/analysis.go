package experiments

import (
	"encoding/json"
	"errors"
	"math"

	"perennial/experiments/stats"
)

// AnalysisSchema is the name of the document's form.
const AnalysisSchema = "perennial.analysis/1"

// Reasons for a number that is null (CONTRACT §2).
const (
	NotTooFew          = "too_few"
	NotZeroVariance    = "zero_variance"
	NotControlNearZero = "control_near_zero"
	NotMissingVariance = "missing_variance"
	NotImmature        = "immature"
	NotNoLook          = "no_look" // gst: no look has been recorded yet
)

// Methods of inference.
const (
	Fixed    = "fixed"
	GST      = "gst"
	ConfSeq  = "confseq"
	noMethod = "none"
)

// Kinds of metric.
const (
	KindMean       = "mean"
	KindProportion = "proportion"
	KindRatio      = "ratio"
	KindQuantile   = "quantile"
)

// Num is a number that is null in JSON when it was not computed (NaN or infinite).
type Num float64

// None is the Num that is null.
var None = Num(math.NaN())

// Known tells whether the number was computed.
func (n Num) Known() bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

// MarshalJSON writes all digits (shortest round-trip), or null.
func (n Num) MarshalJSON() ([]byte, error) {
	if !n.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a number or null.
func (n *Num) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*n = None
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// Analysis is the document of CONTRACT §2: what an A/B table or an experiment says.
type Analysis struct {
	Schema        string          `json:"schema"`
	Source        TableSource     `json:"source"`
	Alpha         float64         `json:"alpha"`
	Inference     string          `json:"inference"`
	Control       string          `json:"control"`
	Arms          []Arm           `json:"arms"`
	SRM           SRM             `json:"srm"`
	Results       []Result        `json:"results"`
	Heterogeneity []Heterogeneity `json:"heterogeneity,omitempty"`
	Warnings      []Warning       `json:"warnings"`
}

// TableSource is where a table's numbers come from. Rejected rows hold something that cannot be read; units in two arms are left out.
type TableSource struct {
	Rows         int64 `json:"rows"`
	RowsRejected int64 `json:"rows_rejected"`
	Units        int64 `json:"units"`
	UnitsLeftOut int64 `json:"units_left_out,omitempty"`
}

// Arm is how many units an arm has and which share was planned.
type Arm struct {
	Variant      string  `json:"variant"`
	Units        int64   `json:"units"`
	PlannedShare float64 `json:"planned_share"`
}

// SRM is the test of the split against its plan. SequentialP (results only) is valid at every look and gives the verdict there.
type SRM struct {
	Statistic   Num    `json:"statistic"`
	DF          Num    `json:"df"`
	PValue      Num    `json:"p_value"`
	SequentialP *Num   `json:"sequential_p,omitempty"`
	Verdict     string `json:"verdict"` // ok, warning, fail; unknown when there is nothing to compare
}

// Segment names a part of the units.
type Segment struct {
	Dimension string `json:"dimension"`
	Value     string `json:"value"`
}

// Result is one metric of one variant against the control, for all units or for a segment.
type Result struct {
	Metric      string   `json:"metric"`
	Kind        string   `json:"kind"`
	Variant     string   `json:"variant"`
	Segment     *Segment `json:"segment"`
	Role        string   `json:"role,omitempty"`
	Direction   string   `json:"direction,omitempty"` // down: lower is better
	N           int64    `json:"n"`
	NControl    int64    `json:"n_control"`
	Mean        Num      `json:"mean"`
	MeanControl Num      `json:"mean_control"`

	Effect     Num `json:"effect"`
	SE         Num `json:"se"`
	DF         Num `json:"df"`
	Statistic  Num `json:"statistic"`
	PValue     Num `json:"p_value"`
	EffectLow  Num `json:"effect_low"`
	EffectHigh Num `json:"effect_high"`
	RelEffect  Num `json:"rel_effect"`
	RelLow     Num `json:"rel_low"`
	RelHigh    Num `json:"rel_high"`

	PAdjusted         Num               `json:"p_adjusted"`
	VarianceReduction Num               `json:"variance_reduction"`
	Method            string            `json:"method"`
	Reason            *string           `json:"reason"`
	Warnings          []string          `json:"warnings"`
	Fixed             *FixedResult      `json:"fixed,omitempty"` // beside gst and confseq
	Exact             *Exact            `json:"exact,omitempty"` // for small counts
	NonInferior       *NonInferior      `json:"non_inferior,omitempty"`
	Bayes             *Bayes            `json:"bayes,omitempty"`
	Equivalent        *Equivalent       `json:"equivalent,omitempty"`
	ConditionalPower  *ConditionalPower `json:"conditional_power,omitempty"` // gst, before the last look
	Cap               *Num              `json:"cap,omitempty"`               // the pooled value at which the metric was cut
	Uncapped          *FixedResult      `json:"uncapped,omitempty"`          // what it would be without
	Shrunk            *Num              `json:"shrunk_effect,omitempty"`     // segments: pulled towards their common mean, for reading a forest plot
}

// FixedResult is the fixed-horizon reading of the same numbers.
type FixedResult struct {
	Effect     *Num `json:"effect,omitempty"`
	SE         Num  `json:"se"`
	PValue     Num  `json:"p_value"`
	EffectLow  Num  `json:"effect_low"`
	EffectHigh Num  `json:"effect_high"`
}

// Exact is a small-sample test of two proportions.
type Exact struct {
	Method string `json:"method"`
	PValue Num    `json:"p_value"`
	Low    Num    `json:"low"`
	High   Num    `json:"high"`
}

// NonInferior is a guardrail's test of m_T − (1 ∓ margin)·m_C, one-sided at Alpha; Verdict is pass, harm or open.
type NonInferior struct {
	Margin    float64 `json:"margin"`
	Alpha     float64 `json:"alpha"`
	Statistic Num     `json:"statistic"`
	PValue    Num     `json:"p_value"`
	HarmP     Num     `json:"harm_p_value"`
	Verdict   string  `json:"verdict"`
}

// Equivalent is the question whether a difference matters: the interval of level 1 − 2α against ± Bound. Verdict is equivalent, different or open.
type Equivalent struct {
	Bound   Num    `json:"bound"`
	Low     Num    `json:"low"`
	High    Num    `json:"high"`
	Verdict string `json:"verdict"`
}

// ConditionalPower is the chance that the test ends significant: if the effect seen so far goes on, and if the planned one is true.
type ConditionalPower struct {
	Trend   Num `json:"trend"`
	Planned Num `json:"planned"`
}

// Bayes is the view for talk: chance that the variant is better, and expected loss per unit if it is shipped and if it is not.
type Bayes struct {
	ChanceToBeat Num `json:"chance_to_beat"`
	LossIfShip   Num `json:"expected_loss_if_shipped"`
	LossIfKeep   Num `json:"expected_loss_if_kept"`
	Shrunk       Num `json:"shrunk_effect"`
}

// Heterogeneity tests whether the effect differs between the segments of a dimension (Q = Σ (τₖ − τ̄)²/Vₖ).
type Heterogeneity struct {
	Metric    string `json:"metric"`
	Variant   string `json:"variant"`
	Dimension string `json:"dimension"`
	Statistic Num    `json:"statistic"`
	DF        Num    `json:"df"`
	PValue    Num    `json:"p_value"`
	PAdjusted Num    `json:"p_adjusted"`
	TrendP    *Num   `json:"trend_p_value,omitempty"` // slope over numbered segments, such as deciles
}

// Warning explains a warning code in words.
type Warning struct {
	Code   string `json:"code"`
	Detail Text   `json:"detail"`
}

// judge turns compared arms into the numbers that are valid for the chosen way of looking.
type judge struct {
	method string
	alpha  float64
	look   *stats.Look    // gst
	seq    stats.Sequence // confseq
}

// reasonOf is the code of an error of stats.
func reasonOf(err error) *string {
	var code string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, stats.ErrTooFew):
		code = NotTooFew
	case errors.Is(err, stats.ErrZeroVariance), errors.Is(err, stats.ErrSingular):
		code = NotZeroVariance
	case errors.Is(err, stats.ErrControlNearZero):
		code = NotControlNearZero
	default:
		code = NotMissingVariance
	}
	return &code
}

// blank is a result with every number null.
func blank(metric, kind, variant string) Result {
	return Result{Metric: metric, Kind: kind, Variant: variant, Mean: None, MeanControl: None, Effect: None, SE: None, DF: None, Statistic: None, PValue: None,
		EffectLow: None, EffectHigh: None, RelEffect: None, RelLow: None, RelHigh: None, PAdjusted: None, VarianceReduction: None, Method: noMethod, Warnings: []string{}}
}

// fill writes effect, interval, p and relative interval of a pair. err is what comparing gave; the pair holds what is known all the same.
func (j judge) fill(r *Result, p stats.Pair, err error) {
	r.Method = "welch"
	if err != nil {
		r.Reason = reasonOf(err)
		if errors.Is(err, stats.ErrZeroVariance) { // the difference itself is known
			r.Effect, r.SE = Num(p.Effect()), 0
			r.relative(p)
		}
		return
	}
	r.Effect, r.SE, r.DF, r.Statistic = Num(p.Effect()), Num(p.SE()), Num(p.DF), Num(p.T0())
	fixed := stats.StudentUpper(j.alpha/2, p.DF)
	crit, pv := fixed, stats.StudentTwoSided(p.T0(), p.DF)
	switch j.method {
	case GST:
		crit, pv = p.Critical(j.look.Boundary()), j.look.P(p.Z())
	case noMethod: // a sequential test before its first look: nothing to show but the fixed reading
		code := NotNoLook
		r.Reason = &code
	case ConfSeq:
		n := float64(p.T.N + p.C.N)
		crit, pv = j.seq.StudentMultiplier(n, p.DF), j.seq.StudentP(p.T0(), n, p.DF)
	}
	if j.method != Fixed {
		r.Fixed = &FixedResult{SE: r.SE, PValue: Num(stats.StudentTwoSided(p.T0(), p.DF)), EffectLow: Num(p.Effect() - fixed*p.SE()), EffectHigh: Num(p.Effect() + fixed*p.SE())}
	}
	if j.method == noMethod {
		r.relative(p)
		return
	}
	r.PValue, r.EffectLow, r.EffectHigh = Num(pv), Num(p.Effect()-crit*p.SE()), Num(p.Effect()+crit*p.SE())
	r.PAdjusted = r.PValue
	r.relative(p)
	low, high, err := p.Relative(crit)
	if err != nil {
		r.Reason = reasonOf(err)
		return
	}
	r.RelLow, r.RelHigh = Num(low), Num(high)
}

func (r *Result) relative(p stats.Pair) {
	if p.C.Mean == 0 {
		return
	}
	r.RelEffect = Num(p.Effect() / math.Abs(p.C.Mean))
}

// nonInferior judges a guardrail on the linear statistic m_T − (1 − margin)·m_C (or, where lower is better, (1 + margin)·m_C − m_T):
// linear, so that a control near zero does no harm (statistics.md §6).
func nonInferior(p stats.Pair, margin, alpha float64, lower bool, harm func(z float64) float64) *NonInferior {
	g := &NonInferior{Margin: margin, Alpha: alpha, Statistic: None, PValue: None, HarmP: None, Verdict: "open"}
	shift, sign := -margin, 1.0
	if lower {
		shift, sign = margin, -1
	}
	if p.C.Mean < 0 {
		shift = -shift
	}
	k := 1 + shift
	v := p.T.Var + k*k*p.C.Var - 2*k*p.Cov
	if !(v > 0) || !(p.DF > 0) {
		return g
	}
	df := v * v / (p.T.Var*p.T.Var/p.T.DF + k*k*k*k*p.C.Var*p.C.Var/p.C.DF)
	t := sign * (p.T.Mean - k*p.C.Mean) / math.Sqrt(v)
	g.Statistic, g.PValue, g.HarmP = Num(t), Num(stats.StudentSF(t, df)), Num(stats.StudentSF(-t, df))
	if harm != nil {
		g.HarmP = Num(harm(-t))
	}
	switch {
	case float64(g.PValue) < alpha:
		g.Verdict = "pass"
	case float64(g.HarmP) < alpha:
		g.Verdict = "harm"
	}
	return g
}

// adjustP writes p_adjusted over the results of a family; guardrails are the caller's to leave out.
func adjustP(family []*Result, how string) {
	p := make([]float64, len(family))
	for i, r := range family {
		p[i] = float64(r.PValue)
	}
	switch how {
	case "holm":
		p = stats.Holm(p)
	case "bh":
		p = stats.BenjaminiHochberg(p)
	}
	for i, r := range family {
		r.PAdjusted = Num(p[i])
	}
}

// testSplit is the chi-square test of counts against planned shares.
func testSplit(arms []Arm) SRM {
	counts, weights := make([]int64, len(arms)), make([]float64, len(arms))
	for i, a := range arms {
		counts[i], weights[i] = a.Units, a.PlannedShare
	}
	x, df, p, err := stats.SRM(counts, weights)
	if err != nil {
		return SRM{Statistic: None, DF: None, PValue: None, Verdict: "unknown"}
	}
	return SRM{Statistic: Num(x), DF: Num(df), PValue: Num(p), Verdict: srmVerdict(p)}
}

// srmVerdict: ok p >= 0.01, warning, fail p < 0.001 (CONTRACT §2).
func srmVerdict(p float64) string {
	switch {
	case p < 0.001:
		return "fail"
	case p < 0.01:
		return "warning"
	}
	return "ok"
}

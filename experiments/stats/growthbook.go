package stats

import (
	"errors"
	"math"
)

// GrowthBookCase is one comparison as GrowthBook's statistics library (gbstats) receives it: sums, not rows. Answer gives its answers with
// its own formulas and conventions, so that people who move can compare side by side to the last digits. Nothing else here uses them:
// our lift interval is Fieller's, our proportions have n−1, our adjustment has a slope per arm.
type GrowthBookCase struct {
	ID     any `json:"id"`
	Metric struct {
		StatisticType       string  `json:"statistic_type"`
		MainMetricType      string  `json:"main_metric_type"`
		CovariateMetricType string  `json:"covariate_metric_type"`
		Inverse             bool    `json:"inverse"`
		PriorProper         bool    `json:"prior_proper"`
		PriorMean           float64 `json:"prior_mean"`
		PriorSD             float64 `json:"prior_stddev"`
		Quantile            float64 `json:"quantile_value"`
	} `json:"metric"`
	Variations     []GrowthBookSums `json:"variations"`
	DifferenceType string           `json:"difference_type"`
	Alpha          float64          `json:"alpha"`
	Tuning         float64          `json:"sequential_tuning_parameter"`
}

// GrowthBookSums is what is known of one variation. A nil sum of squares means that no variance can be formed.
type GrowthBookSums struct {
	N         float64  `json:"n"`
	Sum       float64  `json:"main_sum"`
	Squares   *float64 `json:"main_sum_squares"`
	X         float64  `json:"covariate_sum"`
	XX        float64  `json:"covariate_sum_squares"`
	XY        float64  `json:"main_covariate_sum_product"`
	D         float64  `json:"denominator_sum"`
	DD        float64  `json:"denominator_sum_squares"`
	YD        float64  `json:"main_denominator_sum_product"`
	D0        float64  `json:"denominator_pre_sum"`
	D0D0      float64  `json:"denominator_pre_sum_squares"`
	YD0       float64  `json:"main_post_denominator_pre_sum_product"`
	XD        float64  `json:"main_pre_denominator_post_sum_product"`
	XD0       float64  `json:"main_pre_denominator_pre_sum_product"`
	DD0       float64  `json:"denominator_post_denominator_pre_sum_product"`
	Quantile  float64  `json:"quantile"`
	QuantileN float64  `json:"quantile_n"`
	NStar     float64  `json:"quantile_nstar"`
	Lower     float64  `json:"quantile_lower"`
	Upper     float64  `json:"quantile_upper"`
}

// GrowthBookAnswer is one line of answers.
type GrowthBookAnswer struct {
	ID          any                 `json:"id"`
	SRM         *float64            `json:"srm_p"`
	Frequentist []GrowthBookVerdict `json:"frequentist"`
	Sequential  []GrowthBookVerdict `json:"sequential"`
	Bayesian    []GrowthBookBelief  `json:"bayesian"`
}

// GrowthBookVerdict is a frequentist or sequential answer.
type GrowthBookVerdict struct {
	Expected     *float64          `json:"expected"`
	CI           [2]*float64       `json:"ci"`
	PValue       *float64          `json:"pValue"`
	ErrorMessage *string           `json:"errorMessage"`
	Uplift       *GrowthBookUplift `json:"uplift"`
}

// GrowthBookBelief is a Bayesian answer.
type GrowthBookBelief struct {
	Expected     *float64          `json:"expected"`
	CI           [2]*float64       `json:"ci"`
	ChanceToWin  *float64          `json:"chanceToWin"`
	Risk         [2]*float64       `json:"risk"`
	ErrorMessage *string           `json:"errorMessage"`
	Uplift       *GrowthBookUplift `json:"uplift"`
}

// GrowthBookUplift is the normal distribution of the effect.
type GrowthBookUplift struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"stddev"`
}

// gbArm is one variation's estimate before comparison. Variances are per unit, covariances too.
type gbArm struct {
	n, rows          float64 // units, and units of the variance
	mean, raw        float64 // adjusted and unadjusted
	variance         float64 // of the adjusted value
	post, cross, pre float64 // of the unadjusted value, its covariance with the covariate, of the covariate
	covariate        float64
	adjusted         bool
}

// Answer compares every variation with the first.
func (c *GrowthBookCase) Answer() (*GrowthBookAnswer, error) {
	if len(c.Variations) < 2 {
		return nil, errors.New("a case needs at least two variations")
	}
	if !(c.Alpha > 0 && c.Alpha < 1) {
		c.Alpha = 0.05
	}
	counts, weights := make([]int64, len(c.Variations)), make([]float64, len(c.Variations))
	for i, v := range c.Variations {
		counts[i], weights[i] = int64(math.Round(v.N)), 1
	}
	out := &GrowthBookAnswer{ID: c.ID}
	if _, _, p, err := SRM(counts, weights); err == nil {
		out.SRM = &p
	}
	for i := 1; i < len(c.Variations); i++ {
		f, s, b := c.compare(c.Variations[0], c.Variations[i])
		out.Frequentist, out.Sequential, out.Bayesian = append(out.Frequentist, f), append(out.Sequential, s), append(out.Bayesian, b)
	}
	return out, nil
}

func (c *GrowthBookCase) compare(sa, sb GrowthBookSums) (f, s GrowthBookVerdict, b GrowthBookBelief) {
	est, v, df, control, err := c.effect(sa, sb)
	if err != nil {
		text := err.Error()
		f.ErrorMessage, s.ErrorMessage, b.ErrorMessage = &text, &text, &text
		return f, s, b
	}
	sd := math.Sqrt(v)
	num := func(x float64) *float64 { return &x }
	uplift := &GrowthBookUplift{est, sd}
	t := StudentUpper(c.Alpha/2, df)
	f = GrowthBookVerdict{Expected: num(est), CI: [2]*float64{num(est - t*sd), num(est + t*sd)}, PValue: num(StudentTwoSided(est/sd, df)), Uplift: uplift}
	seq := Sequence{Alpha: c.Alpha, Tuning: c.Tuning}
	n := sa.N + sb.N
	if c.Metric.StatisticType == "quantile_event" {
		n = sa.QuantileN + sb.QuantileN
	}
	half := seq.Multiplier(n) * sd
	s = GrowthBookVerdict{Expected: num(est), CI: [2]*float64{num(est - half), num(est + half)}, PValue: num(seq.P(est/sd, n)), Uplift: uplift}
	mean, post := est, v
	if c.Metric.PriorProper {
		m0, v0 := c.Metric.PriorMean, c.Metric.PriorSD*c.Metric.PriorSD
		if c.DifferenceType != "relative" {
			m0, v0 = m0*math.Abs(control), v0*control*control
		}
		precision := 1/v + 1/v0
		mean, post = (est/v+m0/v0)/precision, 1/precision
	}
	sd = math.Sqrt(post)
	z := NormalUpper(c.Alpha / 2)
	win, lose := ExpectedLoss(mean, sd)
	b = GrowthBookBelief{Expected: num(mean), CI: [2]*float64{num(mean - z*sd), num(mean + z*sd)}, ChanceToWin: num(NormalCDF(mean / sd)), Risk: [2]*float64{num(win), num(lose)}, Uplift: &GrowthBookUplift{mean, sd}}
	if c.Metric.Inverse {
		b.ChanceToWin, b.Risk = num(NormalSF(mean/sd)), [2]*float64{num(lose), num(win)}
	}
	return f, s, b
}

// ExpectedLoss returns E[max(δ, 0)] and E[max(−δ, 0)] of δ ~ N(mean, sd²): what is lost by keeping the control, and by shipping.
func ExpectedLoss(mean, sd float64) (ifKept, ifShipped float64) {
	if !(sd > 0) {
		return math.Max(mean, 0), math.Max(-mean, 0)
	}
	z := mean / sd
	// φ(z) + z·Φ(z) cancels for z far below 0: there use the asymptotic tail φ(z)/z²·(1 − 3/z² + …).
	gain := func(z float64) float64 {
		if z < -12 {
			u := 1 / (z * z)
			return NormalPDF(z) * u * (1 - u*(3-u*(15-u*(105-u*945))))
		}
		return NormalPDF(z) + z*NormalCDF(z)
	}
	return sd * gain(z), sd * gain(-z)
}

// effect returns estimate, its variance, Welch's degrees of freedom and the control's unadjusted mean.
func (c *GrowthBookCase) effect(sa, sb GrowthBookSums) (est, v, df, control float64, err error) {
	if sa.N < 2 || sb.N < 2 {
		return 0, 0, 0, 0, ErrTooFew
	}
	a, b, err := c.arms(sa, sb)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	va, vb := a.variance/a.rows, b.variance/b.rows
	if !(a.variance >= 0) || !(b.variance >= 0) {
		return 0, 0, 0, 0, ErrMissingVariance
	}
	if va+vb <= 0 {
		return 0, 0, 0, 0, ErrZeroVariance
	}
	df = (va + vb) * (va + vb) / (va*va/(a.rows-1) + vb*vb/(b.rows-1))
	if c.DifferenceType != "relative" {
		return b.mean - a.mean, va + vb, df, a.raw, nil
	}
	if a.raw == 0 {
		return 0, 0, 0, 0, ErrControlNearZero
	}
	est = (b.mean - a.mean) / math.Abs(a.raw)
	mc2 := a.raw * a.raw
	if !b.adjusted {
		return est, vb/mc2 + va*b.raw*b.raw/(mc2*mc2), df, a.raw, nil
	}
	r := b.raw / a.raw
	if c.Metric.StatisticType == "ratio_ra" { // gbstats differentiates the adjusted effect here, the unadjusted one for means
		r = (math.Abs(a.raw) + b.mean - a.mean) / math.Abs(a.raw)
	}
	v = b.variance/(b.rows*mc2) + (a.post*r*r-2*a.cross*r+a.pre)/(a.rows*mc2)
	return est, v, df, a.raw, nil
}

// arms forms both variations' estimates; with a covariate the slope is pooled over the two, as gbstats does.
func (c *GrowthBookCase) arms(sa, sb GrowthBookSums) (a, b gbArm, err error) {
	switch c.Metric.StatisticType {
	case "quantile_unit", "quantile_event":
		return c.quantile(sa), c.quantile(sb), nil
	}
	if sa.Squares == nil || sb.Squares == nil {
		return a, b, ErrMissingVariance
	}
	switch c.Metric.StatisticType {
	case "mean":
		return c.mean(sa), c.mean(sb), nil
	case "ratio":
		return gbRatio(sa), gbRatio(sb), nil
	case "mean_ra":
		a, b = c.mean(sa), c.mean(sb)
		a.fillMean(c, sa)
		b.fillMean(c, sb)
		binomial := c.Metric.CovariateMetricType == "binomial"
		n, x := sa.N+sb.N, sa.X+sb.X
		both := binomial && c.Metric.MainMetricType == "binomial"
		theta := gbCovariance(sa.XY+sb.XY, sa.Sum+sb.Sum, x, n, both) / gbVariance(x, sa.XX+sb.XX, n, binomial)
		a.adjust(theta)
		b.adjust(theta)
		return a, b, nil
	case "ratio_ra":
		a, b = gbRatio(sa), gbRatio(sb)
		a.fillRatio(sa)
		b.fillRatio(sb)
		theta := (a.cross + b.cross) / (a.pre + b.pre)
		a.adjust(theta)
		b.adjust(theta)
		return a, b, nil
	}
	return a, b, errors.New("statistic_type " + c.Metric.StatisticType + " is not known")
}

func (c *GrowthBookCase) mean(s GrowthBookSums) gbArm {
	m := s.Sum / s.N
	v := gbVariance(s.Sum, *s.Squares, s.N, c.Metric.MainMetricType == "binomial")
	return gbArm{n: s.N, rows: s.N, mean: m, raw: m, variance: v, post: v}
}

func gbVariance(sum, squares, n float64, binomial bool) float64 {
	if binomial {
		return sum / n * (1 - sum/n)
	}
	return (squares - sum*sum/n) / (n - 1)
}

func gbCovariance(xy, x, y, n float64, binomial bool) float64 {
	if binomial {
		return xy/n - x/n*y/n
	}
	return (xy - x*y/n) / (n - 1)
}

func gbRatio(s GrowthBookSums) gbArm {
	m, d := s.Sum/s.N, s.D/s.N
	v := gbVariance(s.Sum, *s.Squares, s.N, false)/(d*d) + gbVariance(s.D, s.DD, s.N, false)*m*m/(d*d*d*d) - 2*gbCovariance(s.YD, s.Sum, s.D, s.N, false)*m/(d*d*d)
	return gbArm{n: s.N, rows: s.N, mean: m / d, raw: m / d, variance: v, post: v}
}

// fillMean adds the covariate of a mean.
func (g *gbArm) fillMean(c *GrowthBookCase, s GrowthBookSums) {
	binomial := c.Metric.CovariateMetricType == "binomial"
	g.covariate = s.X / s.N
	g.pre = gbVariance(s.X, s.XX, s.N, binomial)
	g.cross = gbCovariance(s.XY, s.Sum, s.X, s.N, binomial && c.Metric.MainMetricType == "binomial")
}

// fillRatio adds the covariate of a ratio, itself a ratio: delta method on (M, D, M₀, D₀).
func (g *gbArm) fillRatio(s GrowthBookSums) {
	m, d, x, d0 := s.Sum/s.N, s.D/s.N, s.X/s.N, s.D0/s.N
	cov := func(xy, a, b float64) float64 { return gbCovariance(xy, a, b, s.N, false) }
	g.covariate = x / d0
	g.pre = gbVariance(s.X, s.XX, s.N, false)/(d0*d0) + gbVariance(s.D0, s.D0D0, s.N, false)*x*x/(d0*d0*d0*d0) - 2*cov(s.XD0, s.X, s.D0)*x/(d0*d0*d0)
	g.cross = cov(s.XY, s.Sum, s.X)/(d*d0) - cov(s.YD0, s.Sum, s.D0)*x/(d*d0*d0) - cov(s.XD, s.X, s.D)*m/(d*d*d0) + cov(s.DD0, s.D, s.D0)*m*x/(d*d*d0*d0)
}

// adjust subtracts θ times the covariate; θ = 0 or undefined leaves the arm as it is.
func (g *gbArm) adjust(theta float64) {
	if theta == 0 || math.IsNaN(theta) || math.IsInf(theta, 0) {
		return
	}
	g.adjusted = true
	g.mean -= theta * g.covariate
	g.pre *= theta * theta
	g.cross *= theta
	g.variance = g.post + g.pre - 2*g.cross
}

// quantile is the outer-interval variance with the cluster factor of an event quantile (reference statistics §2.7).
func (c *GrowthBookCase) quantile(s GrowthBookSums) gbArm {
	const z = 1.959963984540054
	sd := (s.Upper - s.Lower) / (2 * z)
	n := s.QuantileN
	v := s.NStar / n * (n - 1) * sd * sd
	g := gbArm{n: s.N, rows: n, mean: s.Quantile, raw: s.Quantile, variance: v}
	if n <= 3.84*math.Max(c.Metric.Quantile/(1-c.Metric.Quantile), (1-c.Metric.Quantile)/c.Metric.Quantile) {
		g.variance = math.NaN()
	}
	if c.Metric.StatisticType == "quantile_event" && s.Squares != nil {
		r := gbRatio(s)
		g.variance *= (r.variance / s.N) / (c.Metric.Quantile * (1 - c.Metric.Quantile) / n)
	}
	return g
}

package experiments

import (
	"fmt"
	"math"

	"perennial/experiments/stats"
)

// HoldoutResults says what everything that a holdout was kept out of was worth: users who were known before the period, split by their bucket alone,
// whatever they met in it (intention to treat). Intervals are those of a confidence sequence: they may be read every day.
type HoldoutResults struct {
	Schema       string        `json:"schema"`
	Holdout      string        `json:"holdout"`
	From         string        `json:"from"`
	Until        string        `json:"until"`
	Currency     string        `json:"currency"`
	Alpha        float64       `json:"alpha"`
	UnitsHeld    int64         `json:"units_held"`
	UnitsTreated int64         `json:"units_treated"`
	SRM          SRM           `json:"srm"`
	Results      []Result      `json:"results"`
	Profit       HoldoutProfit `json:"profit"`
	Series       []SeriesPoint `json:"series"`
	Text         Text          `json:"text"`
	SQL          []string      `json:"sql"`
}

// HoldoutProfit is incremental profit per treated user, and over all of them.
type HoldoutProfit struct {
	PerUnit        Num     `json:"per_unit"`
	Low            Num     `json:"low"`
	High           Num     `json:"high"`
	PValue         Num     `json:"p_value"`
	Total          Num     `json:"total"`
	TotalLow       Num     `json:"total_low"`
	TotalHigh      Num     `json:"total_high"`
	EstimatedShare Num     `json:"estimated_share"`
	Reason         *string `json:"reason"`
}

// The arms of a holdout's measurement.
const (
	HeldArm    = "holdout"
	TreatedArm = "treated"
)

// HoldoutQuestion is what JudgeHoldout needs beside the measurement of the arms "treated" and "holdout".
type HoldoutQuestion struct {
	Holdout     Holdout
	From, Until string // dates, Until exclusive
	Currency    string
	Alpha       float64 // 0 means 0.05
}

// JudgeHoldout turns the measurement of a period into the answer. Earlier points of the period, oldest first, make the series.
func JudgeHoldout(q HoldoutQuestion, m *Measurement, earlier []SeriesPoint) *HoldoutResults {
	if q.Alpha == 0 {
		q.Alpha = 0.05
	}
	r := &HoldoutResults{Schema: "perennial.holdout/1", Holdout: q.Holdout.Key, From: q.From, Until: q.Until, Currency: q.Currency, Alpha: q.Alpha, Results: []Result{}, Series: earlier, SQL: m.SQL}
	specs := []MetricSpec{{Key: "profit", Kind: "profit", Money: true}, {Key: "revenue", Kind: KindMean, Money: true}, {Key: "orders", Kind: KindMean}}
	c := newComparer(HeldArm, m, specs)
	for _, by := range m.ExposedBy {
		r.UnitsHeld, r.UnitsTreated = r.UnitsHeld+by[HeldArm], r.UnitsTreated+by[TreatedArm]
	}
	n := float64(r.UnitsHeld + r.UnitsTreated)
	r.SRM = SRM{Statistic: None, DF: None, PValue: None, Verdict: "unknown"}
	if x, df, p, err := stats.SRM([]int64{r.UnitsHeld, r.UnitsTreated}, []float64{q.Holdout.Share, 1 - q.Holdout.Share}); err == nil {
		r.SRM = SRM{Statistic: Num(x), DF: Num(df), PValue: Num(p), Verdict: srmVerdict(p)}
	}
	g := judge{method: ConfSeq, alpha: q.Alpha, seq: stats.Sequence{Alpha: q.Alpha, Tuning: math.Max(1, n)}}
	for _, s := range specs {
		row, _, _ := c.result(g, s.Key, TreatedArm, nil, "")
		r.Results = append(r.Results, row)
	}
	p := r.Results[0]
	r.Profit = HoldoutProfit{PerUnit: p.Effect, Low: p.EffectLow, High: p.EffectHigh, PValue: p.PValue, Total: None, TotalLow: None, TotalHigh: None, EstimatedShare: None, Reason: p.Reason}
	if p.Reason != nil && *p.Reason == NotControlNearZero {
		r.Profit.Reason = nil
	}
	treated := Num(r.UnitsTreated)
	if p.Effect.Known() {
		r.Profit.Total = p.Effect * treated
	}
	if p.EffectLow.Known() {
		r.Profit.TotalLow, r.Profit.TotalHigh = p.EffectLow*treated, p.EffectHigh*treated
	}
	if orders := sumOf(m.Soundness.Orders); orders > 0 {
		r.Profit.EstimatedShare = Num(float64(sumOf(m.Soundness.Estimated)) / float64(orders))
	}
	r.Series = append(r.Series, r.Point())
	r.Text = r.words()
	return r
}

// Point is the answer as a point of a series: cumulative profit per unit by the end of the period.
func (r *HoldoutResults) Point() SeriesPoint {
	return SeriesPoint{Metric: "profit", Variant: TreatedArm, Day: r.Until, N: r.UnitsHeld + r.UnitsTreated, Effect: r.Profit.PerUnit, Low: r.Profit.Low, High: r.Profit.High}
}

// words says it in a sentence.
func (r *HoldoutResults) words() Text {
	v := evidence{money: true, currency: r.Currency}
	switch p := r.Profit; {
	case r.UnitsHeld == 0:
		return Text{"这段时间之前没有已知的保留用户，还不能比较。", "Nobody who was known before the period is held out: there is nothing to compare with."}
	case !p.Low.Known():
		return Text{"数据还不够，算不出区间。", "There is not enough data for an interval."}
	case p.Low > 0:
		return Text{fmt.Sprintf("全部运营合计每位用户多赚 %s（%s 到 %s），一共约 %s。", v.amount(float64(p.PerUnit)), v.signed(p.Low), v.signed(p.High), v.amount(float64(p.Total))),
			fmt.Sprintf("Everything together earned %s more per customer (%s to %s), about %s in all.", v.amount(float64(p.PerUnit)), v.signed(p.Low), v.signed(p.High), v.amount(float64(p.Total)))}
	case p.High < 0:
		return Text{fmt.Sprintf("全部运营合计每位用户少赚 %s（%s 到 %s），一共约少 %s。", v.amount(math.Abs(float64(p.PerUnit))), v.signed(p.Low), v.signed(p.High), v.amount(math.Abs(float64(p.Total)))),
			fmt.Sprintf("Everything together lost %s per customer (%s to %s), about %s in all.", v.amount(math.Abs(float64(p.PerUnit))), v.signed(p.Low), v.signed(p.High), v.amount(math.Abs(float64(p.Total))))}
	default:
		return Text{fmt.Sprintf("还看不出全部运营合计是赚是亏：每位用户的差在 %s 到 %s 之间。", v.signed(p.Low), v.signed(p.High)),
			fmt.Sprintf("It is not clear yet whether everything together earns or loses: between %s and %s per customer.", v.signed(p.Low), v.signed(p.High))}
	}
}

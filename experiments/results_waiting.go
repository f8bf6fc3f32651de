package experiments

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"perennial/experiments/stats"
)

// Waiting weighs one more week of a test, in the shop's currency (statistics.md §4.4). Cost is what the units of the week who do not get the leader miss, if
// it is better: E[max(δ, 0)] × units × their share. Worth is how much better the choice after the week is expected to be, over a year of customers at the
// present pace: E[max(0, M)] − max(0, m), where M is the posterior mean after the week.
//
// Choice is the best variant as far as is known now, the control included: what to take if one does not wait.
type Waiting struct {
	Days   int    `json:"days"`
	Cost   Num    `json:"cost"`
	Worth  Num    `json:"worth"`
	Choice string `json:"choice"`
}

// paysOff is how many times its worth waiting may cost before the card says what to do instead: both are rough.
const paysOff = 3

// pace is exposed units a day from the first one until now, over a week at least, so that a list that was sent out at once is no stream; 0 when unknown.
func (j *judging) pace() float64 {
	first := ""
	var units int64
	for _, d := range j.m.ExposedByDay {
		if first == "" || d.Day < first {
			first = d.Day
		}
		units += d.Units
	}
	begin, err := time.Parse(time.DateOnly, first)
	if err != nil {
		return 0
	}
	return float64(units) / math.Max(7, j.m.Source.AsOf.Sub(begin).Hours()/24)
}

// leading is the row of the primary metric with the largest effect in the good direction.
func (j *judging) leading(rows []row) (row, bool) {
	var best row
	for _, r := range rows {
		if r.Role == RolePrimary && r.ok && r.Bayes != nil && (!best.ok || r.Bayes.Shrunk > best.Bayes.Shrunk) {
			best = r
		}
	}
	return best, best.ok
}

// waiting weighs one more week; nil when the primary metric is no money or too little is known.
func (j *judging) waiting(rows []row) *Waiting {
	spec := j.c.specs[j.primary]
	r, ok := j.leading(rows)
	pace := j.pace()
	if !ok || !spec.Money || spec.Kind == KindRatio || spec.Lower || pace == 0 || j.Experiment.Status != Running {
		return nil
	}
	tau := j.priorSD()
	se := r.pair.SE()
	now, sd := shrink(r.pair.Effect(), se, tau)
	n := float64(r.pair.T.N + r.pair.C.N)
	_, after := shrink(0, se*math.Sqrt(n/(n+7*pace)), tau)
	gain, _ := stats.ExpectedLoss(now, sd)
	learned, _ := stats.ExpectedLoss(now, math.Sqrt(math.Max(0, sd*sd-after*after)))
	w := &Waiting{Days: 7, Cost: Num(gain * 7 * pace * (1 - j.shares("")[r.Variant])), Worth: Num(math.Max(0, learned-math.Max(0, now)) * 365 * pace / j.coverage())}
	if w.Choice = r.Variant; now <= 0 {
		w.Choice = j.c.control
	}
	if math.IsNaN(float64(w.Cost)) || math.IsNaN(float64(w.Worth)) {
		return nil
	}
	return w
}

// monthly is what the leader brings in thirty days at full coverage and the present pace, from the shrunk effect; nil when it is no money.
func (j *judging) monthly(rows []row) *Num {
	spec := j.c.specs[j.primary]
	r, ok := j.leading(rows)
	if pace := j.pace(); ok && spec.Money && spec.Kind != KindRatio && pace > 0 && j.Experiment.Status == Running {
		m := r.Bayes.Shrunk * Num(30*pace/j.coverage())
		return &m
	}
	return nil
}

func (j *judging) coverage() float64 {
	if c := j.Experiment.Coverage; c != nil && *c > 0 {
		return *c
	}
	return 1
}

// round prints an amount of money for a sentence: three significant digits, thousands apart.
func (v evidence) round(x float64) string {
	sign, ok := currencySigns[v.currency]
	if !ok {
		sign = v.currency + " "
	}
	a := math.Abs(x)
	if a < 1000 {
		return v.amount(a)
	}
	step := math.Pow(10, math.Floor(math.Log10(a))-2)
	digits := strconv.FormatInt(int64(math.Round(a/step)*step), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// waitText says what waiting costs and brings; empty when it is not known.
func (v evidence) waitText() Text {
	if v.waiting == nil {
		return Text{}
	}
	cost, worth := v.round(float64(v.waiting.Cost)), v.round(float64(v.waiting.Worth))
	t := Text{fmt.Sprintf("再等一周大约少赚 %s，换来的信息约值 %s。", cost, worth), fmt.Sprintf(" Waiting one more week costs about %s; what it tells is worth about %s.", cost, worth)}
	if v.waiting.Cost > paysOff*v.waiting.Worth && v.waiting.Choice != "" {
		choice := v.name(v.waiting.Choice)
		t.ZH += fmt.Sprintf("只看钱，已不值得再等：可以现在就选“%s”并结束实验。这是按期望收益的取舍，差别并没有得到证实；若更看重证实，就继续跑。", choice.ZH)
		t.EN += fmt.Sprintf(" On money alone, waiting no longer pays: take %s now and end the test. That is a choice on what to expect; the difference is not proven, and if proof is what you need, keep running.", choice.EN)
	}
	return t
}

// monthText says what shipping brings; empty when it is not known.
func (v evidence) monthText() Text {
	if v.monthly == nil || *v.monthly <= 0 {
		return Text{}
	}
	m := v.round(float64(*v.monthly))
	return Text{fmt.Sprintf("按目前的人数，全量后每月约多赚 %s。", m), fmt.Sprintf(" At the present pace that is about %s a month.", m)}
}

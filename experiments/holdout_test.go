package experiments

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"perennial/experiments/stats"
)

// A planted gain is covered and its total is that per unit times the treated; a world without one covers 0 and says so.
func TestJudgeHoldout(t *testing.T) {
	for name, gain := range map[string]float64{"gain": 0.8, "nothing": 0} {
		rng := rand.New(rand.NewPCG(5, 5))
		draw := func(n int, shift float64) Cell {
			x := make([]float64, n)
			for i := range x {
				x[i] = 2 + shift + rng.NormFloat64()
			}
			return Cell{Metric: "profit", Moments: stats.MomentsOf(x)}
		}
		held, treated := draw(1000, 0), draw(19000, gain)
		held.Variant, treated.Variant = HeldArm, TreatedArm
		m := &Measurement{Cells: []Cell{held, treated}, ExposedBy: map[string]map[string]int64{"": {HeldArm: 1000, TreatedArm: 19000}}}
		m.Soundness.Orders, m.Soundness.Estimated = map[string]int64{HeldArm: 10, TreatedArm: 90}, map[string]int64{HeldArm: 5, TreatedArm: 20}
		r := JudgeHoldout(HoldoutQuestion{Holdout: Holdout{Key: "global", Share: 0.05}, From: "2026-01-01", Until: "2026-04-01", Currency: "CNY"}, m, nil)
		p := r.Profit
		if float64(p.Low) > gain || float64(p.High) < gain || math.Abs(float64(p.Total)-19000*float64(p.PerUnit)) > 1e-6 || p.EstimatedShare != 0.25 || r.SRM.Verdict != "ok" || len(r.Series) != 1 {
			t.Errorf("%s: %+v, split %+v", name, p, r.SRM)
		}
		if width := float64(p.High - p.Low); width < 2*1.96*math.Sqrt(1.0/1000+1.0/19000) {
			t.Errorf("%s: the interval of a sequence is %v wide, narrower than a fixed one", name, width)
		}
		if wins := strings.Contains(r.Text.EN, "earned"); wins != (gain > 0) || !strings.Contains(r.Text.ZH, "¥") {
			t.Errorf("%s: %s %s", name, r.Text.EN, r.Text.ZH)
		}
	}
	r := JudgeHoldout(HoldoutQuestion{Holdout: Holdout{Key: "global", Share: 0.05}}, &Measurement{}, nil)
	if r.Profit.PerUnit.Known() || r.Profit.Reason == nil {
		t.Errorf("nobody: %+v", r.Profit)
	}
}

package stats

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// gbstats's own answers (GrowthBook packages/stats, driver and seeds of the shared golden file) to 200 random cases of every kind:
// 1e-9 relative, tails 5e-9 beyond the 2e-14 that gbstats itself loses in 1 − cdf.
func TestGrowthBookCases(t *testing.T) {
	f, err := os.Open("testdata/gbstats_cases.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 1<<20)
	lines := 0
	for s.Scan() {
		lines++
		var line struct {
			Case GrowthBookCase   `json:"case"`
			Want GrowthBookAnswer `json:"gbstats"`
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		got, err := line.Case.Answer()
		if err != nil {
			t.Fatalf("case %v: %v", line.Case.ID, err)
		}
		close := func(what string, got, want *float64, rel, floor float64) {
			t.Helper()
			if (got == nil) != (want == nil) {
				t.Fatalf("case %v %s: got %v, want %v", line.Case.ID, what, got, want)
			}
			if got != nil && math.Abs(*got-*want) > rel*math.Abs(*want)+floor {
				t.Errorf("case %v %s = %.17g, want %.17g", line.Case.ID, what, *got, *want)
			}
		}
		close("srm", got.SRM, line.Want.SRM, 1e-6, 1e-15)
		for i, w := range line.Want.Frequentist {
			for name, p := range map[string][2]GrowthBookVerdict{"frequentist": {got.Frequentist[i], w}, "sequential": {got.Sequential[i], line.Want.Sequential[i]}} {
				scale := math.Abs(p[1].Uplift.Mean) + p[1].Uplift.SD
				close(name+" expected", p[0].Expected, p[1].Expected, 1e-9, 1e-12*scale)
				close(name+" low", p[0].CI[0], p[1].CI[0], 1e-9, 1e-12*scale)
				close(name+" high", p[0].CI[1], p[1].CI[1], 1e-9, 1e-12*scale)
				close(name+" p", p[0].PValue, p[1].PValue, 5e-9, 2e-14)
			}
			g, w := got.Bayesian[i], line.Want.Bayesian[i]
			scale := math.Abs(w.Uplift.Mean) + w.Uplift.SD
			close("bayesian expected", g.Expected, w.Expected, 1e-9, 1e-12*scale)
			close("chance", g.ChanceToWin, w.ChanceToWin, 5e-9, 2e-14)
			close("risk of control", g.Risk[0], w.Risk[0], 5e-9, 2e-14*scale)
			close("risk of treatment", g.Risk[1], w.Risk[1], 5e-9, 2e-14*scale)
		}
	}
	if err := s.Err(); err != nil || lines != 200 {
		t.Fatalf("%d cases, %v", lines, err)
	}
}

// A missing variance or one unit is null with a message, never a number.
func TestGrowthBookNotComputed(t *testing.T) {
	square := 5.0
	for name, v := range map[string][]GrowthBookSums{
		"no squares": {{N: 10, Sum: 3}, {N: 10, Sum: 4, Squares: &square}},
		"one unit":   {{N: 1, Sum: 3, Squares: &square}, {N: 10, Sum: 4, Squares: &square}},
	} {
		c := GrowthBookCase{Variations: v}
		c.Metric.StatisticType = "mean"
		a, err := c.Answer()
		if err != nil {
			t.Fatal(err)
		}
		if f := a.Frequentist[0]; f.PValue != nil || f.ErrorMessage == nil || a.SRM == nil {
			t.Errorf("%s: %+v, srm %v", name, f, a.SRM)
		}
	}
}

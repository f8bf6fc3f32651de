package models

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Markdown returns the card for people: what the model is for, how it was judged, and what stands beside it.
func (c *Card) Markdown() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	what := "P(no order in the %d days after the cut)"
	if c.Target == LTV {
		what = "expected net " + orWord(c.Of, "revenue") + " of the %d days after the cut"
	}
	line("# %s\n", c.Version)
	line("Predicts "+what+". Learner: %s. Trained on %d users as of %s.", c.HorizonDays, c.Learner, c.RowsTrain, strings.Join(c.TrainAsOf, ", "))
	if c.TestAsOf != "" {
		line("Judged on %d users as of %s, none of whose later orders it had seen.", c.RowsTest, c.TestAsOf)
	}
	if c.Backtest != nil {
		line("This is a refit on newer labels; its learner was judged as %s as of %s.", c.Backtest.Version, c.Backtest.TestAsOf)
	}
	if len(c.Metrics) > 0 {
		line("\n| metric | value | 95 %% interval |\n|---|---|---|")
		for _, k := range slices.Sorted(maps.Keys(c.Metrics)) {
			if strings.HasSuffix(k, "_low") || strings.HasSuffix(k, "_high") {
				continue
			}
			interval := ""
			if lo, hi := c.Metrics[k+"_low"], c.Metrics[k+"_high"]; lo != nil && hi != nil {
				interval = fmt.Sprintf("%s – %s", digits(*lo), digits(*hi))
			}
			value := "not defined"
			if v := c.Metrics[k]; v != nil {
				value = digits(*v)
			}
			line("| %s | %s | %s |", k, value, interval)
		}
	}
	headline := []string{"auc", "log_loss", "ece", "auc_recency_90"}
	if c.Target == LTV {
		headline = []string{"ngini", "spearman", "top_decile_share", "mae", "bias"}
	}
	if len(c.Candidates)+len(c.Baselines) > 0 {
		line("\n| learner | %s |\n|---%s|", strings.Join(headline, " | "), strings.Repeat("|---", len(headline)))
		for _, group := range []map[string]map[string]float64{c.Candidates, c.Baselines} {
			for _, name := range slices.Sorted(maps.Keys(group)) {
				cells := make([]string, len(headline))
				for i, k := range headline {
					if v, ok := group[name][k]; ok {
						cells[i] = digits(v)
					}
				}
				line("| %s | %s |", name, strings.Join(cells, " | "))
			}
		}
	}
	if len(c.Calibration) > 0 {
		line("\n| predicted | observed | users |\n|---|---|---|")
		for _, bin := range c.Calibration {
			line("| %s | %s | %d |", digits(bin.Predicted), digits(bin.Observed), bin.N)
		}
	}
	if r := c.Calibrated; r != nil {
		line("\n| calibration as of %s | intercept | slope | predicted − observed |\n|---|---|---|---|", r.AsOf)
		line("| the judged model | %s |\n| this refit | %s |", r.Before.cells(), r.After.cells())
	}
	if len(c.Importance) > 0 {
		line("\n| feature | share |\n|---|---|")
		for _, f := range c.Importance {
			line("| %s | %s |", f.Feature, digits(f.Share))
		}
	}
	if len(c.Parameters) > 0 && string(c.Parameters) != "null" {
		line("\nParameters: `%s`", c.Parameters)
	}
	for i, n := range c.Notes {
		if i == 0 {
			line("")
		}
		line("- %s", n)
	}
	return b.String()
}

func (l CalibrationLine) cells() string {
	cells := make([]string, 0, 3)
	for _, v := range []*float64{l.Intercept, l.Slope, l.PriorShift} {
		if v == nil {
			cells = append(cells, "not defined")
		} else {
			cells = append(cells, digits(*v))
		}
	}
	return strings.Join(cells, " | ")
}

func orWord(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// digits writes a metric with four decimals, or money without.
func digits(v float64) string {
	if v >= 1000 || v <= -1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

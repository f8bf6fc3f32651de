package features_test

import (
	"testing"

	"perennial/features"
)

// TestStage walks the rules of DESIGN §4.5 and both sides of every threshold.
func TestStage(t *testing.T) {
	const asOf = features.Day(20000)
	order := func(orders, orders365, first, last, previous int) features.StageFacts {
		f := features.StageFacts{Orders: orders, Orders365: orders365, FirstDay: asOf - features.Day(first), LastDay: asOf - features.Day(last)}
		if previous > 0 {
			f.PreviousDay, f.HasPrevious = asOf-features.Day(previous), true
		}
		return f
	}
	for _, c := range []struct {
		name  string
		facts features.StageFacts
		want  features.Stage
	}{
		{"no order", features.StageFacts{}, features.Prospect},
		{"first order yesterday", order(1, 1, 1, 1, 0), features.New},
		{"single order 30 days old", order(1, 1, 30, 30, 0), features.New},
		{"single order 31 days old", order(1, 1, 31, 31, 0), features.Declining},
		{"two orders on one day", order(2, 2, 3, 3, 0), features.Active},
		{"back after 181 days", order(2, 2, 211, 30, 211), features.Reactivated},
		{"back after 180 days", order(2, 2, 210, 30, 210), features.Active},
		{"back after 181 days, 31 days ago", order(2, 1, 212, 31, 212), features.Active},
		{"silent for 180 days", order(2, 2, 300, 180, 300), features.Declining},
		{"silent for 181 days", order(9, 9, 300, 181, 200), features.Lapsed},
		{"two orders, silent for 90 days", order(2, 2, 120, 90, 120), features.Active},
		{"two orders, silent for 91 days", order(2, 2, 120, 91, 120), features.Declining},
		{"own gap 16, silent for 40 = 2.5 gaps", order(3, 3, 72, 40, 56), features.Active},
		{"own gap 15.5, silent for 40", order(3, 3, 71, 40, 56), features.Declining},
		{"own gap 2, silent for 30", order(3, 3, 34, 30, 32), features.Active},
		{"own gap 1, but two orders", order(2, 2, 41, 40, 41), features.Active},
		{"five orders in a year", order(5, 5, 200, 10, 60), features.Loyal},
		{"five orders, four in a year", order(5, 4, 500, 10, 60), features.Active},
	} {
		if got := features.DefaultStageRules().Stage(asOf, c.facts); got != c.want {
			t.Errorf("%s: Stage(%+v) = %s, want %s", c.name, c.facts, got, c.want)
		}
	}
}

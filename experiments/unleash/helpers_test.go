package unleash_test

import (
	"testing"
	"time"

	"perennial/experiments"
)

var now = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// experiment makes a running experiment of two arms.
func experiment(t testing.TB, key string, change ...func(d *experiments.Definition)) experiments.Experiment {
	t.Helper()
	d := experiments.Definition{Key: key, Salt: "salt-" + key, Control: "a", Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1}}}
	for _, c := range change {
		c(&d)
	}
	e, err := experiments.NewExperiment(d, now)
	if err != nil {
		t.Fatal(err)
	}
	started, err := e.Act("start", nil, "", now)
	if err != nil {
		t.Fatal(err)
	}
	return *started
}

func compile(t testing.TB, s experiments.Source) *experiments.Snapshot {
	t.Helper()
	snapshot, err := experiments.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

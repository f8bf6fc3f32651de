package modeltest

import (
	"bytes"
	"math"
	"sync"
	"testing"

	"perennial/models"
	"perennial/models/eval"
)

// Run trains one learner on World and fails t where it breaks the contract of models.Model: the same plan gives the same bytes; Load gives
// the same predictions and Save the same bytes again; predictions are in range, do not depend on which other users are in the frame, and
// survive missing values; a frame without a needed feature is an error; it is safe for concurrent use; damaged bytes are an error; and it
// beats a constant guess out of sample.
func Run(t *testing.T, target models.Target, learner string) {
	t.Helper()
	train, test := World(1, 900, target, "2026-01-01"), World(2, 900, target, "2026-03-02")
	plan := models.TrainPlan{Target: target, HorizonDays: 60, Train: []*models.Labelled{train}, Test: test, Learner: learner, Seed: 7}
	first, err := models.Train(t.Context(), plan)
	if err != nil {
		t.Fatalf("Train: %v", err)
	}
	again, err := models.Train(t.Context(), plan)
	if err != nil {
		t.Fatalf("second Train: %v", err)
	}
	if !bytes.Equal(first.Artifact, again.Artifact) || first.Card.Version != again.Card.Version {
		t.Errorf("two fits of one plan differ: versions %s and %s", first.Card.Version, again.Card.Version)
	}
	loaded, err := models.Load(first.Artifact)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if saved, err := loaded.Save(); err != nil || !bytes.Equal(saved, first.Artifact) {
		t.Errorf("Save after Load differs (error %v)", err)
	}
	want := predict(t, first.Model, &test.Frame)
	if got := predict(t, loaded, &test.Frame); !equal(got, want) {
		t.Errorf("a loaded model predicts something else")
	}
	for i, v := range want {
		if target == models.Churn && !(v > 0 && v < 1) || target == models.LTV && !(v >= 0 && v < 1e9) {
			t.Fatalf("row %d: prediction %v is out of range", i, v)
		}
	}
	if part := predict(t, loaded, test.Slice(100, 107)); !equal(part, want[100:107]) {
		t.Errorf("predictions of seven users depend on the others: %v, want %v", part, want[100:107])
	}
	better(t, target, want, train.Y, test.Y)
	missing(t, loaded, &test.Frame)
	concurrent(t, loaded, &test.Frame, want)
	Damaged(t, first.Artifact)
}

func predict(t *testing.T, m models.Model, f *models.Frame) []float64 {
	t.Helper()
	dst := make([]float64, len(f.Users))
	if err := m.Predict(f, dst); err != nil {
		t.Fatalf("Predict: %v", err)
	}
	return dst
}

func equal(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// better asks for less log loss than the training mean, or for a ranking of spend that is far from random.
func better(t *testing.T, target models.Target, p, train, y []float64) {
	t.Helper()
	if target == models.LTV {
		if g := eval.Rank(p).NGini(y, nil); !(g > 0.15) {
			t.Errorf("normalised Gini %v, want > 0.15", g)
		}
		return
	}
	constant := make([]float64, len(y))
	for i := range constant {
		for _, v := range train {
			constant[i] += v / float64(len(train))
		}
	}
	if got, guess := eval.LogLoss(p, y, nil), eval.LogLoss(constant, y, nil); !(got < guess) {
		t.Errorf("log loss %v, the training mean alone has %v", got, guess)
	}
}

// missing blanks whole users and drops a feature.
func missing(t *testing.T, m models.Model, f *models.Frame) {
	t.Helper()
	blank := f.Slice(0, 3)
	for j := range blank.Values {
		blank.Values[j] = []float64{math.NaN(), math.NaN(), math.NaN()}
	}
	for _, v := range predict(t, m, blank) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("a user without any value is scored %v", v)
		}
	}
	empty := &models.Frame{Users: []string{"a"}}
	if err := m.Predict(empty, make([]float64, 1)); err == nil {
		t.Errorf("a frame without features is scored")
	}
	if err := m.Predict(f, make([]float64, 1)); err == nil {
		t.Errorf("a destination of the wrong length is filled")
	}
}

func concurrent(t *testing.T, m models.Model, f *models.Frame, want []float64) {
	t.Helper()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got := make([]float64, len(want))
			if err := m.Predict(f, got); err != nil || !equal(got, want) {
				t.Errorf("concurrent predictions differ (error %v)", err)
			}
		})
	}
	wg.Wait()
}

// Damaged cuts and flips an artifact and expects an error each time.
func Damaged(t *testing.T, artifact []byte) {
	t.Helper()
	step := max(1, len(artifact)/200)
	for cut := 0; cut < len(artifact); cut += step {
		if _, err := models.Load(artifact[:cut]); err == nil {
			t.Fatalf("an artifact cut at byte %d of %d loads", cut, len(artifact))
		}
	}
	for at := 0; at < len(artifact); at += step {
		broken := bytes.Clone(artifact)
		broken[at] ^= 0x41
		if _, err := models.Load(broken); err == nil {
			t.Fatalf("an artifact with byte %d of %d flipped loads", at, len(artifact))
		}
	}
}

package btyd_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"perennial/models/btyd"
)

// TestRunaway: where all customers have the same dropout rate, Pareto/NBD's s and beta run off together. The fit says so, and soon: it took
// 108 evaluations of ever longer series before it was stopped at the bound, and 26 since.
func TestRunaway(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var customers []btyd.Customer
	for range 600 {
		age, life, rate := (20+340*rng.Float64())/7, 250./7*rng.ExpFloat64(), 0.014+0.084*(rng.ExpFloat64()+rng.ExpFloat64())
		c := btyd.Customer{T: math.Floor(age*7) / 7}
		for at := rng.ExpFloat64() / rate; at < age && at < life; at += rng.ExpFloat64() / rate {
			c.X++
			c.TX = min(math.Floor(at*7)/7, c.T)
		}
		customers = append(customers, c)
	}
	_, fit, err := btyd.FitParetoNBD(customers)
	if !errors.Is(err, btyd.ErrDegenerate) {
		t.Errorf("FitParetoNBD = %v, want ErrDegenerate", err)
	}
	if fit.Evaluations > 60 {
		t.Errorf("the fit took %d evaluations to say so, want at most 60", fit.Evaluations)
	}
	if !math.IsNaN(fit.StandardError["s"]) {
		t.Errorf("a fit that ran away has a standard error %v", fit.StandardError["s"])
	}
}

// Package btyd holds the buy-till-you-die models of repeat purchasing: BG/NBD, MBG/NBD and Pareto/NBD for how often a customer will
// buy, Gamma-Gamma for how much. They need no labels, so they serve a shop from its first weeks.
//
// Notation, as in the papers: x repeat purchases (days with an order − 1), tx the time from the first to the last of them, T the time from
// the first to now, all in one time unit of the caller's choice; t a horizon in the same unit.
//
// 1 − P(alive) is not a churn score: BG/NBD gives P(alive) = 1 to everybody who bought once, so it ranks backwards on CDNOW
// (AUC 0.316). Use NoPurchase, the probability of no purchase in the horizon.
package btyd

import (
	"errors"
	"fmt"
	"math"
)

// ErrDegenerate is returned by fits whose optimum runs off to the edge of the parameter space: the data show no dropout, or no
// spread between customers, and the parameters mean nothing.
var ErrDegenerate = errors.New("degenerate fit")

// Customer is the history of one customer, or of Weight customers alike.
type Customer struct {
	X, TX, T float64
	Weight   float64 // 0 means 1
}

func (c Customer) weight() float64 {
	if c.Weight == 0 {
		return 1
	}
	return c.Weight
}

// Model is a fitted purchase process. All methods are pure.
type Model interface {
	// Name returns bgnbd, mbgnbd or pareto-nbd.
	Name() string
	// LogLikelihood returns ln L of one customer.
	LogLikelihood(c Customer) float64
	// Alive returns the probability that the customer has not dropped out at T.
	Alive(c Customer) float64
	// Expected returns the expected number of purchases in (T, T+t].
	Expected(c Customer, t float64) float64
	// NoPurchase returns the probability of no purchase in (T, T+t].
	NoPurchase(c Customer, t float64) float64
	// ExpectedNew returns the expected number of purchases of a new customer in (0, t].
	ExpectedNew(t float64) float64
	// Parameters returns the fitted parameters by their letters.
	Parameters() map[string]float64
}

// Discounted returns the expected purchases of (T, T+horizon], each discounted continuously at rate per time unit, by
// integration of the increments of Expected over steps panels (at least one per time unit when steps is 0).
func Discounted(m Model, c Customer, horizon, rate float64, steps int) float64 {
	if steps <= 0 {
		steps = max(1, int(math.Ceil(horizon)))
	}
	var sum, before float64
	for i := 1; i <= steps; i++ {
		at := horizon * float64(i) / float64(steps)
		now := m.Expected(c, at)
		sum += (now - before) * math.Exp(-rate*(at-horizon/float64(steps)/2))
		before = now
	}
	return sum
}

// maxPurchases bounds x, and with it the tables of a fit.
const maxPurchases = 1_000_000

// check refuses histories that no customer can have.
func check(customers []Customer) error {
	if len(customers) == 0 {
		return errors.New("no customers")
	}
	for i, c := range customers {
		if !(c.X >= 0) || c.X > maxPurchases || !(c.TX >= 0) || !(c.T >= c.TX) || math.IsInf(c.T, 0) || c.X != math.Trunc(c.X) || c.Weight < 0 || (c.X == 0 && c.TX != 0) {
			return fmt.Errorf("customer %d: x %v, tx %v, T %v, weight %v is no history (0 ≤ tx ≤ T, x a whole number up to a million, tx = 0 when x = 0)", i, c.X, c.TX, c.T, c.Weight)
		}
	}
	return nil
}

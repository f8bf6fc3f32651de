package models

import (
	"context"
	"slices"
)

// fitter fits one learner on stacked rows. The same rows and seed give the same model on any number of threads.
type fitter func(ctx context.Context, s *stacked, seed uint64) (Model, error)

// contributor is what a model of this package can say about itself.
type contributor interface {
	// contribute adds to dst[i*len(f.Names)+j] how far feature j moved row i, on the model's own additive scale.
	contribute(f *Frame, dst []float64) error
	importance() map[string]float64
	features() []string
}

// candidate is a learner of the line-up. A lower cost is simpler: within one standard error of the best the simplest wins.
type candidate struct {
	name  string
	cost  int
	fit   fitter
	parts [2]string // of a mean: the two candidates that it averages, taken from the trial when they are fitted already
}

// lineup returns the learners that compete for a target; a mean stands after its parts.
func lineup(plan TrainPlan) []candidate {
	if plan.Target == LTV {
		linear := newTwoStage("linear-two-stage", newBuyLogit, newRidge)
		boosted := newTwoStage("gbdt-two-stage", newBuyBoost, newSpendBoost)
		return []candidate{
			{name: "linear-two-stage", cost: 1, fit: linear},
			{name: "gbdt-two-stage", cost: 3, fit: boosted},
			{name: "mean", cost: 2, fit: newMean("mean", LTV, linear, boosted), parts: [2]string{"linear-two-stage", "gbdt-two-stage"}},
			{name: "gbdt-tweedie", cost: 4, fit: newTweedie},
			{name: "golearn-forest", cost: 5, fit: newTwoStage("golearn-forest", newForest, newRidge)},
			{name: "mbgnbd", cost: 2, fit: newBuyTillDie("mbgnbd", plan, true)},
		}
	}
	return []candidate{
		{name: "logit", cost: 1, fit: newLogit},
		{name: "gbdt", cost: 3, fit: newBoost},
		{name: "mean", cost: 2, fit: newMean("mean", Churn, newLogit, newBoost), parts: [2]string{"logit", "gbdt"}},
		{name: "golearn-rules", cost: 4, fit: newRules},
		{name: "golearn-forest", cost: 5, fit: newForest},
		{name: "mbgnbd", cost: 2, fit: newBuyTillDie("mbgnbd", plan, true)},
	}
}

// extra returns the learners that run only when they are named.
func extra(plan TrainPlan) []candidate {
	return []candidate{
		{name: "pareto-nbd", cost: 2, fit: newBuyTillDie("pareto-nbd", plan, true)},
		{name: "bgnbd", cost: 2, fit: newBuyTillDie("bgnbd", plan, true)},
	}
}

// Learners returns the names of the learners of a target: the line-up, those that run only when named, and the naive rules.
func Learners(target Target) []string {
	plan := TrainPlan{Target: target}
	var names []string
	for _, c := range slices.Concat(lineup(plan), extra(plan), rules(target)) {
		names = append(names, c.name)
	}
	return names
}

// rules returns the naive rules as candidates.
func rules(target Target) []candidate {
	var out []candidate
	for _, r := range naiveRules {
		out = append(out, candidate{name: r.Rule, fit: fitNaive(r, target)})
	}
	return out
}

// find returns the candidates that a plan asks for: the line-up, or the named one.
func find(plan TrainPlan) []candidate {
	if plan.Learner == "" {
		return lineup(plan)
	}
	for _, c := range slices.Concat(lineup(plan), extra(plan), rules(plan.Target)) {
		if c.name == plan.Learner {
			return []candidate{c}
		}
	}
	return nil
}

// union appends what is missing.
func union(a, b []string) []string {
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(a, name)
		}
	}
	return a
}

// shares scales to a sum of 1.
func shares(m map[string]float64) map[string]float64 {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	var all float64
	for _, name := range names {
		all += m[name]
	}
	out := make(map[string]float64, len(m))
	for _, name := range names {
		if all > 0 {
			out[name] = m[name] / all
		}
	}
	return out
}

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
	name string
	cost int
	fit  fitter
}

// lineup returns the learners of a target, simplest first.
func lineup(target Target) []candidate {
	if target == LTV {
		linear := newTwoStage("linear-two-stage", newBuyLogit, newRidge)
		return []candidate{
			{"linear-two-stage", 1, linear},
			{"golearn-forest", 4, newTwoStage("golearn-forest", newForest, newRidge)},
		}
	}
	return []candidate{
		{"logit", 1, newLogit},
		{"golearn-rules", 4, newRules},
		{"golearn-forest", 5, newForest},
	}
}

// Learners returns the names of the learners of a target, the naive rules last.
func Learners(target Target) []string {
	var names []string
	for _, c := range lineup(target) {
		names = append(names, c.name)
	}
	for _, r := range naiveRules {
		names = append(names, r.Rule)
	}
	return names
}

// rules returns the naive rules as candidates.
func rules(target Target) []candidate {
	var out []candidate
	for _, r := range naiveRules {
		out = append(out, candidate{r.Rule, 0, fitNaive(r, target)})
	}
	return out
}

// find returns the candidates that a plan asks for: all of them, or the named one.
func find(target Target, name string) []candidate {
	all := lineup(target)
	if name == "" {
		return all
	}
	for _, c := range append(all, rules(target)...) {
		if c.name == name {
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

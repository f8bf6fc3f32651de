package api

import (
	"hash"
	"time"

	"perennial/experiments"
	"perennial/features/lake"
)

// A person may have several ids: a visitor is anonymous until she signs in. Once a link is known, every id of hers gets the variant of the one that met
// the experiment first; her scores, counts and refusals are those of the person.

// first returns the id whose buckets decide in an experiment: the one that met it first by its own buckets, an alias before the user within the same
// second; the user when none did.
func (a *ask) first(experiment string) string {
	first, at := a.person[0], time.Time{}
	e, ok := a.p.snap.Experiment(experiment)
	if !ok {
		return first
	}
	for i := len(a.person) - 1; i >= 0; i-- {
		for revision := int64(1); revision <= e.AllocationRevision; revision++ {
			if met, ok := a.s.o.Lake.Met(a.person[i], experiment, revision); ok && (at.IsZero() || met.Before(at)) {
				first, at = a.person[i], met
			}
		}
	}
	return first
}

// sticky returns the kept first answer of the unit, or of the other ids of its person: that of the id that met the experiment first.
func (a *ask) sticky(experiment string) (experiments.StickyAnswer, bool) {
	k, ok := lake.Kept{}, false
	if len(a.person) == 0 {
		k, ok = a.s.o.Lake.Sticky(experiment, a.unit.ID)
	} else if k, ok = a.s.o.Lake.Sticky(experiment, a.first(experiment)); !ok {
		for i := 0; i < len(a.person) && !ok; i++ {
			k, ok = a.s.o.Lake.Sticky(experiment, a.person[i])
		}
	}
	return experiments.StickyAnswer{Variant: k.Variant, AllocationRevision: k.AllocationRevision, PAssign: k.PAssign, ScoreVersion: k.ScoreVersion}, ok
}

// exposed reports whether the unit, or another id of its person, met a revision of an experiment.
func (a *ask) exposed(experiment string, revision int64) bool {
	for _, id := range a.person {
		if a.s.o.Lake.Exposed(id, experiment, revision) {
			return true
		}
	}
	return a.s.o.Lake.Exposed(a.unit.ID, experiment, revision)
}

// by is the id that decided an answer, when it is not the unit's own.
func (a *ask) by(experiment string) string {
	if len(a.person) == 0 || a.s.o.Shop.PseudonymKey != "" {
		return ""
	}
	return a.first(experiment)
}

// writePerson adds to an ETag what the answers of a person hang on beside the question.
func (a *ask) writePerson(h hash.Hash) {
	for _, key := range a.p.keys {
		h.Write([]byte(a.first(key)))
		h.Write([]byte{0})
	}
}

// recentOf sums what became known today of every id of a person.
func recentOf(l *lake.Lake, unit string, person []string) (orders, carts int, last time.Time) {
	if len(person) == 0 {
		orders, carts, last, _ = l.Recent(unit)
		return orders, carts, last
	}
	for _, id := range person {
		o, c, at, _ := l.Recent(id)
		orders, carts = orders+o, carts+c
		if at.After(last) {
			last = at
		}
	}
	return orders, carts, last
}

package experiments

import "time"

// Evidence is what was known when somebody decided. It is frozen with the decision: later facts do not change it.
type Evidence struct {
	Source   ResultsSource `json:"source"`
	Revision int64         `json:"revision"`
	Look     int           `json:"look,omitempty"`
	Advice   Decision      `json:"advice"`
	SRM      SRM           `json:"srm"`
	Profit   []Profit      `json:"profit"`
	Results  []Result      `json:"results"` // without segments
	Health   []HealthCheck `json:"health"`
}

// EvidenceOf is what of a document a decision is kept with.
func EvidenceOf(doc *Results) *Evidence {
	e := &Evidence{Source: doc.Source, Revision: doc.Revision, Look: doc.State.Look, Advice: doc.Decision, SRM: doc.SRM, Profit: doc.Profit, Health: doc.Health, Results: []Result{}}
	for _, r := range doc.Results {
		if r.Segment == nil {
			e.Results = append(e.Results, r)
		}
	}
	return e
}

// revalidateAfter is when a decision is to be looked at again when its plan does not say: what customers do half a year later may be something else.
const revalidateAfter = 180

// revalidateAt is when a decision made now is to be looked at again.
func (p Plan) revalidateAt(now time.Time) time.Time {
	days := p.RevalidateDays
	if days == 0 {
		days = revalidateAfter
	}
	return now.AddDate(0, 0, days)
}

// DueAgain tells whether the decision is old enough to be tested anew.
func (e *Experiment) DueAgain(now time.Time) bool {
	return e.Decision != nil && e.Decision.RevalidateAt != nil && !now.Before(*e.Decision.RevalidateAt)
}

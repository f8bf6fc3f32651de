package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"perennial/features"
)

type lifecycleAnswer struct {
	AsOf         string      `json:"as_of"`
	ScoreVersion string      `json:"score_version"`
	Users        int         `json:"users"`
	Stages       []stageRow  `json:"stages"`
	ChurnDeciles []decileRow `json:"churn_deciles"`
	LTVDeciles   []ltvRow    `json:"ltv_deciles"`
}

type stageRow struct {
	Stage           string   `json:"stage"`
	Users           int      `json:"users"`
	ChurnRiskMean   *float64 `json:"churn_risk_mean"`
	LTVMean         *float64 `json:"ltv_mean"`
	LTVTotal        *float64 `json:"ltv_total"`
	RevenueAllTotal *float64 `json:"revenue_all_total"`
}

type decileRow struct {
	Decile        int      `json:"decile"`
	Users         int      `json:"users"`
	ChurnRiskMean *float64 `json:"churn_risk_mean"`
}

type ltvRow struct {
	Decile   int      `json:"decile"`
	Users    int      `json:"users"`
	LTVMean  *float64 `json:"ltv_mean"`
	LTVTotal *float64 `json:"ltv_total"`
}

// tally sums what is there of a column.
type tally struct {
	n   int
	sum float64
}

func (t *tally) add(v *float64) {
	if v != nil {
		t.n++
		t.sum += *v
	}
}

// mean and total are null where nothing was there.
func (t *tally) mean() *float64 {
	if t.n == 0 {
		return nil
	}
	m := t.sum / float64(t.n)
	return &m
}

func (t *tally) total() *float64 {
	if t.n == 0 {
		return nil
	}
	return &t.sum
}

// counted is the lifecycle of one snapshot, counted once.
type counted struct {
	mu     sync.Mutex
	of     *features.Profiles
	answer *lifecycleAnswer
}

func (s *Server) lifecycle(context.Context, *none) (*body[*lifecycleAnswer], error) {
	p := s.profiles()
	if p == nil {
		return nil, unscored()
	}
	s.stages.mu.Lock()
	defer s.stages.mu.Unlock()
	if s.stages.of != p {
		s.stages.of, s.stages.answer = p, countStages(p)
	}
	return &body[*lifecycleAnswer]{s.stages.answer}, nil
}

func countStages(p *features.Profiles) *lifecycleAnswer {
	type group struct {
		users               int
		churn, ltv, revenue tally
	}
	stages := map[string]*group{}
	var churn, ltv [11]group
	for _, user := range p.Users() {
		row, _ := p.Row(user)
		risk, value := number(p, row, "churn_risk"), number(p, row, "ltv")
		stage := textAt(p, row, "stage")
		g := stages[stage]
		if g == nil {
			g = &group{}
			stages[stage] = g
		}
		g.users++
		g.churn.add(risk)
		g.ltv.add(value)
		g.revenue.add(number(p, row, "revenue_all"))
		if d := number(p, row, "churn_decile"); d != nil && *d >= 1 && *d <= 10 {
			churn[int(*d)].users++
			churn[int(*d)].churn.add(risk)
		}
		if d := number(p, row, "ltv_decile"); d != nil && *d >= 1 && *d <= 10 {
			ltv[int(*d)].users++
			ltv[int(*d)].ltv.add(value)
		}
	}
	a := &lifecycleAnswer{AsOf: p.AsOf.String(), ScoreVersion: p.Version, Users: p.Len(), Stages: []stageRow{}, ChurnDeciles: []decileRow{}, LTVDeciles: []ltvRow{}}
	for _, name := range stageOrder {
		if g := stages[name]; g != nil {
			a.Stages = append(a.Stages, stageRow{name, g.users, g.churn.mean(), g.ltv.mean(), g.ltv.total(), g.revenue.total()})
		}
	}
	for d := 1; d <= 10; d++ {
		if churn[d].users > 0 {
			a.ChurnDeciles = append(a.ChurnDeciles, decileRow{d, churn[d].users, churn[d].churn.mean()})
		}
		if ltv[d].users > 0 {
			a.LTVDeciles = append(a.LTVDeciles, ltvRow{d, ltv[d].users, ltv[d].ltv.mean(), ltv[d].ltv.total()})
		}
	}
	return a
}

type userAnswer struct {
	UserID       string          `json:"user_id"`
	AsOf         string          `json:"as_of"`
	ScoreVersion string          `json:"score_version"`
	Stage        string          `json:"stage"`
	Scores       map[string]any  `json:"scores"`
	Features     map[string]any  `json:"features"`
	Reasons      json.RawMessage `json:"reasons"`
	OptedOut     bool            `json:"opted_out"`
	Assignments  json.RawMessage `json:"assignments" doc:"What the user gets now in every started experiment; asking is no exposure"`
}

func (s *Server) user(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"512"`
}) (*body[userAnswer], error) {
	p := s.profiles()
	if p == nil {
		return nil, unscored()
	}
	row, ok := p.Row(s.o.Shop.Pseudonym(in.ID))
	if !ok {
		return nil, problem(http.StatusNotFound, "no such customer before %s: she counts as a prospect", p.AsOf)
	}
	answer := userAnswer{UserID: in.ID, AsOf: p.AsOf.String(), ScoreVersion: p.Version, Stage: textAt(p, row, "stage"), Scores: map[string]any{},
		Features: map[string]any{}, Reasons: reasonsOf(p, row), OptedOut: (*s.optedOut.Load())[s.o.Shop.Pseudonym(in.ID)], Assignments: json.RawMessage("[]")}
	for _, name := range p.Columns() {
		var value any
		if v, text, isText, null, ok := p.At(row, name); ok && !null {
			if value = v; isText {
				value = text
			}
		}
		switch name {
		case "reasons", "stage", "as_of", "user_id", "score_version":
			continue
		}
		if scoreColumns[name] {
			answer.Scores[name] = value
		} else {
			answer.Features[name] = value
		}
	}
	a, problem := s.newAsk(ctx)
	if problem != nil {
		return nil, problem
	}
	defer a.free()
	a.about(in.ID)
	a.peek = true
	list, err := a.list()
	answer.Assignments = list
	return &body[userAnswer]{answer}, err
}

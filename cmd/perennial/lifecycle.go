package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"perennial/api"
	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// lifecycle answers questions about customers over time from the sealed days of the lake. It is what the API's doors and the shell share; answers
// are kept until the lake changes, and one question is worked on at a time, as each reads the whole history.
type lifecycle struct {
	a      *App
	lake   *lake.Lake
	engine func(context.Context) (*warehouse.Engine, error)

	mu    sync.Mutex
	of    int64 // the snapshot that the answers are of
	known map[string]any
}

// asked is one question with its cut.
type asked struct {
	api.LifecycleQuery
	e    *warehouse.Engine
	snap *lake.Snapshot
	asOf features.Day
}

// answer finds or computes an answer under the lock.
func answer[T any](ctx context.Context, l *lifecycle, name string, q api.LifecycleQuery, work func(*asked) (*T, error)) (*T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	snap, err := l.lake.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	defer snap.Close()
	today := l.a.Config.Shop().DayOf(l.a.Now())
	if l.of != snap.ID || l.known == nil {
		l.of, l.known = snap.ID, map[string]any{}
	}
	key := fmt.Sprintf("%s %s %+v", name, today, q)
	if doc, ok := l.known[key].(*T); ok {
		return doc, nil
	}
	e, err := l.engine(ctx)
	if err != nil {
		return nil, err
	}
	w := &asked{LifecycleQuery: q, e: e, snap: snap}
	last, err := e.DataDay(ctx, snap, l.a.Now())
	if err != nil {
		return nil, err
	}
	if last == 0 {
		return nil, &features.InvalidError{Field: "as_of", Reason: "the lake holds no complete day; load history with `perennial import events`, or wait for the first day to end"}
	}
	if w.asOf, err = w.date("as_of", q.AsOf, last+1); err != nil {
		return nil, err
	}
	if w.asOf > last+1 {
		return nil, &features.InvalidError{Field: "as_of", Reason: fmt.Sprintf("data is complete up to %s: the last cut is %s", last, last+1)}
	}
	doc, err := work(w)
	if err != nil {
		return nil, err
	}
	if len(l.known) > 100 {
		clear(l.known)
	}
	l.known[key] = doc
	return doc, nil
}

// date reads a date of the question.
func (w *asked) date(field, text string, otherwise features.Day) (features.Day, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := features.ParseDay(text)
	if err != nil {
		return 0, &features.InvalidError{Field: field, Reason: err.Error()}
	}
	return d, nil
}

// since reads from, which lies at most so many days before the cut.
func (w *asked) since(usual, most int) (features.Day, error) {
	from, err := w.date("from", w.From, w.asOf-features.Day(usual))
	if err == nil && (from >= w.asOf || from < w.asOf-features.Day(most)) {
		err = &features.InvalidError{Field: "from", Reason: fmt.Sprintf("%s is not within the %d days before %s", from, most, w.asOf)}
	}
	return from, err
}

// words are the words of the answer: those asked for, else the configured ones.
func (l *lifecycle) words(key string) (features.Vocabulary, error) {
	return features.VocabularyOf(orDefault(key, l.a.Config.Vocabulary))
}

// Stages counts the users by stage at the start of each day.
func (l *lifecycle) Stages(ctx context.Context, q api.LifecycleQuery) (*features.StageHistory, error) {
	words, err := l.words(q.Vocabulary)
	if err != nil {
		return nil, err
	}
	return answer(ctx, l, "stages", q, func(w *asked) (*features.StageHistory, error) {
		step := features.Day(max(1, w.Step))
		from, err := w.since(90*int(step), 400*int(step))
		if err != nil {
			return nil, err
		}
		first := w.asOf - (w.asOf-from)/step*step // the newest day is always counted
		var cuts []features.Day
		for d := first - step; d <= w.asOf; d += step {
			cuts = append(cuts, d)
		}
		moves, err := w.e.StageMoves(ctx, w.snap, cuts)
		if err != nil {
			return nil, err
		}
		h := &features.StageHistory{AsOf: w.asOf.String(), From: first.String(), StepDays: int(step), Vocabulary: words, Days: []features.StageDay{}}
		for _, d := range cuts[1:] {
			day := features.StageDay{Date: d.String(), Stages: map[features.Stage]int64{}, Phases: map[string]int64{}}
			for _, s := range features.Stages {
				day.Stages[s] = 0
			}
			for _, p := range words.Phases {
				if !p.Goal {
					day.Phases[p.Key] = 0
				}
			}
			for m, n := range moves[d] {
				day.Users += n
				day.Stages[m[1]] += n
				day.Phases[words.Of(m[1]).Key] += n
			}
			h.Days = append(h.Days, day)
		}
		return h, nil
	})
}

// Transitions counts the moves from one day to the next.
func (l *lifecycle) Transitions(ctx context.Context, q api.LifecycleQuery) (*features.Transitions, error) {
	words, err := l.words(q.Vocabulary)
	if err != nil {
		return nil, err
	}
	return answer(ctx, l, "transitions", q, func(w *asked) (*features.Transitions, error) {
		from, err := w.since(30, 100)
		if err != nil {
			return nil, err
		}
		var cuts []features.Day
		for d := from; d <= w.asOf; d++ {
			cuts = append(cuts, d)
		}
		moves, err := w.e.StageMoves(ctx, w.snap, cuts)
		if err != nil {
			return nil, err
		}
		t := &features.Transitions{AsOf: w.asOf.String(), From: from.String(), Vocabulary: words, Days: []features.TransitionDay{}, Sum: []features.Move{}}
		sum := map[[2]features.Stage]int64{}
		for _, d := range cuts[1:] {
			day := features.TransitionDay{Date: d.String(), Entered: map[features.Stage]int64{}, Moves: []features.Move{}}
			for m, n := range moves[d] {
				if m[0] == "" {
					day.Entered[m[1]] += n
					continue
				}
				day.Moves = append(day.Moves, features.Move{From: m[0], To: m[1], Users: n})
				if m[0] != m[1] {
					sum[m] += n
				}
			}
			sortMoves(day.Moves)
			t.Days = append(t.Days, day)
		}
		for m, n := range sum {
			t.Sum = append(t.Sum, features.Move{From: m[0], To: m[1], Users: n})
		}
		sortMoves(t.Sum)
		return t, nil
	})
}

func sortMoves(moves []features.Move) {
	slices.SortFunc(moves, func(a, b features.Move) int {
		if a.From != b.From {
			return slices.Index(features.Stages, a.From) - slices.Index(features.Stages, b.From)
		}
		return slices.Index(features.Stages, a.To) - slices.Index(features.Stages, b.To)
	})
}

// units are the lengths of a period in days.
var units = map[string]int{"day": 1, "week": 7, "month": 30}

// cohortPlan reads the words that retention and cohorts share.
func (w *asked) cohortPlan(from features.Day, unit int) (p warehouse.CohortPlan, err error) {
	p = warehouse.CohortPlan{AsOf: w.asOf, UnitDays: unit, Born: orDefault(w.Born, "order"), Activity: orDefault(w.Activity, "any")}
	if p.From, err = w.date("from", w.From, from); err != nil {
		return p, err
	}
	if p.To, err = w.date("to", w.To, w.asOf); err != nil {
		return p, err
	}
	if p.To > w.asOf || p.From < p.To-3700 {
		return p, &features.InvalidError{Field: "to", Reason: fmt.Sprintf("%s is after as_of %s, or more than ten years after from", p.To, w.asOf)}
	}
	return p, nil
}

// Retention is D1, D7, D30 or other days of the users that came in a window.
func (l *lifecycle) Retention(ctx context.Context, q api.LifecycleQuery) (*features.Retention, error) {
	return answer(ctx, l, "retention", q, func(w *asked) (*features.Retention, error) {
		p, err := w.cohortPlan(w.asOf-180, 1)
		if err != nil {
			return nil, err
		}
		returns, err := w.e.Returns(ctx, w.snap, p)
		if err != nil {
			return nil, err
		}
		r := &features.Retention{AsOf: w.asOf.String(), From: p.From.String(), To: p.To.String(), Born: p.Born, Activity: p.Activity, Points: []features.RetentionPoint{}}
		for _, n := range returns.Users {
			r.Users += n
		}
		days := w.Days
		if len(days) == 0 {
			days = []int{1, 7, 30}
		}
		for _, n := range days {
			if n < 0 || n > 3650 {
				return nil, &features.InvalidError{Field: "days", Reason: fmt.Sprintf("%d is not within 0..3650", n)}
			}
			on, later := returns.Cell(p.From, p.To, w.asOf, 1, n, false), returns.Cell(p.From, p.To, w.asOf, 1, n, true)
			point := features.RetentionPoint{N: n, Users: on.Users, Classic: on.Retained, Unbounded: later.Retained, Rate: on.Rate, RateLater: later.Rate, Mature: on.Mature}
			if on.Users == 0 {
				point.Reason = "immature"
				if r.Users == 0 {
					point.Reason = "no_users"
				}
			}
			r.Points = append(r.Points, point)
		}
		return r, nil
	})
}

// mostCells is how many periods a heat map shows.
var mostCells = map[string]int{"day": 31, "week": 26, "month": 24}

// Cohorts is the heat map.
func (l *lifecycle) Cohorts(ctx context.Context, q api.LifecycleQuery) (*features.Cohorts, error) {
	return answer(ctx, l, "cohorts", q, func(w *asked) (*features.Cohorts, error) {
		unit := orDefault(w.Unit, "month")
		length, ok := units[unit]
		if !ok {
			return nil, &features.InvalidError{Field: "unit", Reason: fmt.Sprintf("%q is none of day, week, month", w.Unit)}
		}
		definition := orDefault(w.Definition, "classic")
		if definition != "classic" && definition != "unbounded" {
			return nil, &features.InvalidError{Field: "definition", Reason: fmt.Sprintf("%q is neither classic nor unbounded", w.Definition)}
		}
		p, err := w.cohortPlan(w.asOf-features.Day(map[string]int{"day": 21, "week": 84, "month": 365}[unit]), length)
		if err != nil {
			return nil, err
		}
		p.From = cohortStart(p.From, unit)
		returns, err := w.e.Returns(ctx, w.snap, p)
		if err != nil {
			return nil, err
		}
		c := &features.Cohorts{AsOf: w.asOf.String(), Unit: unit, Definition: definition, Born: p.Born, Activity: p.Activity, Cohorts: []features.Cohort{}}
		for start := p.From; start < p.To; {
			end := min(p.To, nextCohort(start, unit))
			row := features.Cohort{Start: start.String(), Cells: []features.CohortCell{}}
			for day, n := range returns.Users {
				if day >= start && day < end {
					row.Users += n
				}
			}
			for k := 0; k < mostCells[unit] && start+features.Day(k*length) < w.asOf; k++ {
				row.Cells = append(row.Cells, returns.Cell(start, end, w.asOf, length, k, definition == "unbounded"))
			}
			c.Cohorts = append(c.Cohorts, row)
			start = end
		}
		return c, nil
	})
}

// cohortStart is the first day of the cohort that a day belongs to: itself, its Monday, or the first of its month.
func cohortStart(d features.Day, unit string) features.Day {
	switch unit {
	case "week":
		return d - (d+3)%7 // 1970-01-01 was a Thursday
	case "month":
		_, _, day := d.Date()
		return d - features.Day(day-1)
	}
	return d
}

func nextCohort(d features.Day, unit string) features.Day {
	switch unit {
	case "week":
		return d + 7
	case "month":
		y, m, _ := d.Date()
		return features.Day(time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	}
	return d + 1
}

// Economics is what customers bring and what they cost.
func (l *lifecycle) Economics(ctx context.Context, q api.LifecycleQuery) (*features.Economics, error) {
	return answer(ctx, l, "economics", q, func(w *asked) (*features.Economics, error) {
		p := warehouse.EconomicsPlan{AsOf: w.asOf, HorizonDays: w.Horizon, RepeatDays: []int{30, 60, 90}, ReturnDays: 30}
		if p.HorizonDays == 0 {
			p.HorizonDays = 90
		}
		if p.HorizonDays < 1 || p.HorizonDays > 730 {
			return nil, &features.InvalidError{Field: "horizon", Reason: strconv.Itoa(p.HorizonDays) + " is not within 1..730"}
		}
		var err error
		if p.To, err = w.date("to", w.To, w.asOf); err != nil {
			return nil, err
		}
		if p.From, err = w.date("from", w.From, p.To-90); err != nil {
			return nil, err
		}
		late := max(0, features.Day(p.HorizonDays)-1-(w.asOf-p.To)) // so that the youngest customer has lived through the horizon
		p.AcquiredFrom, p.AcquiredTo = p.From-late, p.To-late
		if p.Costs, err = l.lake.Costs(ctx, p.AcquiredFrom, p.AcquiredTo, w.asOf); err != nil {
			return nil, err
		}
		return w.e.Economics(ctx, w.snap, p)
	})
}

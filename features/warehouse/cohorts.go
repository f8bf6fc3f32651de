package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"

	"perennial/features"
	"perennial/features/lake"
)

// CohortPlan asks who came back. Born and Activity are "order", or "any" for everything a user does herself.
type CohortPlan struct {
	AsOf           features.Day // facts known before it
	From, To       features.Day // first days, To exclusive
	UnitDays       int          // 1, 7, 30: the length of a period
	Born, Activity string
}

func (p CohortPlan) check() error {
	for field, v := range map[string]string{"born": p.Born, "activity": p.Activity} {
		if v != "order" && v != "any" {
			return &features.InvalidError{Field: field, Reason: fmt.Sprintf("%q is neither order nor any", v)}
		}
	}
	if p.From >= p.To || p.UnitDays < 1 {
		return &features.InvalidError{Field: "to", Reason: fmt.Sprintf("%s is not after from %s", p.To, p.From)}
	}
	return nil
}

// doing is the condition on an event that counts.
func doing(what string) string {
	if what == "order" {
		return "event = 'Order Completed'"
	}
	return "event NOT IN (" + texts(features.Passive) + ")"
}

// Returns is what came of the users by their first local day.
type Returns struct {
	Users  map[features.Day]int64         // users by first day
	Within map[features.Day]map[int]int64 // first day → period k → users active in [k·unit, (k+1)·unit) days after it
	Last   map[features.Day]map[int]int64 // first day → period of the newest activity → users
}

// Returns counts, for the users whose first day lies in the plan's window, in which periods after it they were active. Local days are those of the
// shop's zone, as stored at the door; rows that were learned at AsOf or later do not count.
func (e *Engine) Returns(ctx context.Context, snap *lake.Snapshot, p CohortPlan) (*Returns, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	s, err := e.readPeople(ctx, snap, e.o.Shop.Midnight(p.AsOf))
	if err != nil {
		return nil, fmt.Errorf("cohorts: %w", err)
	}
	defer s.done()
	head := fmt.Sprintf(`WITH act AS (SELECT user_id, (biz_day - DATE '1970-01-01') AS day FROM events WHERE %[1]s AND user_id <> '' AND %[2]s GROUP BY user_id, biz_day),
first AS (SELECT user_id, min(biz_day) - DATE '1970-01-01' AS day0 FROM events WHERE %[1]s AND user_id <> '' AND %[3]s GROUP BY user_id HAVING min(biz_day) >= %[4]s AND min(biz_day) < %[5]s),
k AS (SELECT f.user_id, f.day0, (a.day - f.day0) // %[6]d AS k FROM first f JOIN act a ON a.user_id = f.user_id AND a.day >= f.day0)
`, known(p.AsOf), doing(p.Activity), doing(p.Born), dayLiteral(p.From), dayLiteral(p.To), p.UnitDays)
	r := &Returns{map[features.Day]int64{}, map[features.Day]map[int]int64{}, map[features.Day]map[int]int64{}}
	for _, part := range []struct {
		text string
		put  func(day features.Day, k int, n int64)
	}{
		{"SELECT day0, 0, count(*) FROM first GROUP BY day0", func(day features.Day, _ int, n int64) { r.Users[day] = n }},
		{"SELECT day0, k, count(DISTINCT user_id) FROM k GROUP BY day0, k", countInto(r.Within)},
		{"SELECT day0, last, count(*) FROM (SELECT day0, max(k) AS last FROM k GROUP BY user_id, day0) l GROUP BY day0, last", countInto(r.Last)},
	} {
		err := s.each(ctx, head+part.text, func(v []driver.Value) error {
			day, err := number(v[0])
			if err != nil {
				return err
			}
			k, err := number(v[1])
			if err != nil {
				return err
			}
			part.put(features.Day(day), int(k), v[2].(int64))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("cohorts: %w", err)
		}
	}
	return r, nil
}

func countInto(m map[features.Day]map[int]int64) func(features.Day, int, int64) {
	return func(day features.Day, k int, n int64) {
		if m[day] == nil {
			m[day] = map[int]int64{}
		}
		m[day][k] += n
	}
}

// Cell adds up period k of the cohort of first days [from, to): only users whose period is over at asOf count, so an unfinished day is never a
// loss. unbounded counts who was back in period k or later.
func (r *Returns) Cell(from, to, asOf features.Day, unitDays, k int, unbounded bool) features.CohortCell {
	c := features.CohortCell{K: k, Mature: to-1+features.Day((k+1)*unitDays) <= asOf}
	for day, users := range r.Users {
		if day < from || day >= to {
			continue
		}
		if day+features.Day((k+1)*unitDays) > asOf {
			continue
		}
		c.Users += users
		if !unbounded {
			c.Retained += r.Within[day][k]
			continue
		}
		for last, n := range r.Last[day] {
			if last >= k {
				c.Retained += n
			}
		}
	}
	c.Rate = features.Ratio(float64(c.Retained), float64(c.Users))
	return c
}

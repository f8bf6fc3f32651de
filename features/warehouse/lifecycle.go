package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"perennial/features"
	"perennial/features/lake"
)

// Moves counts the users by day, the stage of the day before ("" for a user who was not known then) and the stage of the day.
type Moves map[features.Day]map[[2]features.Stage]int64

// stageRowsPerPass bounds the memory of a history of stages: so many pairs of a row and a cut are merged at a time.
const stageRowsPerPass = 40_000_000

// stageProgram is the catalog narrowed to the stage, over everybody who ever did anything, ordered or not.
func (e *Engine) stageProgram() (*program, string, error) {
	for _, f := range e.o.Catalog.Columns() {
		if f.Stage {
			c := e.o.Catalog.Only(f.Name)
			c.Population = nil
			return compile(c), quoteName(f.Name), nil
		}
	}
	return nil, "", &features.InvalidError{Field: "stage", Reason: "the catalog has no feature with `stage: true`"}
}

// StageMoves returns how every user's stage changed between consecutive cuts. Each cut sees only what was known before it, so a past day is what a
// night of that day would have said, whatever has arrived since. An id that was linked to a user between two cuts is no move: she stands in it from then on. The first cut has no day before it and is left out of the answer.
func (e *Engine) StageMoves(ctx context.Context, snap *lake.Snapshot, cuts []features.Day) (Moves, error) {
	if len(cuts) < 2 || !slices.IsSorted(cuts) {
		return nil, &features.InvalidError{Field: "from", Reason: "needs two days at least, in order"}
	}
	p, stage, err := e.stageProgram()
	if err != nil {
		return nil, err
	}
	s, err := e.read(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("stages: %w", err)
	}
	defer s.done()
	rows, err := s.stageTiles(ctx, p, cuts[len(cuts)-1])
	if err != nil {
		return nil, fmt.Errorf("stages: %w", err)
	}
	fold, err := foldCuts(ctx, s, snap.Links, e.o.Shop, cuts)
	if err != nil {
		return nil, fmt.Errorf("stages: %w", err)
	}
	passes := int(min(lake.Buckets, 1+rows*int64(len(cuts))/stageRowsPerPass))
	moves := Moves{}
	for pass := range passes {
		q := &query{p: p, d: DuckDB, shop: e.o.Shop, cuts: cuts, tiles: true, where: bucketRange(pass, passes), bare: true, fold: fold}
		text := "SELECT cut_day, previous, stage, count(*) FROM (SELECT cut_day, " + stage + " AS stage, coalesce(lag(" + stage + ") OVER (PARTITION BY user_id ORDER BY cut_day), '') AS previous FROM (" +
			q.text() + ") q) m GROUP BY cut_day, previous, stage"
		err := s.each(ctx, text, func(v []driver.Value) error {
			cut, err := number(v[0])
			if err != nil {
				return err
			}
			day := features.Day(cut)
			if day == cuts[0] {
				return nil
			}
			if moves[day] == nil {
				moves[day] = map[[2]features.Stage]int64{}
			}
			moves[day][[2]features.Stage{features.Stage(v[1].(string)), features.Stage(v[2].(string))}] += v[3].(int64)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("stages: %w", err)
		}
	}
	return moves, nil
}

// stageTiles reduces the events before a cut to what stages stand on, as the relation tiles: the days on which something is counted, and one
// empty row a user from the day on which anything of her was known.
func (s *session) stageTiles(ctx context.Context, p *program, before features.Day) (rows int64, err error) {
	built, zero, counted := "", "", []string{}
	for _, t := range p.tiles {
		built += ", " + t.build(DuckDB) + " AS " + t.name
		if t.base == "count" {
			zero += ", 0"
			counted = append(counted, t.name+" > 0")
		} else {
			zero += ", NULL"
			counted = append(counted, t.name+" IS NOT NULL")
		}
	}
	text := fmt.Sprintf(`CREATE TEMP TABLE tiles AS WITH t AS (SELECT min(user_bucket) AS user_bucket, user_id, biz_day, known_day, count(*) OVER (PARTITION BY user_id, biz_day) AS parts%s FROM events
 WHERE user_id <> '' AND biz_day < %[2]s AND known_day < %[2]s GROUP BY user_id, biz_day, known_day)
SELECT * FROM t WHERE %[3]s UNION ALL SELECT min(user_bucket), user_id, min(greatest(biz_day, known_day)), min(greatest(biz_day, known_day)), 1%[4]s FROM t GROUP BY user_id`,
		built, dayLiteral(before), strings.Join(counted, " OR "), zero)
	if _, err := s.ExecContext(ctx, text); err != nil {
		return 0, err
	}
	return rows, s.QueryRowContext(ctx, "SELECT count(*) FROM tiles").Scan(&rows)
}

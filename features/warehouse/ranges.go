package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"perennial/features/lake"
)

// rangeRows is how many rows of events a pass may read for each GiB of the engine's memory.
const rangeRows = 3_000_000

// passRows is how many rows of events one pass may read.
func (e *Engine) passRows() int64 { return max(1, int64(float64(e.o.Memory)/(1<<30)*rangeRows)) }

// reach is the segments that a plan may ask for, by their days, and how many rows they have.
func (e *Engine) reach(p *MetricPlan, snap *lake.Snapshot) (segments []lake.Segment, rows int64) {
	first := e.o.Shop.DayOf(p.Start) - 1
	for _, c := range p.Covariates {
		if c == "pre_revenue" || c == "pre_orders" {
			first = e.o.Shop.DayOf(p.Start.AddDate(0, 0, -p.HorizonDays)) - 1
		}
	}
	last := e.o.Shop.DayOf(p.AsOf)
	for _, g := range snap.Segments {
		if g.Day >= first && g.Day <= last {
			rows += g.Rows
			segments = append(segments, g)
		}
	}
	return segments, rows
}

// pairs makes ranges of their lower bounds.
func pairs(bounds []string) [][2]string {
	out := make([][2]string, len(bounds))
	for i, b := range bounds {
		out[i][0] = b
		if i+1 < len(bounds) {
			out[i][1] = bounds[i+1]
		}
	}
	return out
}

// ranges splits the user ids so that a pass over one range fits the memory: pairs of bounds, the first included, "" open. Segments are sorted by user, so
// that a pass reads little beyond its own rows; the bounds are the least ids of their row groups. A cluster needs no ranges.
func (e *Engine) ranges(ctx context.Context, s *measuring, snap *lake.Snapshot) ([][2]string, error) {
	whole := pairs([]string{""})
	r, ok := s.runner.(*session)
	if !ok {
		return whole, nil
	}
	segments, rows := e.reach(s.p, snap)
	per := e.passRows()
	if rows <= per {
		return whole, nil
	}
	var paths []string
	for _, g := range segments {
		paths = append(paths, g.Path)
	}
	type group struct {
		least string
		rows  int64
	}
	var groups []group
	query := "SELECT stats_min_value, row_group_num_rows FROM parquet_metadata([" + texts(paths) + "]) WHERE path_in_schema = 'user_id' AND stats_min_value IS NOT NULL"
	mark := len(r.sql)
	if err := r.each(ctx, query, func(v []driver.Value) error {
		groups = append(groups, group{v[0].(string), v[1].(int64)})
		return nil
	}); err != nil {
		return nil, err
	}
	r.sql = r.sql[:mark]
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.least, b.least) })
	bounds := []string{""}
	sum := int64(0)
	for _, g := range groups {
		if sum >= per && g.least > bounds[len(bounds)-1] {
			bounds, sum = append(bounds, g.least), 0
		}
		sum += g.rows
	}
	if len(bounds) == 1 {
		return whole, nil
	}
	out := pairs(bounds)
	s.m.SQL = append(s.m.SQL, fmt.Sprintf("-- The statements with a range of user_id run for each of %d ranges; their sums are added.", len(out)))
	return out, r.split(ctx)
}

// split puts the rows whose ids are folded aside, so that a range of ids is a range of the sorted files for all others.
func (s *session) split(ctx context.Context) error {
	if s.folded == "" {
		return nil
	}
	for _, statement := range []string{
		"CREATE TEMP TABLE aliased AS " + s.folded,
		"CREATE OR REPLACE TEMP VIEW events AS " + s.plain + " UNION ALL SELECT * FROM aliased",
	} {
		if _, err := s.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// forget drops the relations of the pass i. The reader is shown the statements of the first pass.
func (s *session) forget(ctx context.Context, i int) error {
	if i == 0 {
		s.shown = len(s.sql)
	}
	s.sql = s.sql[:s.shown]
	for _, statement := range []string{"DROP VIEW unit", "DROP TABLE met", "DROP TABLE IF EXISTS outcome"} {
		if _, err := s.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"

	"perennial/experiments/sqlstore"
	"perennial/features/lake"
)

// sharedFirsts lets the lake keep first answers and links in the database that several servers share.
type sharedFirsts struct{ *sqlstore.Firsts }

func (s sharedFirsts) Enter(ctx context.Context, rows []lake.First) ([]lake.First, error) {
	given := make([]sqlstore.First, len(rows))
	for i, r := range rows {
		given[i] = sqlstore.First(r)
	}
	stands, err := s.Firsts.Enter(ctx, given)
	return firstsOf(stands), err
}

func (s sharedFirsts) Since(ctx context.Context) ([]lake.First, bool, error) {
	rows, more, err := s.Firsts.Since(ctx)
	return firstsOf(rows), more, err
}

func firstsOf(rows []sqlstore.First) []lake.First {
	out := make([]lake.First, len(rows))
	for i, r := range rows {
		out[i] = lake.First(r)
	}
	return out
}

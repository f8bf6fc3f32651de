package lake

import "context"

// Unsealed returns how many journals of this data directory were not known to be empty when their owner last closed or crashed: their
// events are safe and become visible to Snapshot with the next Seal. While a server runs its own journal counts.
func (l *Lake) Unsealed(ctx context.Context) (journals int, err error) {
	err = l.db.QueryRowxContext(ctx, `SELECT count(*) FROM journals WHERE empty = 0 AND retired_us = 0`).Scan(&journals)
	return journals, err
}

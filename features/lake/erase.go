package lake

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// tombstones reads the erased users with the time up to which their rows are hidden.
func tombstones(ctx context.Context, q sqlx.QueryerContext) (map[string]time.Time, error) {
	var found []struct {
		User   string `db:"user_id"`
		Before int64  `db:"before_us"`
	}
	if err := sqlx.SelectContext(ctx, q, &found, `SELECT user_id, before_us FROM tombstones`); err != nil {
		return nil, err
	}
	stones := make(map[string]time.Time, len(found))
	for _, f := range found {
		stones[f.User] = time.UnixMicro(f.Before).UTC()
	}
	return stones, nil
}

// hideErased deletes the rows of erased users from a staged table: what was received before the erasure, and replays of what
// happened before it.
func (l *Lake) hideErased(ctx context.Context, conn *sql.Conn, table string) (int, error) {
	stones, err := tombstones(ctx, l.db)
	if err != nil {
		return 0, err
	}
	hidden := 0
	for user, before := range stones {
		r, err := conn.ExecContext(ctx, `DELETE FROM `+table+` WHERE user_id = ? AND (received_at <= ? OR ts <= ?)`, user, before, before)
		if err != nil {
			return hidden, fmt.Errorf("hide erased users: %w", err)
		}
		n, err := r.RowsAffected()
		if err != nil {
			return hidden, err
		}
		hidden += int(n)
	}
	return hidden, nil
}

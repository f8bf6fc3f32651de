package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// known is the condition of point-in-time truth: happened before the cut and known before it.
func known(asOf features.Day) string {
	return fmt.Sprintf("biz_day < %[1]s AND known_day < %[1]s", dayLiteral(asOf))
}

// dataDayQuery finds the newest day before a bound with two different users; min ≠ max says so without a distinct count.
func dataDayQuery(d Dialect, before features.Day) string {
	return fmt.Sprintf("SELECT "+d.dayOf("max(biz_day)")+" AS day FROM (SELECT biz_day FROM events WHERE biz_day < %s AND user_id <> '' GROUP BY biz_day HAVING min(user_id) <> max(user_id)) d", dayLiteral(before))
}

// DataDay returns the last complete local day with events of at least two users, never beyond the day before now. It returns 0 for a
// snapshot without such a day.
func (e *Engine) DataDay(ctx context.Context, snap *lake.Snapshot, now time.Time) (features.Day, error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return 0, fmt.Errorf("data day: %w", err)
	}
	defer r.done()
	day, err := dayOf(ctx, r, dataDayQuery(r.dialect(), e.o.Shop.DayOf(now)))
	if err != nil {
		return 0, fmt.Errorf("data day: %w", err)
	}
	return day, nil
}

// day runs a query of one date; null is 0.
func (s *session) day(ctx context.Context, query string) (features.Day, error) {
	var t sql.NullTime
	if err := s.QueryRowContext(ctx, query).Scan(&t); err != nil || !t.Valid {
		return 0, err
	}
	return features.Day(t.Time.Unix() / 86400), nil
}

// dayOf runs a query of one number of days; null is 0.
func dayOf(ctx context.Context, r runner, query string) (day features.Day, err error) {
	err = r.each(ctx, query, func(v []driver.Value) error {
		if n, ok := v[0].(int64); ok {
			day = features.Day(n)
		}
		return nil
	})
	return day, err
}

// digestQuery sums a 64-bit MD5 half of every event id known before a cut.
func digestQuery(d Dialect, asOf features.Day) string {
	return "SELECT sum(" + fmt.Sprintf(d.digest, "event_id") + ") AS digest, count(*) AS n FROM events WHERE " + known(asOf)
}

// gapQuery finds the newest day with an event before a cut and the longest gap between such days in the 365 days before it.
func gapQuery(d Dialect, asOf features.Day) string {
	return fmt.Sprintf(`SELECT max(day) AS newest, max(day - previous) FILTER (WHERE previous >= %d) AS longest FROM
 (SELECT day, lag(day) OVER (ORDER BY day) AS previous FROM (SELECT DISTINCT %s AS day FROM events WHERE %s) d) g`, int(asOf)-365, d.dayOf("biz_day"), known(asOf))
}

// Digest returns the order-free digest of the events known before a cut, and their number. It hashes the sum of a 64-bit MD5 half of
// every event id, so it does not depend on files, order or engine.
func (e *Engine) Digest(ctx context.Context, snap *lake.Snapshot, asOf features.Day) (digest string, rows int64, err error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return "", 0, fmt.Errorf("digest as of %s: %w", asOf, err)
	}
	defer r.done()
	sum := new(big.Int)
	err = r.each(ctx, digestQuery(r.dialect(), asOf), func(v []driver.Value) error {
		if x, ok := v[0].(*big.Int); ok {
			sum = x
		}
		rows = v[1].(int64)
		return nil
	})
	if err != nil {
		return "", 0, fmt.Errorf("digest as of %s: %w", asOf, err)
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d %s", rows, sum))
	return hex.EncodeToString(h[:16]), rows, nil
}

// Stale reports whether the input before a cut is stale: no event for longer than max(2 days, 1.5 × the longest gap of the last
// 365 days). last is the newest day with an event before the cut. Without any event the input is stale and last is 0.
func (e *Engine) Stale(ctx context.Context, snap *lake.Snapshot, asOf features.Day) (stale bool, last features.Day, err error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return false, 0, fmt.Errorf("stale input before %s: %w", asOf, err)
	}
	defer r.done()
	stale = true
	err = r.each(ctx, gapQuery(r.dialect(), asOf), func(v []driver.Value) error {
		if n, ok := v[0].(int64); ok {
			last = features.Day(n)
			longest, _ := v[1].(int64)
			stale = float64(asOf-last) > max(2, 1.5*float64(longest))
		}
		return nil
	})
	if err != nil {
		return false, 0, fmt.Errorf("stale input before %s: %w", asOf, err)
	}
	return stale, last, nil
}

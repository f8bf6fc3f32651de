package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql"
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
func dataDayQuery(before features.Day) string {
	return fmt.Sprintf("SELECT max(biz_day) AS day FROM (SELECT biz_day FROM events WHERE biz_day < %s AND user_id <> '' GROUP BY biz_day HAVING min(user_id) <> max(user_id)) d", dayLiteral(before))
}

// DataDay returns the last complete local day with events of at least two users, never beyond the day before now. It returns 0 for a
// snapshot without such a day.
func (e *Engine) DataDay(ctx context.Context, snap *lake.Snapshot, now time.Time) (features.Day, error) {
	s, err := e.read(ctx, snap)
	if err != nil {
		return 0, fmt.Errorf("data day: %w", err)
	}
	defer s.done()
	day, err := s.day(ctx, dataDayQuery(e.o.Shop.DayOf(now)))
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

// Digest returns the order-free digest of the events known before a cut, and their number. It hashes the sum of a 64-bit MD5 half of
// every event id, so it does not depend on files, order or engine.
func (e *Engine) Digest(ctx context.Context, snap *lake.Snapshot, asOf features.Day) (digest string, rows int64, err error) {
	s, err := e.read(ctx, snap)
	if err != nil {
		return "", 0, fmt.Errorf("digest as of %s: %w", asOf, err)
	}
	defer s.done()
	var sum *big.Int
	row := s.QueryRowContext(ctx, "SELECT coalesce(sum(md5_number_lower(event_id)::HUGEINT), 0)::HUGEINT, count(*) FROM events WHERE "+known(asOf))
	if err := row.Scan(&sum, &rows); err != nil {
		return "", 0, fmt.Errorf("digest as of %s: %w", asOf, err)
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d %s", rows, sum))
	return hex.EncodeToString(h[:16]), rows, nil
}

// Stale reports whether the input before a cut is stale: no event for longer than max(2 days, 1.5 × the longest gap of the last
// 365 days). last is the newest day with an event before the cut. Without any event the input is stale and last is 0.
func (e *Engine) Stale(ctx context.Context, snap *lake.Snapshot, asOf features.Day) (stale bool, last features.Day, err error) {
	s, err := e.read(ctx, snap)
	if err != nil {
		return false, 0, fmt.Errorf("stale input before %s: %w", asOf, err)
	}
	defer s.done()
	var day sql.NullTime
	var longest sql.NullInt64
	row := s.QueryRowContext(ctx, fmt.Sprintf(`SELECT max(biz_day), max(biz_day - previous) FILTER (WHERE previous >= %s) FROM
 (SELECT biz_day, lag(biz_day) OVER (ORDER BY biz_day) AS previous FROM (SELECT DISTINCT biz_day FROM events WHERE %s) d) g`, dayLiteral(asOf-365), known(asOf)))
	if err := row.Scan(&day, &longest); err != nil {
		return false, 0, fmt.Errorf("stale input before %s: %w", asOf, err)
	}
	if !day.Valid {
		return true, 0, nil
	}
	last = features.Day(day.Time.Unix() / 86400)
	return float64(asOf-last) > max(2, 1.5*float64(longest.Int64)), last, nil
}

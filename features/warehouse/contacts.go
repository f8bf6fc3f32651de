package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"

	"perennial/features"
	"perennial/features/lake"
)

// Contact is the first time in a window that a user met an experiment.
type Contact struct {
	User       int // position among the users asked about
	Experiment string
	Variant    string
	PAssignPPM int64 // probability of that variant, in parts per million; 0 when it was not sent
}

// Contacts returns which experiments users met in [asOf, asOf+horizonDays), by user and experiment. Only facts known before the day notAfter
// count; 0 means all.
func (e *Engine) Contacts(ctx context.Context, snap *lake.Snapshot, users []string, asOf features.Day, horizonDays int, notAfter features.Day) ([]Contact, error) {
	r, err := e.reader(ctx, snap)
	if err != nil {
		return nil, fmt.Errorf("contacts as of %s: %w", asOf, err)
	}
	defer r.done()
	if err := r.load(ctx, "want", "user_id VARCHAR, position BIGINT", eachPosition(users)); err != nil {
		return nil, fmt.Errorf("contacts as of %s: %w", asOf, err)
	}
	d, bound := r.dialect(), ""
	if notAfter != 0 {
		bound = " AND known_day < " + dayLiteral(notAfter)
	}
	query := fmt.Sprintf(`WITH met AS (SELECT w.position, %[1]s AS experiment, coalesce(%[2]s, '') AS variant, %[3]s AS share,
  row_number() OVER (PARTITION BY w.position, %[1]s ORDER BY e.ts, e.event_id) AS nth
 FROM events e JOIN want w ON w.user_id = e.user_id
 WHERE e.event = 'Experiment Viewed' AND e.biz_day >= %[4]s AND e.biz_day < %[5]s%[6]s AND %[1]s IS NOT NULL)
SELECT position, experiment, variant, share FROM met WHERE nth = 1`,
		d.text("e.properties", "experiment"), d.text("e.properties", "variant"),
		d.integer("coalesce(TRY_CAST("+d.text("e.properties", "p_assign")+" AS DOUBLE) * 1000000, 0)"), dayLiteral(asOf), dayLiteral(asOf+features.Day(horizonDays)), bound)
	var out []Contact
	err = r.rows(ctx, query, "1, 2", func(v []driver.Value) error {
		out = append(out, Contact{User: int(v[0].(int64)), Experiment: v[1].(string), Variant: v[2].(string), PAssignPPM: v[3].(int64)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("contacts as of %s: %w", asOf, err)
	}
	return out, nil
}

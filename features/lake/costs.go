package lake

import (
	"context"
	"fmt"

	"perennial/features"
)

// PutCosts stores costs of channels and days. The same cost again changes nothing; another amount with the same KnownDay replaces the
// one that stands, with a later one it is a correction that past cuts do not see. It returns how many were new or changed. Where a
// server owns the journal it does that, a lot in a transaction.
func (l *Lake) PutCosts(ctx context.Context, costs []features.Cost) (changed int, err error) {
	changed, _, err = l.viaServer(ctx, "costs", len(costs), factRows, func(dst []byte, i int) ([]byte, error) { return toJSON(dst, costs[i]) },
		func(from, to int) (changed, _ int, err error) {
			changed, err = l.putCosts(ctx, costs[from:to])
			return changed, 0, err
		})
	return changed, err
}

func (l *Lake) putCosts(ctx context.Context, costs []features.Cost) (changed int, err error) {
	err = l.inTx(ctx, func(tx transaction) error {
		for _, c := range costs {
			r, err := tx.ExecContext(ctx, `INSERT INTO costs (day, channel, campaign, known_day, cost_micros) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (day, channel, campaign, known_day) DO UPDATE SET cost_micros = excluded.cost_micros WHERE costs.cost_micros <> excluded.cost_micros`,
				c.Day, c.Channel, c.Campaign, c.KnownDay, c.Micros)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			changed += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("costs: %w", err)
	}
	return changed, nil
}

// Costs returns the costs of the days [from, to) as they were known before the local midnight that begins day known, in the order of
// day, channel and campaign: one for each.
func (l *Lake) Costs(ctx context.Context, from, to, known features.Day) ([]features.Cost, error) {
	var found []struct {
		Day      features.Day    `db:"day"`
		Channel  string          `db:"channel"`
		Campaign string          `db:"campaign"`
		KnownDay features.Day    `db:"known_day"`
		Micros   features.Micros `db:"cost_micros"`
	}
	if err := l.db.SelectContext(ctx, &found, `SELECT day, channel, campaign, known_day, cost_micros FROM costs c
		WHERE day >= ? AND day < ? AND known_day < ? AND NOT EXISTS (SELECT 1 FROM costs n WHERE n.day = c.day AND n.channel = c.channel
			AND n.campaign = c.campaign AND n.known_day > c.known_day AND n.known_day < ?)
		ORDER BY day, channel, campaign`, from, to, known, known); err != nil {
		return nil, fmt.Errorf("costs: %w", err)
	}
	costs := make([]features.Cost, len(found))
	for i, f := range found {
		costs[i] = features.Cost{Day: f.Day, Channel: f.Channel, Campaign: f.Campaign, Micros: f.Micros, KnownDay: f.KnownDay}
	}
	return costs, nil
}

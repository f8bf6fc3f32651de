package lake

import (
	"context"
	"fmt"

	"perennial/features"
)

// putConsents enters the bits that a lot's events set. Of two that happened at the same microsecond the refusal stands.
func putConsents(ctx context.Context, tx transaction, events []features.Event, places []int) error {
	for _, i := range places {
		for _, c := range features.ConsentsOf(&events[i]) {
			granted := 0
			if c.Granted {
				granted = 1
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO consents (user_id, purpose, at_us, known_day, granted) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (user_id, purpose, at_us) DO UPDATE SET granted = excluded.granted WHERE excluded.granted = 0`,
				c.User, c.Purpose, c.At.UnixMicro(), c.KnownDay, granted); err != nil {
				return fmt.Errorf("consents: %w", err)
			}
		}
	}
	return nil
}

// Refused returns the users whose newest bit of a purpose is a refusal, as it was known before the local midnight that begins day known.
func (l *Lake) Refused(ctx context.Context, purpose string, known features.Day) (map[string]bool, error) {
	var users []string
	if err := l.db.SelectContext(ctx, &users, `SELECT user_id FROM consents c WHERE purpose = ? AND known_day < ? AND granted = 0
		AND NOT EXISTS (SELECT 1 FROM consents n WHERE n.user_id = c.user_id AND n.purpose = c.purpose AND n.known_day < ? AND n.at_us > c.at_us)`,
		purpose, known, known); err != nil {
		return nil, fmt.Errorf("consents: %w", err)
	}
	refused := make(map[string]bool, len(users))
	for _, u := range users {
		refused[u] = true
	}
	return refused, nil
}

// Consents returns the history of a user's bits, oldest first.
func (l *Lake) Consents(ctx context.Context, user string) ([]features.Consent, error) {
	var found []struct {
		Purpose  string       `db:"purpose"`
		At       int64        `db:"at_us"`
		KnownDay features.Day `db:"known_day"`
		Granted  int          `db:"granted"`
	}
	user = l.o.Shop.Pseudonym(user)
	if err := l.db.SelectContext(ctx, &found, `SELECT purpose, at_us, known_day, granted FROM consents WHERE user_id = ? ORDER BY at_us, purpose`, user); err != nil {
		return nil, fmt.Errorf("consents: %w", err)
	}
	out := make([]features.Consent, len(found))
	for i, f := range found {
		out[i] = features.Consent{User: user, Purpose: f.Purpose, Granted: f.Granted == 1, At: timeOf(f.At), KnownDay: f.KnownDay}
	}
	return out, nil
}

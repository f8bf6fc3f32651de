package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"perennial/experiments"
)

// Look is a recorded look of a sequential experiment: it never changes afterwards.
type Look struct {
	Experiment string          `json:"experiment"`
	Number     int             `json:"look"`
	At         time.Time       `json:"at"`
	Matured    int64           `json:"matured"`
	Doc        json.RawMessage `json:"doc"`
}

// PutLook records the next look; a look with the same number errs with experiments.ErrExists, a gap or an unreadable document with an *InvalidError.
func (s *Store) PutLook(ctx context.Context, l Look) error {
	if !json.Valid(l.Doc) {
		return experiments.Invalid("doc", "is not JSON")
	}
	return s.write(ctx, false, func(t *tx) error {
		if _, ok, err := t.experiment(l.Experiment); err != nil {
			return err
		} else if !ok {
			return fmt.Errorf("experiment %s: %w", l.Experiment, experiments.ErrNotFound)
		}
		var last int
		if err := t.GetContext(ctx, &last, t.Rebind(`SELECT coalesce(max(number), 0) FROM looks WHERE experiment = ?`), l.Experiment); err != nil {
			return fmt.Errorf("control store: %w", err)
		}
		switch {
		case l.Number <= last && l.Number >= 1:
			return fmt.Errorf("look %d of %s: %w", l.Number, l.Experiment, experiments.ErrExists)
		case l.Number != last+1:
			return experiments.Invalid("look", "%d does not follow %d", l.Number, last)
		}
		return t.exec(`INSERT INTO looks (experiment, number, at, matured, doc) VALUES (?, ?, ?, ?, ?)`, l.Experiment, l.Number, l.At.UnixMicro(), l.Matured, string(l.Doc))
	})
}

// Looks returns the recorded looks of an experiment, oldest first.
func (s *Store) Looks(ctx context.Context, experiment string) ([]Look, error) {
	var rows []struct {
		Number  int    `db:"number"`
		At      int64  `db:"at"`
		Matured int64  `db:"matured"`
		Doc     string `db:"doc"`
	}
	err := s.db.SelectContext(ctx, &rows, s.db.Rebind(`SELECT number, at, matured, doc FROM looks WHERE experiment = ? ORDER BY number`), experiment)
	if err != nil {
		return nil, fmt.Errorf("control store: looks: %w", err)
	}
	looks := make([]Look, len(rows))
	for i, r := range rows {
		looks[i] = Look{experiment, r.Number, micro(r.At), r.Matured, json.RawMessage(r.Doc)}
	}
	return looks, nil
}

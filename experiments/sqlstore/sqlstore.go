// Package sqlstore is the control store on sqlx: experiments with revisions, layers, holdouts, offers, metrics, keys, users, audit and
// recorded looks. SQLite by default, PostgreSQL for several servers.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"perennial/experiments"
)

// Store is the control store. It is safe for concurrent use. Writes of all processes are in one order: each begins by taking the single row of meta.
type Store struct {
	db     *sqlx.DB
	now    func() time.Time
	writer sync.Mutex // one writing transaction a process

	reading     sync.Mutex
	experiments parsed[experiments.Experiment] // under reading
	offers      parsed[experiments.Offer]      // under reading
}

// parsed are documents that Source has read, by key. A document that has not changed is the same object in the next Source.
type parsed[T any] map[string]known[T]

type known[T any] struct {
	doc   string
	value *T
}

// take returns the value of a document, from before when it is the same, and enters it in now.
func (p parsed[T]) take(now parsed[T], key, doc string) (*T, error) {
	k, ok := p[key]
	if !ok || k.doc != doc {
		k = known[T]{doc, new(T)}
		if err := json.Unmarshal([]byte(doc), k.value); err != nil {
			return nil, err
		}
		runtime.Gosched() // a server that answers goes on answering
	}
	now[key] = k
	return k.value, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Version returns a number that rises with every committed change of definitions, keys or opt-outs; polling it is cheap.
func (s *Store) Version(ctx context.Context) (int64, error) {
	var v int64
	if err := s.db.GetContext(ctx, &v, `SELECT version FROM meta WHERE one = 1`); err != nil {
		return 0, fmt.Errorf("control store: version: %w", err)
	}
	return v, nil
}

// Source reads all definitions in one consistent read: one statement sees one moment on both engines. Experiments and offers are shared between the Sources of
// a store and must not be modified.
func (s *Store) Source(ctx context.Context) (experiments.Source, error) {
	var rows []struct {
		Kind    string `db:"kind"`
		Key     string `db:"key"`
		Version int64  `db:"version"`
		Doc     string `db:"doc"`
	}
	var source experiments.Source
	err := s.db.SelectContext(ctx, &rows, `SELECT 'version' AS kind, '' AS key, version, '' AS doc FROM meta
		UNION ALL SELECT 'experiment', key, 0, doc FROM experiments
		UNION ALL SELECT kind, key, 0, doc FROM objects WHERE kind <> 'metric' ORDER BY 1, 2`)
	if err != nil {
		return source, fmt.Errorf("control store: definitions: %w", err)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	tests, offers := make(parsed[experiments.Experiment], len(rows)), parsed[experiments.Offer]{}
	for _, r := range rows {
		switch r.Kind {
		case "version":
			source.Version = r.Version
		case "experiment":
			var e *experiments.Experiment
			e, err = s.experiments.take(tests, r.Key, r.Doc)
			source.Experiments = append(source.Experiments, e)
		case "layer":
			source.Layers, err = appendDoc(source.Layers, r.Doc)
		case "holdout":
			source.Holdouts, err = appendDoc(source.Holdouts, r.Doc)
		case "offer":
			var o *experiments.Offer
			o, err = s.offers.take(offers, r.Key, r.Doc)
			source.Offers = append(source.Offers, o)
		}
		if err != nil {
			return experiments.Source{}, fmt.Errorf("control store: %s: %w", r.Kind, err)
		}
	}
	s.experiments, s.offers = tests, offers
	return source, nil
}

func appendDoc[T any](list []T, doc string) ([]T, error) {
	var v T
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		return list, err
	}
	return append(list, v), nil
}

// tx is one writing transaction.
type tx struct {
	*sqlx.Tx
	ctx context.Context
	at  time.Time
	seq int64
}

// write runs f in a transaction that no other writer of any process overlaps; bump raises the version that servers poll.
func (s *Store) write(ctx context.Context, bump bool, f func(t *tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	t, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	defer t.Rollback() // does nothing after Commit
	step := 0
	if bump {
		step = 1
	}
	w := &tx{Tx: t, ctx: ctx, at: s.now().UTC().Truncate(time.Microsecond)}
	if err := t.GetContext(ctx, &w.seq, t.Rebind(`UPDATE meta SET version = version + ?, writes = writes + 1 WHERE one = 1 RETURNING writes`), step); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	if err := f(w); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	return nil
}

func (t *tx) exec(query string, args ...any) error {
	if _, err := t.ExecContext(t.ctx, t.Rebind(query), args...); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	return nil
}

// doc reads one document into v; ok is false when there is none.
func (t *tx) doc(v any, query string, args ...any) (ok bool, err error) {
	var raw string
	switch err := t.GetContext(t.ctx, &raw, t.Rebind(query), args...); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("control store: %w", err)
	}
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return false, fmt.Errorf("control store: %w", err)
	}
	return true, nil
}

// audit records who did what; a transaction records at most one entry.
func (t *tx) audit(by, action, object string, doc any) error {
	raw, err := experiments.Marshal(doc)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return t.exec(`INSERT INTO audit (seq, at, by_, action, object, doc) VALUES (?, ?, ?, ?, ?, ?)`, t.seq, t.at.UnixMicro(), by, action, object, string(raw))
}

// AuditEntry is who changed what.
type AuditEntry struct {
	At     time.Time       `json:"at"`
	By     string          `json:"by"`
	Action string          `json:"action"`
	Object string          `json:"object"`
	Doc    json.RawMessage `json:"doc,omitempty"`
}

// Audit returns the newest entries, at most limit (0 means 100); object "" means all. Objects are named "experiment/KEY", "layer/KEY", "key/ID" and so on.
func (s *Store) Audit(ctx context.Context, object string, limit int) ([]AuditEntry, error) {
	if limit <= 0 {
		limit = 100
	}
	var rows []struct {
		At     int64  `db:"at"`
		By     string `db:"by_"`
		Action string `db:"action"`
		Object string `db:"object"`
		Doc    string `db:"doc"`
	}
	err := s.db.SelectContext(ctx, &rows, s.db.Rebind(`SELECT at, by_, action, object, doc FROM audit WHERE ? = '' OR object = ? ORDER BY seq DESC LIMIT ?`), object, object, limit)
	if err != nil {
		return nil, fmt.Errorf("control store: audit: %w", err)
	}
	entries := make([]AuditEntry, len(rows))
	for i, r := range rows {
		entries[i] = AuditEntry{micro(r.At), r.By, r.Action, r.Object, json.RawMessage(r.Doc)}
	}
	return entries, nil
}

func micro(us int64) time.Time { return time.UnixMicro(us).UTC() }

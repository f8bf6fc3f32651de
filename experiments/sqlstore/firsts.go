package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
)

// First is a value that servers sharing a store give once: the first that is entered under (Kind, Space, ID) stands until one comes whose Floor is above its
// Rank.
type First struct {
	Kind  string `db:"kind"`
	Space string `db:"space"`
	ID    string `db:"id"`
	Owner string `db:"owner"` // Forget finds it by this and by ID
	Rank  int64  `db:"rank"`
	Floor int64  `db:"floor"`
	Doc   string `db:"doc"`
}

// Firsts enters values for one server and follows those of the others. It is safe for concurrent use.
type Firsts struct {
	db     *sqlx.DB
	writer string

	mu      sync.Mutex
	waiting []*entry
	writing bool

	n int64 // rows that this writer has entered; only the writing goroutine touches it

	following sync.Mutex
	seen      map[string]int64 // how far each writer is followed
}

type entry struct {
	rows []First
	err  error
	done chan struct{}
}

const (
	firstsBatch = 500 // rows of one statement
	firstsWait  = 5 * time.Second
)

// Firsts registers a writer.
func (s *Store) Firsts(ctx context.Context) (*Firsts, error) {
	f := &Firsts{db: s.db, writer: rand.Text(), seen: map[string]int64{}}
	if _, err := s.db.ExecContext(ctx, s.db.Rebind(`INSERT INTO writers (id, n) VALUES (?, 0)`), f.writer); err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	return f, nil
}

// Enter enters values and returns those that stand, in the same order. Callers at the same time share a transaction.
func (f *Firsts) Enter(ctx context.Context, rows []First) ([]First, error) {
	e := &entry{rows: slices.Clone(rows), done: make(chan struct{})}
	f.mu.Lock()
	f.waiting = append(f.waiting, e)
	if !f.writing {
		f.writing = true
		go f.write(context.WithoutCancel(ctx))
	}
	f.mu.Unlock()
	select {
	case <-e.done:
		return e.rows, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write enters what waits until nothing does.
func (f *Firsts) write(ctx context.Context) {
	for {
		f.mu.Lock()
		if len(f.waiting) == 0 {
			f.writing = false
			f.mu.Unlock()
			return
		}
		lot, size := 0, 0
		for lot < len(f.waiting) && (lot == 0 || size+len(f.waiting[lot].rows) <= firstsBatch) {
			size += len(f.waiting[lot].rows)
			lot++
		}
		entries := f.waiting[:lot:lot]
		f.waiting = f.waiting[lot:]
		f.mu.Unlock()
		err := f.enter(ctx, entries)
		for _, e := range entries {
			e.err = err
			close(e.done)
		}
	}
}

type firstKey struct{ kind, space, id string }

func (r *First) key() firstKey { return firstKey{r.Kind, r.Space, r.ID} }

// enter commits the rows of some callers and replaces them by those that stand. A turn writes one row of each key, in the order of the keys, so that two servers
// never wait for each other; a later row of a key sees what the earlier one became.
func (f *Firsts) enter(ctx context.Context, entries []*entry) error {
	ctx, cancel := context.WithTimeout(ctx, firstsWait)
	defer cancel()
	t, err := f.db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	defer t.Rollback() // does nothing after Commit
	var left []First
	for _, e := range entries {
		left = append(left, e.rows...)
	}
	n, stands := f.n, map[firstKey]First{}
	for len(left) > 0 {
		var turn, later []First
		taken := map[firstKey]bool{}
		for _, r := range left {
			have, ok := stands[r.key()]
			switch {
			case ok && have.Rank >= r.Floor:
			case taken[r.key()]:
				later = append(later, r)
			default:
				taken[r.key()] = true
				turn = append(turn, r)
			}
		}
		slices.SortFunc(turn, func(a, b First) int {
			return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Space, b.Space), strings.Compare(a.ID, b.ID))
		})
		for lot := range slices.Chunk(turn, firstsBatch) {
			if err := f.insert(ctx, t, lot, n, stands); err != nil {
				return fmt.Errorf("control store: %w", err)
			}
			n += int64(len(lot))
		}
		left = later
	}
	if n > f.n {
		if _, err := t.ExecContext(ctx, t.Rebind(`UPDATE writers SET n = ? WHERE id = ?`), n, f.writer); err != nil {
			return fmt.Errorf("control store: %w", err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	f.n = n
	for _, e := range entries {
		for i := range e.rows {
			e.rows[i] = stands[e.rows[i].key()]
		}
	}
	return nil
}

// insert enters rows of different keys and reads what stands under them.
func (f *Firsts) insert(ctx context.Context, t *sqlx.Tx, rows []First, n int64, stands map[firstKey]First) error {
	values, args, keys := make([]string, len(rows)), make([]any, 0, 9*len(rows)), make([]any, 0, 3*len(rows))
	for i, r := range rows {
		values[i] = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
		args = append(args, r.Kind, r.Space, r.ID, r.Owner, r.Rank, r.Floor, r.Doc, f.writer, n+int64(i)+1)
		keys = append(keys, r.Kind, r.Space, r.ID)
	}
	if _, err := t.ExecContext(ctx, t.Rebind(`INSERT INTO firsts (kind, space, id, owner, rank, floor, doc, writer, n) VALUES `+strings.Join(values, ", ")+`
		ON CONFLICT (kind, space, id) DO UPDATE SET owner = excluded.owner, rank = excluded.rank, floor = excluded.floor, doc = excluded.doc, writer = excluded.writer, n = excluded.n
		WHERE firsts.rank < excluded.floor`), args...); err != nil {
		return err
	}
	for i := range values {
		values[i] = "(?, ?, ?)"
	}
	var found []First
	if err := t.SelectContext(ctx, &found, t.Rebind(`SELECT kind, space, id, owner, rank, floor, doc FROM firsts WHERE (kind, space, id) IN (VALUES `+strings.Join(values, ", ")+`)`), keys...); err != nil {
		return err
	}
	for _, r := range found {
		stands[r.key()] = r
	}
	return nil
}

// Since returns what every writer, this one included, has entered since the last call, and everything at the first; more tells that there is more.
func (f *Firsts) Since(ctx context.Context) (rows []First, more bool, err error) {
	const page = 20_000
	f.following.Lock()
	defer f.following.Unlock()
	var writers []struct {
		ID string `db:"id"`
		N  int64  `db:"n"`
	}
	if err := f.db.SelectContext(ctx, &writers, `SELECT id, n FROM writers WHERE n > 0`); err != nil {
		return nil, false, fmt.Errorf("control store: %w", err)
	}
	for _, w := range writers {
		from := f.seen[w.ID]
		if w.N <= from {
			continue
		}
		until := min(w.N, from+page)
		var found []First
		if err := f.db.SelectContext(ctx, &found, f.db.Rebind(`SELECT kind, space, id, owner, rank, floor, doc FROM firsts WHERE writer = ? AND n > ? AND n <= ? ORDER BY n`), w.ID, from, until); err != nil {
			return rows, true, fmt.Errorf("control store: %w", err)
		}
		rows, more = append(rows, found...), more || until < w.N
		f.seen[w.ID] = until
	}
	return rows, more, nil
}

// Forget deletes everything of an id.
func (f *Firsts) Forget(ctx context.Context, id string) error {
	if _, err := f.db.ExecContext(ctx, f.db.Rebind(`DELETE FROM firsts WHERE id = ? OR owner = ?`), id, id); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	return nil
}

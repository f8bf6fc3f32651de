package lake

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"perennial/features"
)

// prove waits for the readers of the replaced files, looks for the id in every file and, when nothing is left, replaces the
// tombstone by a keyed hash.
func (l *Lake) prove(ctx, waiting context.Context, user string, p *Proof) error {
	for {
		if _, err := l.Collect(ctx); err != nil {
			return err
		}
		l.leases.mu.Lock()
		l.dropIdle(ctx, -1)
		l.leases.mu.Unlock()
		if err := l.db.GetContext(ctx, &p.Waiting, `SELECT count(*) FROM segments WHERE removed IS NOT NULL`); err != nil {
			return err
		}
		if p.Waiting == 0 {
			break
		}
		select {
		case <-waiting.Done():
			return nil // not complete: the proof says so
		case <-time.After(50 * time.Millisecond):
		}
	}
	live, err := l.segments(ctx, l.db, `true`)
	if err != nil {
		return err
	}
	p.Left = 0
	for _, g := range live {
		n, err := l.countRows(ctx, g.Path, quoteUser(user, p.Before))
		if err != nil {
			return err
		}
		p.Left += n
	}
	inRuns, err := l.countRuns(ctx, user)
	if err != nil {
		return err
	}
	p.Left += inRuns
	inJournal, err := l.countJournal(user, p.Before)
	if err != nil {
		return err
	}
	p.Left += inJournal
	if p.Left > 0 {
		return nil
	}
	p.Complete = true
	reached("erase: proven")
	return l.finishErasure(ctx, user, p)
}

// countRuns counts the rows of a user in the files of tiles, features and scores, read decompressed.
func (l *Lake) countRuns(ctx context.Context, user string) (left int64, err error) {
	files, err := l.runFiles()
	if err != nil || len(files) == 0 {
		return 0, err
	}
	duck, err := openDuck(ctx, filepath.Join(l.o.Private, "tmp"), l.o.Memory, 1, l.o.Dir)
	if err != nil {
		return 0, err
	}
	defer duck.Close()
	for _, f := range files {
		var n int64
		err := duck.QueryRowContext(ctx, `SELECT count(*) FROM read_parquet(`+list([]string{f})+`) WHERE user_id = ?`, user).Scan(&n)
		switch {
		case err == nil:
			left += n
		case !strings.Contains(err.Error(), "user_id"): // a file without users
			return left, err
		}
	}
	return left, nil
}

// countJournal counts the unsealed events and sticky answers that belong to the erased past of a user.
func (l *Lake) countJournal(user string, before time.Time) (n int64, err error) {
	j, err := l.enter()
	if err != nil {
		return 0, err
	}
	defer j.leave()
	var events []features.Event
	err = j.each(eventPrefix, func(_, record []byte) (err error) {
		if events, err = decodeRecord(events[:0], record); err != nil {
			return err
		}
		for i := range events {
			if e := &events[i]; (e.UserID == user || e.AnonymousID == user) && !e.ReceivedAt.After(before) {
				n++
			}
		}
		return nil
	})
	return n, errors.Join(err, j.each(keptPrefix, func(key, _ []byte) error {
		if _, unit, ok := strings.Cut(string(key[1:]), "\x00"); ok && unit == user {
			n++
		}
		return nil
	}))
}

// finishErasure replaces the tombstone, which holds the id, by its keyed hash and rewrites lake.db's pages.
func (l *Lake) finishErasure(ctx context.Context, user string, p *Proof) error {
	key, err := l.erasureKey(ctx)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := l.inTx(ctx, func(tx transaction) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO erasures (user_hash, before_us, proof) VALUES (?, ?, ?)
			ON CONFLICT (user_hash) DO UPDATE SET before_us = excluded.before_us, proof = excluded.proof`, userHash(key, user), p.Before.UnixMicro(), string(doc)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM tombstones WHERE user_id = ?`, user); err != nil {
			return err
		}
		_, err := nextSnapshot(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	if l.db.shared { // old rows go with PostgreSQL's own vacuum and write-ahead log
		_, err = l.db.ExecContext(ctx, `VACUUM tombstones, links, consents, attributes`)
		return err
	}
	_, err = l.db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`) // the pages were overwritten with zeros: secure_delete
	return err
}

// erasureKey returns the lake's key of user hashes, made at the first erasure.
func (l *Lake) erasureKey(ctx context.Context) ([]byte, error) {
	var fresh [32]byte
	rand.Read(fresh[:]) // never fails
	if _, err := l.db.ExecContext(ctx, `INSERT INTO records (kind, key, doc) VALUES ('secret', 'erasure', ?) ON CONFLICT DO NOTHING`, `"`+hex.EncodeToString(fresh[:])+`"`); err != nil {
		return nil, err
	}
	secrets, err := l.Records(ctx, "secret")
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(strings.Trim(string(secrets["erasure"]), `"`))
}

func userHash(key []byte, user string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(user))
	return hex.EncodeToString(m.Sum(nil))
}

package lake

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"time"

	"github.com/jmoiron/sqlx"
)

// Advisory locks of a PostgreSQL that several servers share: the lake lock, and the one that makes transactions follow one another.
const (
	lakeLock = int64(0x7065726c616b01)
	txLock   = int64(0x7065726c616b02)
)

// lockHolder is the context key of the connection that holds the lake lock.
type lockHolder struct{}

// locked runs f under the lake lock: anti-join and commit of every sealer, importer and compactor happen one at a time, of the machine by a file's lock, of several
// servers by PostgreSQL's. f's context carries the lock to inTx.
func (l *Lake) locked(ctx context.Context, f func(ctx context.Context) error) error {
	l.lockMu.Lock()
	defer l.lockMu.Unlock()
	const wait = 10 * time.Minute
	if !l.db.shared {
		lock, err := waitLock(ctx, filepath.Join(l.o.Dir, "lake.lock"), wait, 2*time.Millisecond)
		if err != nil {
			return fmt.Errorf("lake lock: %w", err)
		}
		return errors.Join(f(ctx), lock.unlock())
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := l.db.Connx(waiting)
	if err != nil {
		return fmt.Errorf("lake lock: %w", err)
	}
	if _, err := conn.ExecContext(waiting, `SELECT pg_advisory_lock($1)`, lakeLock); err != nil {
		drop(conn)
		return fmt.Errorf("lake lock: %w", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.ExecContext(after, `SELECT pg_advisory_unlock($1)`, lakeLock); err != nil {
			drop(conn)
			return
		}
		conn.Close()
	}()
	return f(context.WithValue(ctx, lockHolder{}, conn))
}

// drop ends a session of PostgreSQL, and every lock of it with it.
func drop(conn *sqlx.Conn) {
	conn.Raw(func(any) error { return driver.ErrBadConn })
	conn.Close()
}

// Exclusive takes a lock that one process of all holds, such as the night's; ok is false when another has it. It goes with the process.
func (l *Lake) Exclusive(ctx context.Context, name string) (release func(), ok bool, err error) {
	if !l.db.shared {
		lock, ok, err := tryLock(filepath.Join(l.o.Dir, name+".lock"))
		if err != nil || !ok {
			return nil, false, err
		}
		return func() { lock.unlock() }, true, nil
	}
	conn, err := l.db.Connx(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", name, err)
	}
	h := fnv.New64a()
	h.Write([]byte("perennial lock " + name))
	if err := conn.QueryRowxContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(h.Sum64())).Scan(&ok); err != nil || !ok {
		drop(conn)
		if err != nil {
			err = fmt.Errorf("lock %s: %w", name, err)
		}
		return nil, false, err
	}
	return func() { drop(conn) }, true, nil
}

package lake

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"perennial/features"
)

// An import beside a running server goes through serve.sock a lot at a time: `import KIND N`, at most N rows, answered by `go` when no other lot is in the
// server's memory, then rows with their length in front, an empty one at the end, and the answer `ok A B`. The server writes the lot itself, as the import
// would without it: as segments under the lake lock for events, in a transaction for facts. Nothing goes through the journal, so that millions of rows take neither its room nor the
// memory of recent ids from live events, which wait for neither.

// Bounds of a lot of an import on its way.
const (
	importRows  = 200_000
	factRows    = 5_000 // of users or costs: one transaction, which a seal waits for
	importBytes = 64 << 20
	importRow   = 16 << 20
)

// errAway is an import that its server left in the middle.
var errAway = errors.New("the running server went away in the middle of the import; nothing is lost: run the same import again, with a server or without, it takes nothing twice")

// errStops is what a server says that is stopped.
var errStops = errors.New("it is stopping; nothing is lost: run the same import again, with a server or without, it takes nothing twice")

// patient is a connection whose other side may take its time, but not for ever.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// viaServer loads n rows through the process that owns the journal, a lot of at most most rows at a time, and adds up what it answers. Where nobody owns the
// journal, or this process does, alone loads the rows [from, to). row appends a row.
func (l *Lake) viaServer(ctx context.Context, kind string, n, most int, row func(dst []byte, i int) ([]byte, error),
	alone func(from, to int) (a, b int, err error)) (a, b int, err error) {
	if l.journal.Load() != nil {
		return alone(0, n)
	}
	for from := 0; from < n; {
		var to, x, y int
		err := l.byOwner(ctx, "import", func(lock *fileLock) error {
			if err := lock.unlock(); err != nil { // the lake lock orders it with a server that starts now
				return err
			}
			to = n
			var err error
			x, y, err = alone(from, n)
			return err
		}, func() (done bool, err error) {
			to, x, y, done, err = l.sendLot(ctx, kind, from, min(n, from+most), row)
			return done, err
		})
		if err != nil {
			return a, b, err
		}
		a, b, from = a+x, b+y, to
	}
	return a, b, nil
}

// sendLot sends the rows from from on, up to to or as many as a lot may hold. done is false when the server could not be reached: then it has got no row.
func (l *Lake) sendLot(ctx context.Context, kind string, from, to int, row func(dst []byte, i int) ([]byte, error)) (next, a, b int, done bool, err error) {
	c := l.dial(ctx)
	if c == nil {
		return from, 0, 0, ctx.Err() != nil, ctx.Err()
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })()
	in := bufio.NewReader(c)
	if _, err := fmt.Fprintln(c, "import", kind, to-from); err != nil {
		return from, 0, 0, ctx.Err() != nil, ctx.Err()
	}
	line, err := in.ReadString('\n')
	if err != nil {
		return from, 0, 0, ctx.Err() != nil, ctx.Err()
	}
	if line != "go\n" {
		_, err := answered(line)
		if err == nil {
			err = fmt.Errorf("the server answers %q", line)
		}
		if line == "error unknown request\n" {
			err = errors.New("the running server is of an earlier version, which takes no import: restart it")
		}
		return from, 0, 0, true, err
	}
	next, sent := from, 0
	out := bufio.NewWriterSize(c, 256<<10)
	var buffer, head []byte
	for ; next < to && sent < importBytes-importRow; next++ {
		if buffer, err = row(buffer[:0], next); err != nil {
			return from, 0, 0, true, err
		}
		head = binary.AppendUvarint(head[:0], uint64(len(buffer)))
		out.Write(head) // a bufio.Writer keeps its error
		if _, err = out.Write(buffer); err != nil {
			break
		}
		sent += len(head) + len(buffer)
	}
	if err == nil {
		out.WriteByte(0)
		err = out.Flush()
	}
	line, readErr := in.ReadString('\n') // a server that refuses a row says so before it has read all
	switch {
	case ctx.Err() != nil:
		return from, 0, 0, true, ctx.Err()
	case readErr != nil:
		return from, 0, 0, true, errAway
	}
	text, err := answered(line)
	if err == nil {
		_, err = fmt.Sscanf(text, "%d %d", &a, &b)
	}
	return next, a, b, true, err
}

// takeIn is the server's side of sendLot.
func (l *Lake) takeIn(request string, in *bufio.Reader, c net.Conn) (sums [2]int, err error) {
	var kind string
	var n int
	if _, err := fmt.Sscan(request, &kind, &n); err != nil {
		return sums, fmt.Errorf("import %q: %w", request, err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return sums, err
	}
	s := &l.server
	s.mu.Lock()
	if s.early == nil {
		s.mu.Unlock()
		return sums, errStops
	}
	stop, turn := s.stop, s.turn
	s.done.Add(1)
	s.mu.Unlock()
	defer s.done.Done()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(errStops)
			c.(*net.UnixConn).CloseRead() // sameUser has looked; a deadline would be overwritten by the next read
		case <-ctx.Done():
		}
	}()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return sums, errStops
	}
	defer func() { <-turn }()
	if _, err := fmt.Fprintln(c, "go"); err != nil {
		return sums, err
	}
	if err := l.disk.check(l.o.Dir, l.o.Reserve, 0); err != nil {
		return sums, err
	}
	switch kind {
	case "events":
		var events []features.Event
		if events, err = rowsOf(in, min(n, importRows), decodeImported); err == nil {
			sums[0], sums[1], err = l.load(ctx, events)
		}
	case "users":
		var traits []features.Traits
		if traits, err = rowsOf(in, min(n, factRows), fromJSON[features.Traits]); err == nil {
			sums[0], err = l.putTraits(ctx, traits)
		}
	case "costs":
		var costs []features.Cost
		if costs, err = rowsOf(in, min(n, factRows), fromJSON[features.Cost]); err == nil {
			sums[0], err = l.putCosts(ctx, costs)
		}
	default:
		err = fmt.Errorf("unknown import %q", kind)
	}
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	return sums, err
}

// rowsOf reads at most so many rows until the empty one. They get their room at once: a slice that grows would leave five times as much to the garbage
// collector, whose work requests wait for.
func rowsOf[T any](in *bufio.Reader, most int, decode func(row []byte) (T, error)) ([]T, error) {
	rows := make([]T, 0, max(most, 0))
	var buffer []byte
	for total := 0; ; {
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		if n == 0 {
			return rows, nil
		}
		if total += int(min(n, importRow+1)); n > importRow || total > importBytes || len(rows) >= most {
			return nil, errors.New("import: more than a lot holds")
		}
		if uint64(cap(buffer)) < n {
			buffer = make([]byte, n)
		}
		if _, err := io.ReadFull(in, buffer[:n]); err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		row, err := decode(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("import: row %d: %w", len(rows)+1, err)
		}
		rows = append(rows, row)
	}
}

func fromJSON[T any](row []byte) (v T, err error) {
	err = json.Unmarshal(row, &v)
	return v, err
}

func toJSON(dst []byte, v any) ([]byte, error) {
	doc, err := json.Marshal(v)
	return append(dst, doc...), err
}

package warehouse

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"perennial/features"
	"perennial/features/vectors"
)

// all are the numbers of passes.
func all(passes int) (list []int) {
	for i := range passes {
		list = append(list, i)
	}
	return list
}

// eachPass calls use for every pass of todo, which are ascending ranges of user buckets, with a runner and the query of its relation base: "" on a cluster,
// whose statements compute it of the relations tiles and tile_values, and where a sweep has no room. Otherwise a sweep computes it, and use is called by several goroutines at once.
func (e *Engine) eachPass(ctx context.Context, src *tileSource, cuts []features.Day, passes int, todo []int, use func(ctx context.Context, r runner, pass int, base string) error) error {
	s, ok := src.runner.(*session)
	workers := e.sweepers(src)
	if !ok || e.joined || workers == 0 {
		for _, pass := range todo {
			if err := use(ctx, src, pass, ""); err != nil {
				return err
			}
		}
		return nil
	}
	db, err := e.streams()
	if err != nil {
		return err
	}
	for _, files := range [][]string{src.tiles, src.values} {
		for i, file := range files {
			path, done, err := e.inside(file)
			if err != nil {
				return err
			}
			s.ends, files[i] = append(s.ends, done), path
		}
	}
	w := &sweeping{e: e, db: db, workers: workers, src: src, sweep: newSweep(e.p, e.o.Shop, cuts), passes: passes, todo: todo, use: use, pieces: make([][]string, passes), waits: make([]int, passes)}
	if len(src.links) > 0 {
		w.except = map[string]bool{}
		eachFold(src.links, e.o.Shop, cuts)(func(v ...driver.Value) error {
			w.except[v[2].(string)] = true
			return nil
		})
		if len(src.tiles) > 0 {
			if err := e.linked(ctx, s); err != nil {
				return err
			}
			w.folded = func(pass int) string {
				q := &query{p: e.p, d: DuckDB, shop: e.o.Shop, cuts: cuts, tiles: true, where: bucketRange(pass, passes), fold: true, alone: true}
				return "WITH " + q.relations() + " SELECT * FROM base"
			}
		}
	}
	return w.run(ctx, s)
}

// linkedTiles and linkedValues are the tiles and values of the ids of fold. Every pass asks for its share of them, which lies under any bucket.
const linkedTiles, linkedValues = "linked_tiles", "linked_values"

// linked makes the two relations: files that go with the session.
func (e *Engine) linked(ctx context.Context, s *session) error {
	dir, err := os.MkdirTemp(filepath.Join(e.dir, "tmp"), "linked-")
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func() { os.RemoveAll(dir) })
	for _, r := range [][2]string{{"tiles", linkedTiles}, {"tile_values", linkedValues}} {
		path := filepath.Join(dir, r[1]+".parquet")
		if _, err := s.copyTo(ctx, "SELECT * FROM "+r[0]+" WHERE user_id IN (SELECT alias FROM fold)", path); err != nil {
			return err
		}
		if err := s.attach(ctx, r[1], path); err != nil {
			return err
		}
	}
	return nil
}

// streamBytes is what a column of an open file takes: the values of a row group as they lie in the file, and some vectors of them. 24 months of the default
// catalog took 75 KiB.
const streamBytes = 100 << 10

// sweepers is how many goroutines sweep: one a thread, or fewer where the files of all months, which every one of them has open, would take more than the
// streams may; 0 where they do for one.
func (e *Engine) sweepers(src *tileSource) int {
	columns := len(e.p.tiles) + 4
	if len(e.p.values) > 0 {
		columns += 7
	}
	return min(e.o.Threads, int(e.streamMemory()/int64(max(1, len(src.tiles)*columns*streamBytes))))
}

// sweeping is a sweep over passes by several goroutines. Each has a range of user buckets, so that it reads every file once and from front to back; a pass on
// the border of two ranges is a piece of each.
type sweeping struct {
	e       *Engine
	db      *vectors.DB
	workers int
	src     *tileSource
	sweep   *sweep
	except  map[string]bool       // ids that the sweep leaves out
	folded  func(pass int) string // and the query of base of their rows; nil without any
	passes  int
	todo    []int
	use     func(ctx context.Context, r runner, pass int, base string) error

	mu     sync.Mutex
	pieces [][]string // by pass: tables
	waits  []int      // by pass: pieces that are not there
}

// run sweeps, one goroutine a thread.
func (w *sweeping) run(ctx context.Context, s *session) error {
	border := func(i int) int { return firstBucket(i, w.workers) }
	for i := range w.workers {
		for _, pass := range w.todo {
			if from, to := w.within(pass, border(i), border(i+1)); from < to {
				w.waits[pass]++
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make([]error, w.workers)
	var running sync.WaitGroup
	for i := range w.workers {
		running.Go(func() {
			runtime.LockOSThread() // the C library keeps freed memory by thread: one thread for all of it saves a fifth of the peak
			own := s
			if i > 0 {
				var err error
				if own, err = s.twin(ctx); err != nil {
					failed[i] = err
					cancel()
					return
				}
				defer own.done()
			}
			if failed[i] = w.work(ctx, own, border(i), border(i+1)); failed[i] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	for _, tables := range w.pieces {
		w.drop(tables)
	}
	return first(failed)
}

// first is the error that stopped the others, which were cancelled.
func first(failed []error) error {
	slices.SortStableFunc(failed, func(a, b error) int {
		rank := func(err error) int {
			switch {
			case err == nil:
				return 2
			case errors.Is(err, context.Canceled):
				return 1
			}
			return 0
		}
		return rank(a) - rank(b)
	})
	return failed[0]
}

// within is the buckets of a pass that lie in a range.
func (w *sweeping) within(pass, low, high int) (from, to int) {
	return max(low, firstBucket(pass, w.passes)), min(high, firstBucket(pass+1, w.passes))
}

// work sweeps the passes of a range of buckets. Passes that follow one another are read in one go.
func (w *sweeping) work(ctx context.Context, s *session, low, high int) error {
	for i := 0; i < len(w.todo); {
		end := i + 1
		for end < len(w.todo) && w.todo[end] == w.todo[end-1]+1 {
			end++
		}
		from, to := max(low, firstBucket(w.todo[i], w.passes)), min(high, firstBucket(w.todo[end-1]+1, w.passes))
		if from < to {
			if err := w.stretch(ctx, s, w.todo[i:end], from, to); err != nil {
				return err
			}
		}
		i = end
	}
	return nil
}

// stretch sweeps what some passes have in a range of buckets.
func (w *sweeping) stretch(ctx context.Context, s *session, passes []int, low, high int) error {
	r, err := w.sweep.openReader(ctx, w.db, w.src, low, high, w.except)
	if err != nil {
		return err
	}
	defer r.close()
	for _, pass := range passes {
		from, to := w.within(pass, low, high)
		if from >= to {
			continue
		}
		table, drop, err := w.e.table(ctx, s, "swept", w.sweep.definition())
		if err != nil {
			return err
		}
		if err := s.Raw(func(conn any) error { return w.fill(conn, r, table, to) }); err != nil {
			drop()
			return fmt.Errorf("sweep: %w", err)
		}
		if err := w.piece(ctx, s, pass, table); err != nil {
			return err
		}
	}
	return nil
}

// fill writes the rows of the users below a bucket into a table.
func (w *sweeping) fill(conn any, r *sweepReader, table string, bucket int) error {
	c, err := vectors.Of(conn)
	if err != nil {
		return err
	}
	rows, err := w.sweep.rowsInto(c, table)
	if err != nil {
		return err
	}
	return errors.Join(r.until(bucket, rows), rows.a.Close())
}

// piece notes a piece of a pass, and uses the pass when it was the last one.
func (w *sweeping) piece(ctx context.Context, s *session, pass int, table string) error {
	w.mu.Lock()
	w.pieces[pass] = append(w.pieces[pass], table)
	w.waits[pass]--
	pieces, whole := w.pieces[pass], w.waits[pass] == 0
	w.mu.Unlock()
	if !whole {
		return nil
	}
	base := "SELECT * FROM " + strings.Join(pieces, " UNION ALL SELECT * FROM ")
	if w.folded != nil {
		if _, err := s.ExecContext(ctx, "INSERT INTO "+table+" "+w.folded(pass)); err != nil {
			return err
		}
	}
	err := w.use(ctx, s, pass, base)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(w.pieces[pass])
	w.pieces[pass] = nil
	return err
}

func (w *sweeping) drop(tables []string) {
	for _, t := range tables {
		w.e.db.Exec("DROP TABLE IF EXISTS " + t)
	}
}

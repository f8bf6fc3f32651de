package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// shop is where the made-up customers live.
var shop = features.Shop{Location: time.FixedZone("CST", 8*3600), Currency: "CNY", MarginRate: 0.3, RefundMaturityDays: 10}

// clock is after everything that the checks make up.
func clock() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }

// world is one data directory with a lake and both engines over it.
type world struct {
	lab   *lab
	dir   string
	shop  features.Shop
	lake  *lake.Lake
	duck  *warehouse.Engine
	trino *warehouse.Engine
}

// newWorld makes a data directory in the cluster's lake, or opens the one at dir. retry is the session's retry policy.
func (l *lab) newWorld(ctx context.Context, name string, c *features.Catalog, s features.Shop, retry string) (*world, error) {
	dir := filepath.Join(l.lake, name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		l.dirs = append(l.dirs, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &world{lab: l, dir: dir, shop: s}
	var err error
	if w.lake, err = lake.Open(ctx, lake.Options{Dir: dir, Shop: s, Now: clock, Grace: time.Millisecond}); err != nil {
		return nil, err
	}
	o := warehouse.Options{Dir: dir, Shop: s, Catalog: c, Memory: 1 << 30, Now: clock}
	if w.duck, err = warehouse.Open(ctx, o); err != nil {
		return nil, err
	}
	o.Trino = l.options(name, retry)
	w.trino, err = warehouse.Open(ctx, o)
	return w, err
}

// options are those of an engine on the cluster over a data directory of its lake.
func (l *lab) options(name, retry string) *warehouse.TrinoOptions {
	o := &warehouse.TrinoOptions{URL: l.url, Schema: "t_" + name, Location: "local:///" + name}
	if retry != "" {
		o.URL += "?session_properties=retry_policy:" + retry
	}
	return o
}

func (w *world) close() {
	w.trino.Close()
	w.duck.Close()
	w.lake.Close()
}

// with runs f on the newest snapshot.
func (w *world) with(ctx context.Context, f func(s *lake.Snapshot) error) error {
	s, err := w.lake.Snapshot(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// loadAll loads events in lots, so that days have several segments.
func (w *world) loadAll(ctx context.Context, events []features.Event, lots int) error {
	for i := range lots {
		part := events[i*len(events)/lots : (i+1)*len(events)/lots]
		if _, _, err := w.lake.Load(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// before keeps the events of the days before a bound.
func before(events []features.Event, bound features.Day) []features.Event {
	var kept []features.Event
	for _, e := range events {
		if e.BizDay < bound {
			kept = append(kept, e)
		}
	}
	return kept
}

// day is a date of a check.
func day(text string) features.Day {
	d, err := features.ParseDay(text)
	if err != nil {
		panic(err)
	}
	return d
}

// sameTable compares two tables cell by cell, bit by bit, and returns how many cells agree.
func sameTable(a, b *features.Table) (cells int, err error) {
	if a.AsOf != b.AsOf || len(a.Users) != len(b.Users) || len(a.Columns) != len(b.Columns) {
		return 0, fmt.Errorf("%d users and %d columns as of %s, and %d and %d as of %s", len(a.Users), len(a.Columns), a.AsOf, len(b.Users), len(b.Columns), b.AsOf)
	}
	for i := range a.Users {
		if a.Users[i] != b.Users[i] {
			return 0, fmt.Errorf("row %d is another user", i)
		}
	}
	for c := range a.Columns {
		x, y := &a.Columns[c], &b.Columns[c]
		if x.Name != y.Name || x.Integer != y.Integer || (x.Texts == nil) != (y.Texts == nil) {
			return 0, fmt.Errorf("column %d: %s and %s", c, x.Name, y.Name)
		}
		for i := range a.Users {
			if x.Texts != nil {
				if x.Texts[i] != y.Texts[i] {
					return 0, fmt.Errorf("%s of row %d: %q and %q", x.Name, i, x.Texts[i], y.Texts[i])
				}
			} else if p, q := x.Numbers[i], y.Numbers[i]; math.Float64bits(p) != math.Float64bits(q) && !(math.IsNaN(p) && math.IsNaN(q)) {
				return 0, fmt.Errorf("%s of row %d: %v and %v", x.Name, i, p, q)
			}
			cells++
		}
	}
	return cells, nil
}

// sameTables is sameTable for the cuts of one build.
func sameTables(a, b []*features.Table) (cells int, err error) {
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d tables and %d", len(a), len(b))
	}
	for i := range a {
		n, err := sameTable(a[i], b[i])
		if err != nil {
			return 0, fmt.Errorf("as of %s: %w", a[i].AsOf, err)
		}
		cells += n
	}
	return cells, nil
}

// madeDir is a new directory in the world's.
func (w *world) madeDir(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// tiles builds the tiles of a snapshot with an engine in a new directory.
func (w *world) tiles(ctx context.Context, e *warehouse.Engine, s *lake.Snapshot, name, previous string) (string, *warehouse.Tiles, error) {
	dir, err := w.madeDir(name)
	if err != nil {
		return "", nil, err
	}
	t, err := e.BuildTiles(ctx, s, dir, previous, nil)
	return dir, t, err
}

// sameFiles compares the files of two directories byte by byte.
func sameFiles(a, b string) error {
	list, err := os.ReadDir(a)
	if err != nil {
		return err
	}
	other, err := os.ReadDir(b)
	if err != nil {
		return err
	}
	if len(list) != len(other) {
		return fmt.Errorf("%d files and %d", len(list), len(other))
	}
	for _, f := range list {
		x, err := os.ReadFile(filepath.Join(a, f.Name()))
		if err != nil {
			return err
		}
		y, err := os.ReadFile(filepath.Join(b, f.Name()))
		if err != nil {
			return err
		}
		if string(x) != string(y) {
			return fmt.Errorf("%s differs", f.Name())
		}
	}
	return nil
}

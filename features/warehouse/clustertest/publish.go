package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
)

// publish rebuilds and publishes tiles of changing days again and again, while late orders are loaded, days are compacted and old files collected; readers
// beside it read the newest published tiles and the newest snapshot on the cluster. A read is right when it sees exactly the orders of what it was handed.
func publish(ctx context.Context, l *lab) (string, error) {
	c := features.DefaultCatalog().Only("orders_all")
	w, err := l.newWorld(ctx, "publish", c, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	events := before(synth.History(shop, 101, 60), day("2024-01-12"))
	if err := w.loadAll(ctx, events, 1); err != nil {
		return "", err
	}
	cut := day("2024-01-12")
	if err := w.republish(ctx, cut); err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started, wrong atomic.Int64
	var fault error
	var once sync.Once
	note := func(err error) {
		wrong.Add(1)
		once.Do(func() { fault = err; cancel() })
	}
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			for n := started.Add(1); n <= int64(l.reads); n = started.Add(1) {
				read := w.readRaw
				if (int(n)+r)%2 == 0 {
					read = w.readTiles
				}
				if err := read(ctx, cut); err != nil {
					note(fmt.Errorf("read %d: %w", n, err))
					return
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(7, 7))
	busy := events[len(events)/2].BizDay
	built, merged := 0, 0
	for ; built < l.rebuilds && ctx.Err() == nil; built++ {
		// Six lots of one day make it a day in pieces, which compaction merges; one order is of any day.
		var late []features.Event
		for i := range 6 {
			e := events[rng.IntN(len(events))]
			for i > 0 && e.BizDay != busy {
				e = events[rng.IntN(len(events))]
			}
			e.EventID = fmt.Sprintf("late-%d-%d", built, i)
			late = append(late, e)
		}
		err := w.loadAll(ctx, late, len(late))
		if err == nil {
			err = w.republish(ctx, cut)
		}
		if err == nil && built%3 == 2 {
			var days int
			if days, err = w.lake.Compact(ctx); err == nil {
				merged += days
				_, err = w.lake.Collect(ctx)
			}
		}
		if err != nil {
			note(fmt.Errorf("rebuild %d: %w", built, err))
		}
	}
	readers.Wait()
	if fault != nil {
		return "", fault
	}
	if merged == 0 {
		return "", errors.New("no day was compacted")
	}
	return fmt.Sprintf("%d reads beside %d rebuilds, %d lots and %d compacted days: 0 wrong, 0 failed", l.reads, built, 6*built, merged), nil
}

// republish builds tiles on the cluster in a new directory and publishes them with what a reader must find in them.
func (w *world) republish(ctx context.Context, cut features.Day) error {
	return w.with(ctx, func(s *lake.Snapshot) error {
		version := w.trino.PlanTiles(s).Version()
		newest, ok, err := w.lake.FindRun(ctx, "tiles", 0, "")
		if err != nil || ok && newest.Version == version {
			return err
		}
		dir, err := w.lake.NewRunDir("tiles", cut)
		if err != nil {
			return err
		}
		if _, err := w.trino.BuildTiles(ctx, s, dir, newest.Dir, nil); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
		want, err := w.orders(ctx, s, cut)
		if err != nil {
			return err
		}
		meta, err := json.Marshal(map[string]any{"orders": want})
		if err != nil {
			return err
		}
		_, err = w.lake.Publish(ctx, lake.Run{Kind: "tiles", AsOf: cut, Version: version, Dir: dir, Meta: meta})
		return err
	})
}

// orders counts the orders of a snapshot on the embedded engine.
func (w *world) orders(ctx context.Context, s *lake.Snapshot, cut features.Day) (float64, error) {
	t, err := w.duck.Features(ctx, s, cut)
	if err != nil {
		return 0, err
	}
	return sumOf(t, "orders_all"), nil
}

// readTiles reads the newest published tiles on the cluster.
func (w *world) readTiles(ctx context.Context, cut features.Day) error {
	run, ok, err := w.lake.FindRun(ctx, "tiles", 0, "")
	if err != nil || !ok {
		return errors.Join(err, errors.New("nothing is published"))
	}
	var want struct{ Orders float64 }
	if err := json.Unmarshal(run.Meta, &want); err != nil {
		return err
	}
	tables, err := w.trino.FeaturesFromTiles(ctx, run.Dir, cut)
	if err != nil {
		return err
	}
	if got := sumOf(tables[0], "orders_all"); got != want.Orders {
		return fmt.Errorf("tiles %s hold %v orders, published with %v", run.Version, got, want.Orders)
	}
	return nil
}

// readRaw counts the events of the newest snapshot on the cluster.
func (w *world) readRaw(ctx context.Context, _ features.Day) error {
	return w.with(ctx, func(s *lake.Snapshot) error {
		var want int64
		for _, g := range s.Segments {
			want += g.Rows
		}
		_, got, err := w.trino.Digest(ctx, s, day("2029-01-01"))
		if err == nil && got != want {
			err = fmt.Errorf("snapshot %d has %d events, the cluster reads %d", s.ID, want, got)
		}
		return err
	})
}

// cancel ends a query with its context: the caller is back at once and the cluster works no longer.
func cancel(ctx context.Context, l *lab) (string, error) {
	w, err := l.battle(ctx, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	var took time.Duration
	err = w.with(ctx, func(s *lake.Snapshot) error {
		short, stop := context.WithTimeout(ctx, 3*time.Second)
		defer stop()
		start := time.Now()
		_, err := w.trino.FeaturesAt(short, s, battleCuts()...)
		took = time.Since(start)
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("a query with a deadline of 3 s ended with %w", errors.Join(err, errors.New("no deadline error")))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if took > 15*time.Second {
		return "", fmt.Errorf("a deadline of 3 s came back after %s", took.Round(time.Millisecond))
	}
	for range 20 {
		n, err := l.number(ctx, "SELECT count(*) FROM system.runtime.queries WHERE state NOT IN ('FINISHED', 'FAILED') AND source = 'perennial'")
		if err != nil {
			return "", err
		}
		if n == 0 {
			return fmt.Sprintf("a deadline of 3 s came back after %.1f s and nothing runs on", took.Seconds()), nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return "", errors.New("the cancelled query runs on")
}

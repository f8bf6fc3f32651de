package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// battleShop is the shop on which workers are killed: large enough that a training build takes its time.
func battleShop(events int) synth.Config {
	return synth.Config{Seed: 3, Users: max(100, events/60), Start: day("2024-01-01"), Days: 155, Shop: shop, OrderShape: 0.7, OrderRate: 5, DropoutRate: 30}
}

// battleCuts are the twelve cuts of its training build.
func battleCuts() (cuts []features.Day) {
	for i := range 12 {
		cuts = append(cuts, day("2024-03-01")+features.Day(5*i))
	}
	return cuts
}

// battle opens the shop, loading it with the first call.
func (l *lab) battle(ctx context.Context, retry string) (*world, error) {
	_, err := os.Stat(filepath.Join(l.lake, "battle"))
	w, open := l.newWorld(ctx, "battle", nil, shop, retry)
	if open != nil || err == nil {
		return w, open
	}
	var events []features.Event
	for e := range synth.Shop(battleShop(l.events)) {
		events = append(events, e)
	}
	return w, w.loadAll(ctx, events, 1)
}

// number reads one number from the cluster.
func (l *lab) number(ctx context.Context, query string) (n int64, err error) {
	db, err := sql.Open("trino", l.url)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

// killedWithRetries kills a worker with -9 in the middle of a training build whose tasks are retried: the build ends, with the files of the embedded engine.
func killedWithRetries(ctx context.Context, l *lab) (string, error) {
	w, err := l.battle(ctx, "TASK")
	if err != nil {
		return "", err
	}
	defer w.close()
	var figure string
	err = w.with(ctx, func(s *lake.Snapshot) error {
		b, want, err := w.train(ctx, s, w.duck, "training-duck")
		if err != nil {
			return err
		}
		killed, err := l.killDuring(ctx, "w2")
		if err != nil {
			return err
		}
		start := time.Now()
		_, got, err := w.train(ctx, s, w.trino, "training-trino")
		took := time.Since(start)
		if kill := <-killed; kill.err != nil {
			return fmt.Errorf("kill: %w (build: %w)", kill.err, errors.Join(err, errors.New("over")))
		} else if err == nil {
			figure = fmt.Sprintf("%d cuts, %d rows; kill -9 of a worker after %.0f s, done after %.0f s on the other", len(b.Cuts), b.rows, kill.at.Sub(start).Seconds(), took.Seconds())
		}
		if err != nil {
			return fmt.Errorf("the build failed: %w", err)
		}
		return sameFiles(want, got)
	})
	if err != nil {
		return "", err
	}
	retried, err := l.number(ctx, "SELECT count(*) FROM system.runtime.queries WHERE state = 'FINISHED' AND source = 'perennial' AND query LIKE '%label_horizon_days%'")
	if err == nil && retried == 0 {
		err = errors.New("the cluster does not know the query")
	}
	return figure + ", byte-equal to duckdb", err
}

// killedWithout does the same without retries: the build fails with the cluster's own words, publishes nothing, and a rerun is right.
func killedWithout(ctx context.Context, l *lab) (string, error) {
	if err := l.startWorker(ctx, "w2"); err != nil {
		return "", err
	}
	w, err := l.battle(ctx, "NONE")
	if err != nil {
		return "", err
	}
	defer w.close()
	var figure string
	err = w.with(ctx, func(s *lake.Snapshot) error {
		_, want, err := w.train(ctx, s, w.duck, "training-duck")
		if err != nil {
			return err
		}
		killed, err := l.killDuring(ctx, "w2")
		if err != nil {
			return err
		}
		start := time.Now()
		_, _, err = w.train(ctx, s, w.trino, "training-none")
		if kill := <-killed; kill.err != nil {
			return kill.err
		}
		if err == nil {
			return errors.New("the build ended well although a worker with its tasks was dead")
		}
		said := err.Error()
		if !strings.Contains(said, "REMOTE_HOST_GONE") && !strings.Contains(said, "REMOTE_TASK") && !strings.Contains(said, "REMOTE_TASK_MISMATCH") && !strings.Contains(said, "PAGE_TRANSPORT") {
			return fmt.Errorf("the build failed, but does not say of what: %s", said)
		}
		if _, err := os.Stat(filepath.Join(w.dir, "training-none", "schema.json")); err == nil {
			return errors.New("the failed build looks finished")
		}
		failedAfter := time.Since(start)
		start = time.Now()
		b, err := w.rerun(ctx, s, w.trino, "training-none")
		if err != nil {
			return fmt.Errorf("rerun: %w", err)
		}
		figure = fmt.Sprintf("failed after %.0f s with %s; the rerun on one worker took %.0f s, %d rows", failedAfter.Seconds(), reason(said), time.Since(start).Seconds(), b.rows)
		return sameFiles(want, filepath.Join(w.dir, "training-none"))
	})
	return figure + ", byte-equal to duckdb", err
}

// reason is the cluster's error name in a message.
func reason(said string) string {
	_, rest, _ := strings.Cut(said, "trino: ")
	name, _, _ := strings.Cut(rest, ":")
	return name
}

// built is a training build.
type built struct {
	warehouse.Build
	rows int64
}

// train builds tiles and the training set of the twelve cuts in new directories.
func (w *world) train(ctx context.Context, s *lake.Snapshot, e *warehouse.Engine, name string) (built, string, error) {
	if _, err := os.Stat(filepath.Join(w.dir, "tiles-duck", "tiles.json")); err != nil {
		if _, _, err := w.tiles(ctx, w.duck, s, "tiles-duck", ""); err != nil {
			return built{}, "", err
		}
	}
	dir, err := w.madeDir(name)
	if err != nil {
		return built{}, "", err
	}
	b, err := w.rerun(ctx, s, e, name)
	return b, dir, err
}

// rerun builds into a directory that is there.
func (w *world) rerun(ctx context.Context, s *lake.Snapshot, e *warehouse.Engine, name string) (built, error) {
	b := built{Build: warehouse.Build{Cuts: battleCuts(), Labels: &warehouse.LabelWindow{HorizonDays: 30, MaturityDays: 2}, Passes: 1}}
	schema, err := e.BuildParts(ctx, s, filepath.Join(w.dir, "tiles-duck"), b.Build, filepath.Join(w.dir, name), nil)
	if err == nil {
		b.rows = schema.Rows
	}
	return b, err
}

// killing says when a worker was killed.
type killing struct {
	at  time.Time
	err error
}

// killDuring kills a worker as soon as it works on the training statement. The channel gets one value: an error when the statement was not seen.
func (l *lab) killDuring(ctx context.Context, node string) (<-chan killing, error) {
	raw, err := os.ReadFile(filepath.Join(l.home, node, "pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, err
	}
	const busy = "SELECT count(*) FROM system.runtime.tasks t JOIN system.runtime.queries q ON q.query_id = t.query_id WHERE q.state = 'RUNNING' AND q.query LIKE '%%label_horizon_days%%' " +
		"AND q.source = 'perennial' AND t.state = 'RUNNING' AND t.node_id = '%s'"
	out := make(chan killing, 1)
	go func() {
		until := time.Now().Add(5 * time.Minute)
		for time.Now().Before(until) && ctx.Err() == nil {
			n, err := l.number(ctx, fmt.Sprintf(busy, node))
			if err != nil {
				out <- killing{err: err}
				return
			}
			if n > 0 {
				out <- killing{time.Now(), syscall.Kill(pid, syscall.SIGKILL)}
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
		out <- killing{err: errors.New("the worker never had a task of the build")}
	}()
	return out, nil
}

// startWorker starts a killed worker again and waits until it has joined.
func (l *lab) startWorker(ctx context.Context, node string) error {
	c := exec.CommandContext(ctx, l.script, "start", node)
	c.Env = append(os.Environ(), "CLUSTER="+l.home, "LAKE="+l.lake)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("start %s: %w: %s", node, err, said)
	}
	for range 300 {
		n, err := l.number(ctx, "SELECT count(*) FROM system.runtime.nodes WHERE state = 'active' AND node_id = '"+node+"'")
		if err == nil && n > 0 {
			return nil
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("%s did not join within 300 s", node)
}

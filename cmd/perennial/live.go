package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
)

// live is what a running server keeps fresh: compiled definitions and loaded scores, each behind an atomic pointer, so that a reader never waits and
// never sees half a change.
type live struct {
	a     *App
	store *sqlstore.Store
	lake  *lake.Lake

	mu       sync.Mutex // one reload at a time
	version  atomic.Int64
	snapshot atomic.Pointer[experiments.Snapshot]
	profiles atomic.Pointer[features.Profiles]
	server   atomic.Pointer[api.Server]
	journal  atomic.Pointer[string] // why events cannot be taken yet
	scores   atomic.Pointer[string] // why the first scores are not loaded yet

	engines sync.Mutex
	engine  *warehouse.Engine
}

func newLive(a *App, store *sqlstore.Store, l *lake.Lake) *live {
	v := &live{a: a, store: store, lake: l}
	v.unready(&v.journal, "the journal is not open yet")
	v.unready(&v.scores, "the scores are being loaded")
	return v
}

func (v *live) close() {
	v.engines.Lock()
	defer v.engines.Unlock()
	if v.engine != nil {
		v.engine.Close()
	}
}

// reload compiles the stored definitions and publishes them, with the keys. It errs without changing anything: the last good snapshot stays.
func (v *live) reload(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	source, err := v.store.Source(ctx)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	if p := v.profiles.Load(); p != nil {
		source.ServerAttributes = p.Columns()
	}
	snapshot, err := experiments.Compile(source)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	v.snapshot.Store(snapshot)
	v.version.Store(source.Version)
	if s := v.server.Load(); s != nil {
		return s.Refresh(ctx)
	}
	return nil
}

// followChanges reloads when another process has changed definitions or keys.
func (v *live) followChanges(ctx context.Context) {
	tick := time.NewTicker(pollChanges)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := v.store.Version(ctx)
		if err == nil && now != v.version.Load() {
			err = v.reload(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != said:
			said = err.Error()
			v.a.Log.Error("definitions are not fresh; the last good ones stay", "error", err)
		case err == nil && said != "":
			said = ""
			v.a.Log.Info("definitions are fresh again")
		}
	}
}

// followScores loads every newly published score run and keeps the one before while it loads.
func (v *live) followScores(ctx context.Context) {
	tick := time.NewTicker(pollScores)
	defer tick.Stop()
	said := ""
	for {
		err := v.loadScores(ctx)
		v.scores.Store(nil)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			v.a.Log.Error("scores are not fresh; the last good ones stay", "error", err)
		} else if err == nil {
			said = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// loadScores loads the newest published scores when they are not loaded yet.
func (v *live) loadScores(ctx context.Context) error {
	runs, err := v.lake.Runs(ctx, "scores")
	if err != nil || len(runs) == 0 {
		return err
	}
	newest, now := runs[0], v.profiles.Load()
	if now != nil && now.Version == newest.Version && now.AsOf == newest.AsOf {
		return nil
	}
	start := time.Now()
	engine, err := v.reader(ctx)
	if err != nil {
		return err
	}
	tables := [2]*features.Table{}
	for i, name := range []string{"scores.parquet", "features.parquet"} {
		path := filepath.Join(newest.Dir, name)
		if _, err := os.Stat(path); err != nil {
			if i == 1 && os.IsNotExist(err) {
				continue // scores alone can be targeted on
			}
			return fmt.Errorf("scores %s: %w", newest.Version, err)
		}
		if tables[i], err = engine.ReadTable(ctx, path); err != nil {
			return fmt.Errorf("scores %s: %w", newest.Version, err)
		}
	}
	p := features.NewProfiles(newest.Version, tables[0], tables[1])
	v.profiles.Store(p)
	v.a.Log.Info("scores loaded", "as_of", newest.AsOf.String(), "score_version", newest.Version, "users", p.Len(), "ms", time.Since(start).Milliseconds())
	return v.reload(ctx) // the new columns are the server's own attributes from now on
}

// reader is the engine that reads published runs, started when it is first needed; one thread leaves the processor to requests.
func (v *live) reader(ctx context.Context) (*warehouse.Engine, error) {
	v.engines.Lock()
	defer v.engines.Unlock()
	if v.engine == nil {
		engine, err := v.a.openEngine(ctx, 1)
		if err != nil {
			return nil, err
		}
		v.engine = engine
	}
	return v.engine, nil
}

// runs lists the published score runs, newest first.
func (v *live) runs(ctx context.Context) (any, error) {
	type run struct {
		AsOf    string          `json:"as_of"`
		Version string          `json:"score_version"`
		Meta    json.RawMessage `json:"meta,omitempty"`
	}
	list, err := v.lake.Runs(ctx, "scores")
	if err != nil {
		return nil, err
	}
	out := make([]run, 0, len(list))
	for _, r := range list {
		out = append(out, run{r.AsOf.String(), r.Version, r.Meta})
	}
	return map[string]any{"runs": out}, nil
}

// models lists the model cards, newest first; the champion of a target is the one that the registry names.
func (v *live) models(ctx context.Context) (any, error) {
	records, err := v.lake.Records(ctx, "model")
	if err != nil {
		return nil, err
	}
	champions, err := v.lake.Records(ctx, "champion")
	if err != nil {
		return nil, err
	}
	cards := make([]models.Card, 0, len(records))
	for key, raw := range records {
		var doc struct{ Card models.Card }
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("model %s: %w", key, err)
		}
		doc.Card.Role = "challenger"
		if championOf(champions[string(doc.Card.Target)]) == doc.Card.Version {
			doc.Card.Role = "champion"
		}
		cards = append(cards, doc.Card)
	}
	sort.Slice(cards, func(i, j int) bool {
		a, b := cards[i], cards[j]
		if a.TestAsOf != b.TestAsOf {
			return a.TestAsOf > b.TestAsOf
		}
		return a.Version > b.Version
	})
	return map[string]any{"models": cards}, nil
}

// championOf reads a champion record: the version, or a document with it.
func championOf(raw json.RawMessage) string {
	var doc struct {
		Version string `json:"version"`
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if json.Unmarshal(raw, &doc) == nil {
		return doc.Version
	}
	return ""
}

// promote makes a registered model the champion of its target.
func (v *live) promote(ctx context.Context, target, version string) (any, error) {
	records, err := v.lake.Records(ctx, "model")
	if err != nil {
		return nil, err
	}
	raw, ok := records[version]
	if !ok {
		return nil, fmt.Errorf("model %s: %w", version, experiments.ErrNotFound)
	}
	var doc struct{ Card models.Card }
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("model %s: %w", version, err)
	}
	if string(doc.Card.Target) != target {
		return nil, experiments.Invalid("version", "is a model of %s, not of %s", doc.Card.Target, target)
	}
	if err := v.lake.PutRecord(ctx, "champion", target, map[string]string{"version": version}); err != nil {
		return nil, err
	}
	return map[string]string{"target": target, "version": version, "role": "champion"}, nil
}

// nightly runs the night as a child process at a lower priority, so that it takes nothing from requests, and returns its document.
func (v *live) nightly(ctx context.Context, asOf string) (any, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"nightly", "--json", "--data", v.a.Data}
	if v.a.Given != "" {
		args = append(args, "--config", v.a.Given)
	}
	if asOf != "" {
		args = append(args, "--as-of", asOf)
	}
	var out, said bytes.Buffer
	child := exec.CommandContext(ctx, self, args...)
	child.Stdout, child.Stderr, child.WaitDelay = &out, &said, 5*time.Second
	if err := child.Start(); err != nil {
		return nil, err
	}
	lowerPriority(child.Process.Pid)
	if err := child.Wait(); err != nil {
		return nil, fmt.Errorf("nightly: %w: %s", err, lastLine(said.Bytes()))
	}
	var doc any
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		return nil, fmt.Errorf("nightly: its answer is not JSON: %w", err)
	}
	return doc, nil
}

func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	last := lines[len(lines)-1]
	if len(last) > 300 {
		last = last[:300]
	}
	return string(last)
}

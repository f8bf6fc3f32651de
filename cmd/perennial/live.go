package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/experiments/unleash"
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

	upstream *unleash.Upstream // nil without unleash_url
	quotas   quotas
	loading  sync.Mutex  // one load of scores at a time
	traits   int64       // version of the imported traits that are loaded; under loading
	again    atomic.Bool // the loaded scores were rewritten
	engines  sync.Mutex
	engine   *warehouse.Engine
}

func newLive(a *App, store *sqlstore.Store, l *lake.Lake) *live {
	v := &live{a: a, store: store, lake: l}
	v.unready(&v.journal, "the journal is not open yet")
	v.unready(&v.scores, "the scores are being loaded")
	return v
}

func (v *live) close() {
	if v.upstream != nil {
		v.upstream.Close()
	}
	v.engines.Lock()
	defer v.engines.Unlock()
	if v.engine != nil {
		v.engine.Close()
	}
}

// watchUpstream begins to watch the configured Unleash server, if there is one.
func (v *live) watchUpstream(o *api.Options) error {
	c := v.a.Config
	if c.UnleashURL == "" {
		return nil
	}
	up, err := unleash.NewUpstream(unleash.UpstreamOptions{URL: c.UnleashURL, Token: c.UnleashToken, LastGood: filepath.Join(v.a.Data, "unleash.json"), Logger: v.a.Log})
	if err != nil {
		return usageError{err}
	}
	v.upstream, o.Upstream, o.Flags = up, up.On, up.Document
	o.Watched = func() ([]unleash.Flag, string) { return up.Flags(), up.Fault() }
	return nil
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
	snapshot, err := experiments.Recompile(v.snapshot.Load(), source)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	v.snapshot.Store(snapshot)
	v.quotas.cover(snapshot)
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

// rescore loads the newest scores again although their version is the same: an erasure rewrites published files.
func (v *live) rescore(ctx context.Context) error {
	v.again.Store(true)
	return v.loadScores(ctx)
}

// loadScores loads the newest published scores when they are not loaded yet.
func (v *live) loadScores(ctx context.Context) error {
	v.loading.Lock()
	defer v.loading.Unlock()
	runs, err := v.lake.Runs(ctx, "scores")
	if err != nil {
		return err
	}
	said, err := v.lake.TraitsVersion(ctx)
	if err != nil || len(runs) == 0 && said == 0 {
		return err
	}
	newest, now := lake.Run{}, v.profiles.Load()
	if len(runs) > 0 {
		newest = runs[0]
	}
	if again := v.again.Swap(false); !again && now != nil && now.Version == newest.Version && (now.AsOf == newest.AsOf || len(runs) == 0) && v.traits == said {
		return nil
	}
	start := time.Now()
	traits, err := v.lake.Traits(ctx)
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		p := features.NewProfiles("", nil, nil, traits)
		v.profiles.Store(p)
		v.traits = said
		v.a.Log.Info("traits loaded; nobody is scored yet", "users", p.Len())
		return v.reload(ctx)
	}
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
	p := features.NewProfiles(newest.Version, tables[0], tables[1], traits)
	v.profiles.Store(p)
	v.traits = said
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

// models lists the model cards, newest first, with the role that each has now.
func (v *live) models(ctx context.Context) (any, error) {
	cards, err := modelCards(ctx, v.lake)
	if err != nil {
		return nil, err
	}
	if cards == nil {
		cards = []models.Card{}
	}
	return map[string]any{"models": cards}, nil
}

// promote makes a registered model the champion of its target, on a person's word.
func (v *live) promote(ctx context.Context, target, version, by string) (any, error) {
	card, err := promoteModel(ctx, v.a, v.lake, models.Target(target), version)
	if err != nil {
		return nil, err
	}
	v.a.Log.Info("model promoted", "target", target, "version", card.Version, "by", by)
	return card, nil
}

// moved answers why a user's score moved between two runs.
func (v *live) moved(ctx context.Context, user, target, from, to string) (any, error) {
	engine, err := v.reader(ctx)
	if err != nil {
		return nil, err
	}
	return why(ctx, v.a, v.lake, engine, user, models.Target(target), from, to)
}

// changes is a page of who changed band or stage.
func (v *live) changes(ctx context.Context, since, cursor string, limit int) (any, error) {
	engine, err := v.reader(ctx)
	if err != nil {
		return nil, err
	}
	return changes(ctx, v.lake, engine, since, cursor, limit)
}

// nightly runs the night as a child process and returns its document.
func (v *live) nightly(ctx context.Context, asOf string) (any, error) {
	args := []string{"nightly"}
	if asOf != "" {
		args = append(args, "--as-of", asOf)
	}
	var doc any
	err := v.a.child(ctx, &doc, args...)
	return doc, err
}

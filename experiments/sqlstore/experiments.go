package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"perennial/experiments"
)

// Create stores a draft. It fills salt, plan and allocation, and errs with *experiments.InvalidError or experiments.ErrExists.
func (s *Store) Create(ctx context.Context, d experiments.Definition, by string) (*experiments.Experiment, error) {
	if err := d.Validate(); err != nil { // before anything is locked
		return nil, err
	}
	var created *experiments.Experiment
	err := s.write(ctx, true, func(t *tx) error {
		if _, ok, err := t.experiment(d.Key); err != nil {
			return err
		} else if ok {
			return fmt.Errorf("experiment %s: %w", d.Key, experiments.ErrExists)
		}
		if d.Salt == "" {
			d.Salt = newSalt()
		}
		e, err := experiments.NewExperiment(d, t.at)
		if err != nil {
			return err
		}
		if err := t.related(e, nil); err != nil {
			return err
		}
		raw, err := experiments.Marshal(e)
		if err != nil {
			return err
		}
		created = e
		if err := t.exec(`INSERT INTO experiments (key, revision, created_at, doc) VALUES (?, ?, ?, ?)`, e.Key, e.Revision, t.at.UnixMicro(), string(raw)); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO experiment_revisions (key, revision, at, doc) VALUES (?, ?, ?, ?)`, e.Key, e.Revision, t.at.UnixMicro(), string(raw)); err != nil {
			return err
		}
		return t.audit(by, "create", "experiment/"+e.Key, e.Definition)
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// Get returns an experiment or experiments.ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (*experiments.Experiment, error) {
	var doc string
	switch err := s.db.GetContext(ctx, &doc, s.db.Rebind(`SELECT doc FROM experiments WHERE key = ?`), key); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("experiment %s: %w", key, experiments.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("control store: experiment %s: %w", key, err)
	}
	var e experiments.Experiment
	if err := json.Unmarshal([]byte(doc), &e); err != nil {
		return nil, fmt.Errorf("control store: experiment %s: %w", key, err)
	}
	return &e, nil
}

// List returns every experiment, newest first.
func (s *Store) List(ctx context.Context) ([]experiments.Experiment, error) {
	return docs[experiments.Experiment](ctx, s, `SELECT doc FROM experiments ORDER BY created_at DESC, key`)
}

// Revisions returns every stored revision of an experiment, oldest first, or experiments.ErrNotFound.
func (s *Store) Revisions(ctx context.Context, key string) ([]experiments.Experiment, error) {
	list, err := docs[experiments.Experiment](ctx, s, `SELECT doc FROM experiment_revisions WHERE key = ? ORDER BY revision`, key)
	if err == nil && len(list) == 0 {
		return nil, fmt.Errorf("experiment %s: %w", key, experiments.ErrNotFound)
	}
	return list, err
}

// RevisionTimes returns when the revisions of an experiment were made, in the order of Revisions.
func (s *Store) RevisionTimes(ctx context.Context, key string) ([]time.Time, error) {
	var micros []int64
	if err := s.db.SelectContext(ctx, &micros, s.db.Rebind(`SELECT at FROM experiment_revisions WHERE key = ? ORDER BY revision`), key); err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	times := make([]time.Time, len(micros))
	for i, m := range micros {
		times[i] = time.UnixMicro(m).UTC()
	}
	return times, nil
}

func docs[T any](ctx context.Context, s *Store, query string, args ...any) ([]T, error) {
	var rows []string
	if err := s.db.SelectContext(ctx, &rows, s.db.Rebind(query), args...); err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	list := make([]T, 0, len(rows))
	for _, r := range rows {
		var err error
		if list, err = appendDoc(list, r); err != nil {
			return nil, fmt.Errorf("control store: %w", err)
		}
	}
	return list, nil
}

// Change applies an action to an experiment: patch (doc = merge patch), start, stop, archive, ramp {"coverage"}, decide {"variant","reason"}.
// ifRevision 0 does not check; another number that is not the current revision gives experiments.ErrStale.
func (s *Store) Change(ctx context.Context, key, action string, doc json.RawMessage, ifRevision int64, by string) (*experiments.Experiment, error) {
	var changed *experiments.Experiment
	err := s.write(ctx, true, func(t *tx) error {
		old, ok, err := t.experiment(key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("experiment %s: %w", key, experiments.ErrNotFound)
		}
		if ifRevision != 0 && ifRevision != old.Revision {
			return fmt.Errorf("experiment %s is at revision %d, not %d: %w", key, old.Revision, ifRevision, experiments.ErrStale)
		}
		next, err := old.Act(action, doc, by, t.at)
		if err != nil {
			return err
		}
		next.Revision = old.Revision + 1
		if err := t.related(next, old); err != nil {
			return err
		}
		raw, err := experiments.Marshal(next)
		if err != nil {
			return err
		}
		changed = next
		if err := t.exec(`UPDATE experiments SET revision = ?, doc = ? WHERE key = ?`, next.Revision, string(raw), key); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO experiment_revisions (key, revision, at, doc) VALUES (?, ?, ?, ?)`, key, next.Revision, t.at.UnixMicro(), string(raw)); err != nil {
			return err
		}
		if len(doc) == 0 || !json.Valid(doc) {
			doc = json.RawMessage(`{}`)
		}
		return t.audit(by, action, "experiment/"+key, doc)
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

func (t *tx) experiment(key string) (*experiments.Experiment, bool, error) {
	var e experiments.Experiment
	ok, err := t.doc(&e, `SELECT doc FROM experiments WHERE key = ?`, key)
	return &e, ok, err
}

func (t *tx) experiments() ([]experiments.Experiment, error) {
	return selectDocs[experiments.Experiment](t, `SELECT doc FROM experiments ORDER BY key`)
}

func selectDocs[T any](t *tx, query string, args ...any) ([]T, error) {
	var rows []string
	if err := t.SelectContext(t.ctx, &rows, t.Rebind(query), args...); err != nil {
		return nil, fmt.Errorf("control store: %w", err)
	}
	var list []T
	for _, r := range rows {
		var err error
		if list, err = appendDoc(list, r); err != nil {
			return nil, fmt.Errorf("control store: %w", err)
		}
	}
	return list, nil
}

// related checks an experiment against everything else and takes, widens or frees its buckets of a layer. Salts, prerequisites and references
// are checked only when they are new, so that a later change elsewhere never blocks a stop.
func (t *tx) related(e, old *experiments.Experiment) error {
	var faults []experiments.Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, experiments.Invalid(field, format, args...).Faults...)
	}
	if old == nil || old.Salt != e.Salt {
		taken, err := t.salts(e.Key)
		if err != nil {
			return err
		}
		for _, other := range taken {
			if experiments.SaltsCollide(e.Salt, other.salt) {
				add("salt", "gives the same buckets as that of %s: the two would split alike; leave it out for a random one", other.name)
			}
		}
	}
	for i, v := range e.Variants {
		if v.Offer == "" {
			continue
		}
		var o experiments.Offer
		if ok, err := t.doc(&o, `SELECT doc FROM objects WHERE kind = 'offer' AND key = ?`, v.Offer); err != nil {
			return err
		} else if !ok {
			add(fmt.Sprintf("variants[%d].offer", i), "offer %q does not exist: create it with POST /v1/offers first", v.Offer)
		} else if e.Status == experiments.Running && (old == nil || old.Status != experiments.Running || i >= len(old.Variants) || old.Variants[i].Offer != v.Offer) {
			faults = append(faults, o.Publishable(fmt.Sprintf("variants[%d].offer", i))...)
		}
	}
	if err := t.metricsExist(e, add); err != nil {
		return err
	}
	if p := e.Prerequisite; p != nil && (old == nil || old.Prerequisite == nil || p.Experiment != old.Prerequisite.Experiment || !slices.Equal(p.Variants, old.Prerequisite.Variants)) {
		if err := t.prerequisite(e, add); err != nil {
			return err
		}
	}
	if len(faults) > 0 {
		return &experiments.InvalidError{Faults: faults}
	}
	return t.joinLayer(e, old)
}

func (t *tx) prerequisite(e *experiments.Experiment, add func(string, string, ...any)) error {
	parent, ok, err := t.experiment(e.Prerequisite.Experiment)
	if err != nil {
		return err
	}
	if !ok {
		add("prerequisite.experiment", "%q does not exist", e.Prerequisite.Experiment)
		return nil
	}
	for i, v := range e.Prerequisite.Variants {
		if !slices.ContainsFunc(parent.Variants, func(x experiments.Variant) bool { return x.Key == v }) {
			add(fmt.Sprintf("prerequisite.variants[%d]", i), "%q is not a variant of %s", v, parent.Key)
		}
	}
	for p := parent; p.Prerequisite != nil; {
		if p.Prerequisite.Experiment == e.Key {
			add("prerequisite.experiment", "%s needs this experiment itself", parent.Key)
			return nil
		}
		if p, ok, err = t.experiment(p.Prerequisite.Experiment); err != nil || !ok {
			return err
		}
	}
	return nil
}

type namedSalt struct{ name, salt string }

// salts lists the salts of everything that still hashes units: experiments that are not archived, layers, holdouts.
func (t *tx) salts(except string) ([]namedSalt, error) {
	var out []namedSalt
	list, err := t.experiments()
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.Key != except && e.Status != experiments.Archived {
			out = append(out, namedSalt{"experiment " + e.Key, e.Salt})
		}
	}
	layers, err := selectDocs[experiments.Layer](t, `SELECT doc FROM objects WHERE kind = 'layer'`)
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		out = append(out, namedSalt{"layer " + l.Key, l.Salt})
	}
	holdouts, err := selectDocs[experiments.Holdout](t, `SELECT doc FROM objects WHERE kind = 'holdout'`)
	for _, h := range holdouts {
		out = append(out, namedSalt{"holdout " + h.Key, h.Salt})
	}
	return out, err
}

func (t *tx) metricsExist(e *experiments.Experiment, add func(string, string, ...any)) error {
	var defined []string
	if err := t.SelectContext(t.ctx, &defined, `SELECT key FROM objects WHERE kind = 'metric' ORDER BY key`); err != nil {
		return fmt.Errorf("control store: %w", err)
	}
	known := append(slices.Clone(experiments.BuiltInMetrics), defined...)
	check := func(field, metric string) {
		if metric != "" && !slices.Contains(known, metric) {
			add(field, "metric %q is not known; there are %s; define it with POST /v1/metrics first", metric, strings.Join(known, " "))
		}
	}
	check("metrics.primary", e.Metrics.Primary)
	for i, m := range e.Metrics.Secondary {
		check(fmt.Sprintf("metrics.secondary[%d]", i), m)
	}
	for i, g := range e.Metrics.Guardrails {
		check(fmt.Sprintf("metrics.guardrails[%d].metric", i), g.Metric)
	}
	return nil
}

// joinLayer gives an experiment its share of the layer's free buckets unless the layer's explicit ranges name it, widens it with a larger share, and
// gives the buckets back when the experiment is archived or, as a draft, leaves.
func (t *tx) joinLayer(e, old *experiments.Experiment) error {
	if old != nil && old.Layer != nil && (e.Layer == nil || e.Layer.Key != old.Layer.Key) || e.Layer != nil && e.Status == experiments.Archived {
		key := old.Layer.Key
		var l experiments.Layer
		if ok, err := t.doc(&l, `SELECT doc FROM objects WHERE kind = 'layer' AND key = ?`, key); err != nil || !ok {
			return err
		}
		l.Allocation = slices.DeleteFunc(l.Allocation, func(r experiments.LayerRange) bool { return r.Experiment == e.Key })
		if err := t.putObject("layer", l.Key, l); err != nil {
			return err
		}
	}
	if e.Layer == nil || e.Status == experiments.Archived || old != nil && old.Layer != nil && *old.Layer == *e.Layer {
		return nil
	}
	var l experiments.Layer
	if ok, err := t.doc(&l, `SELECT doc FROM objects WHERE kind = 'layer' AND key = ?`, e.Layer.Key); err != nil {
		return err
	} else if !ok {
		return experiments.Invalid("layer.key", "layer %q does not exist: create it with POST /v1/layers first", e.Layer.Key)
	}
	named := slices.ContainsFunc(l.Allocation, func(r experiments.LayerRange) bool { return r.Experiment == e.Key })
	if named && (old == nil || old.Layer == nil || old.Layer.Key != e.Layer.Key) {
		return nil // explicit ranges were there before it
	}
	n := int(math.Floor(e.Layer.Share*experiments.Buckets + 0.5))
	if n < 1 {
		return experiments.Invalid("layer.share", "%v of a layer is not one bucket: give a share such as 0.5", e.Layer.Share)
	}
	ranges, ok := experiments.TakeFree(l.Allocation, e.Key, n)
	if !ok {
		free := experiments.Buckets
		owners := map[string]bool{}
		for _, r := range l.Allocation {
			if r.Experiment != e.Key {
				free -= r.End - r.Start
				owners[r.Experiment] = true
			}
		}
		names := make([]string, 0, len(owners))
		for name := range owners {
			names = append(names, name)
		}
		slices.Sort(names)
		return experiments.Invalid("layer.share", "only %v of layer %s is free; %s own the rest: archive those that are over", float64(free)/experiments.Buckets, l.Key, strings.Join(names, ", "))
	}
	l.Allocation = ranges
	return t.putObject("layer", l.Key, l)
}

func (t *tx) putObject(kind, key string, v any) error {
	raw, err := experiments.Marshal(v)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO objects (kind, key, doc) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc`, kind, key, string(raw))
}

// newSalt is 11 random characters of a salt's alphabet: 55 bits, of which 32 can matter. With its colon it fills whole words of the hash.
func newSalt() string { return strings.ToLower(rand.Text()[:11]) }

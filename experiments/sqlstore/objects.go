package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"perennial/experiments"
)

// TagOf is the ETag of an object of the catalogue: a hash of what is stored.
func TagOf(v any) (string, error) {
	raw, err := experiments.Marshal(v)
	sum := sha256.Sum256(raw)
	return `"` + hex.EncodeToString(sum[:8]) + `"`, err
}

type ifMatch struct{}

// IfMatch returns a context under which a Put of the catalogue errs with experiments.ErrStale unless what is stored has the ETag ("*": unless there is
// something). An empty tag asks for nothing.
func IfMatch(ctx context.Context, tag string) context.Context {
	if tag = strings.TrimSpace(tag); tag == "" {
		return ctx
	}
	return context.WithValue(ctx, ifMatch{}, tag)
}

// old reads what is stored under a key, and errs with experiments.ErrStale when it is not what IfMatch asks for.
func (t *tx) old(v any, kind, key string) (exists bool, err error) {
	exists, err = t.doc(v, `SELECT doc FROM objects WHERE kind = ? AND key = ?`, kind, key)
	want, asked := t.ctx.Value(ifMatch{}).(string)
	if err != nil || !asked || exists && want == "*" {
		return exists, err
	}
	tag, err := TagOf(v)
	if err == nil && (!exists || tag != want) {
		err = fmt.Errorf("%s %s is not what was read: %w", kind, key, experiments.ErrStale)
	}
	return exists, err
}

// PutLayer creates a layer or replaces its explicit ranges. Experiments that joined by share keep their buckets unless the new ranges name them; ranges that
// would take such buckets away are refused. Its salt is fixed once an experiment is in it.
func (s *Store) PutLayer(ctx context.Context, l experiments.Layer, by string) (*experiments.Layer, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	err := s.write(ctx, true, func(t *tx) error {
		var old experiments.Layer
		exists, err := t.old(&old, "layer", l.Key)
		if err != nil {
			return err
		}
		if l.Salt, err = t.saltOf("layer "+l.Key, l.Salt, old.Salt, len(old.Allocation) > 0); err != nil {
			return err
		}
		if err := t.inOneLayer(&l); err != nil {
			return err
		}
		if exists {
			if err := t.keepShares(&l, &old); err != nil {
				return err
			}
		}
		if err := t.putObject("layer", l.Key, l); err != nil {
			return err
		}
		return t.audit(by, "put", "layer/"+l.Key, l)
	})
	if err != nil {
		return nil, err
	}
	return &l, nil
}

// saltOf returns the salt to store: the given one, else the old one, else a random one.
func (t *tx) saltOf(name, given, old string, used bool) (string, error) {
	switch {
	case given == "" && old != "":
		return old, nil
	case given == "":
		return newSalt(), nil
	case given == old:
		return given, nil
	case used:
		return "", experiments.Invalid("salt", "is fixed while %s has buckets: another salt would move every unit", name)
	}
	taken, err := t.salts("")
	if err != nil {
		return "", err
	}
	for _, other := range taken {
		if other.name != name && experiments.SaltsCollide(given, other.salt) {
			return "", experiments.Invalid("salt", "gives the same buckets as that of %s; leave it out for a random one", other.name)
		}
	}
	return given, nil
}

// inOneLayer refuses ranges for an experiment that another layer owns.
func (t *tx) inOneLayer(l *experiments.Layer) error {
	layers, err := selectDocs[experiments.Layer](t, `SELECT doc FROM objects WHERE kind = 'layer' AND key <> ?`, l.Key)
	if err != nil {
		return err
	}
	for i, r := range l.Allocation {
		for _, other := range layers {
			if slices.ContainsFunc(other.Allocation, func(o experiments.LayerRange) bool { return o.Experiment == r.Experiment }) {
				return experiments.Invalid(fmt.Sprintf("allocation[%d].experiment", i), "%q is in layer %s", r.Experiment, other.Key)
			}
		}
		e, ok, err := t.experiment(r.Experiment)
		if err != nil {
			return err
		}
		if ok && e.Layer != nil && e.Layer.Key != l.Key {
			return experiments.Invalid(fmt.Sprintf("allocation[%d].experiment", i), "%q is in layer %s", r.Experiment, e.Layer.Key)
		}
	}
	return nil
}

// keepShares carries over the ranges of experiments that the new ranges do not name.
func (t *tx) keepShares(l, old *experiments.Layer) error {
	given := slices.Clone(l.Allocation)
	for _, r := range old.Allocation {
		if slices.ContainsFunc(given, func(g experiments.LayerRange) bool { return g.Experiment == r.Experiment }) {
			continue
		}
		e, ok, err := t.experiment(r.Experiment)
		if err != nil {
			return err
		}
		if !ok || e.Status == experiments.Archived || e.Layer == nil && len(given) > 0 {
			continue
		}
		for i, g := range given {
			if g.Start < r.End && r.Start < g.End {
				return experiments.Invalid(fmt.Sprintf("allocation[%d].start", i), "overlaps [%d, %d), which %s owns: name its ranges too, or archive it", r.Start, r.End, r.Experiment)
			}
		}
		l.Allocation = append(l.Allocation, r)
	}
	slices.SortFunc(l.Allocation, func(a, b experiments.LayerRange) int { return a.Start - b.Start })
	return nil
}

// Layers lists layers by key.
func (s *Store) Layers(ctx context.Context) ([]experiments.Layer, error) {
	return docs[experiments.Layer](ctx, s, `SELECT doc FROM objects WHERE kind = 'layer' ORDER BY key`)
}

// PutHoldout creates or replaces a holdout. A share becomes the lowest buckets of its salt; its salt is fixed once it exists.
func (s *Store) PutHoldout(ctx context.Context, h experiments.Holdout, by string) (*experiments.Holdout, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	err := s.write(ctx, true, func(t *tx) error {
		var old experiments.Holdout
		exists, err := t.old(&old, "holdout", h.Key)
		if err != nil {
			return err
		}
		if h.Salt, err = t.saltOf("holdout "+h.Key, h.Salt, old.Salt, exists); err != nil {
			return err
		}
		if len(h.Allocation) == 0 || h.Share != 0 && exists && slices.Equal(h.Allocation, old.Allocation) {
			h.Allocation = experiments.HoldoutShare(h.Share)
		}
		h.Share = 0
		for _, r := range h.Allocation {
			h.Share += float64(r.End-r.Start) / experiments.Buckets
		}
		if err := t.putObject("holdout", h.Key, h); err != nil {
			return err
		}
		return t.audit(by, "put", "holdout/"+h.Key, h)
	})
	if err != nil {
		return nil, err
	}
	return &h, nil
}

// Holdouts lists holdouts by key.
func (s *Store) Holdouts(ctx context.Context) ([]experiments.Holdout, error) {
	return docs[experiments.Holdout](ctx, s, `SELECT doc FROM objects WHERE kind = 'holdout' ORDER BY key`)
}

// PutOffer creates or replaces an offer. Another text or other terms are another version; one that a running experiment gives must stay publishable.
func (s *Store) PutOffer(ctx context.Context, o experiments.Offer, by string) (*experiments.Offer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	err := s.write(ctx, true, func(t *tx) error {
		var old experiments.Offer
		exists, err := t.old(&old, "offer", o.Key)
		if err != nil {
			return err
		}
		o.RulesHash = o.HashOfRules()
		o.Revision = old.Revision
		if same, err := sameDocument(o, old); err != nil {
			return err
		} else if !exists || !same {
			o.Revision++
		}
		list, err := t.experiments()
		if err != nil {
			return err
		}
		for _, e := range list {
			given := slices.ContainsFunc(e.Variants, func(v experiments.Variant) bool { return v.Offer == o.Key })
			if faults := o.Publishable("rules"); given && e.Status == experiments.Running && faults != nil {
				return &experiments.InvalidError{Faults: faults}
			}
		}
		if err := t.putObject("offer", o.Key, o); err != nil {
			return err
		}
		if err := t.putObject("offer_version", fmt.Sprintf("%s@%d", o.Key, o.Revision), o); err != nil {
			return err
		}
		return t.audit(by, "put", "offer/"+o.Key, o)
	})
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// sameDocument tells whether two objects are stored as the same bytes: raw JSON in them may be written with other spaces.
func sameDocument(a, b any) (bool, error) {
	x, err := experiments.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := experiments.Marshal(b)
	return bytes.Equal(x, y), err
}

// OfferVersions returns every version of an offer, oldest first, or experiments.ErrNotFound.
func (s *Store) OfferVersions(ctx context.Context, key string) ([]experiments.Offer, error) {
	list, err := docs[experiments.Offer](ctx, s, `SELECT doc FROM objects WHERE kind = 'offer_version' AND substr(key, 1, length(?) + 1) = ? || '@'`, key, key)
	if err == nil && len(list) == 0 {
		return nil, fmt.Errorf("offer %s: %w", key, experiments.ErrNotFound)
	}
	slices.SortFunc(list, func(a, b experiments.Offer) int { return int(a.Revision - b.Revision) })
	return list, err
}

// Offers lists offers by key.
func (s *Store) Offers(ctx context.Context) ([]experiments.Offer, error) {
	return docs[experiments.Offer](ctx, s, `SELECT doc FROM objects WHERE kind = 'offer' ORDER BY key`)
}

// PutMetric creates or replaces a metric of the library; another definition is another revision.
func (s *Store) PutMetric(ctx context.Context, m experiments.MetricDef, by string) (*experiments.MetricDef, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	err := s.write(ctx, true, func(t *tx) error {
		var old experiments.MetricDef
		if _, err := t.old(&old, "metric", m.Key); err != nil {
			return err
		}
		m.Revision = old.Revision
		if same, err := sameDocument(m, old); err != nil {
			return err
		} else if !same {
			m.Revision++
		}
		if err := t.putObject("metric", m.Key, m); err != nil {
			return err
		}
		if err := t.putObject("metric_version", fmt.Sprintf("%s@%d", m.Key, m.Revision), m); err != nil {
			return err
		}
		return t.audit(by, "put", "metric/"+m.Key, m)
	})
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// MetricRevisions returns every revision of a metric of the library, oldest first, or experiments.ErrNotFound. Putting an older one again makes it the newest.
func (s *Store) MetricRevisions(ctx context.Context, key string) ([]experiments.MetricDef, error) {
	list, err := docs[experiments.MetricDef](ctx, s, `SELECT doc FROM objects WHERE kind = 'metric_version' AND substr(key, 1, length(?) + 1) = ? || '@'`, key, key)
	if err == nil && len(list) == 0 {
		return nil, fmt.Errorf("metric %s: %w", key, experiments.ErrNotFound)
	}
	slices.SortFunc(list, func(a, b experiments.MetricDef) int { return int(a.Revision - b.Revision) })
	return list, err
}

// MetricDefs lists the defined metrics by key, without the built-in ones.
func (s *Store) MetricDefs(ctx context.Context) ([]experiments.MetricDef, error) {
	return docs[experiments.MetricDef](ctx, s, `SELECT doc FROM objects WHERE kind = 'metric' ORDER BY key`)
}

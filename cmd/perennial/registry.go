package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"perennial/features"
	"perennial/features/lake"
	"perennial/models"
)

// registered is a model of the registry: the document of a lake record of kind "model", whose key is the version. The files under Path are
// written first and never change.
type registered struct {
	Card    models.Card `json:"card"`
	Path    string      `json:"path"` // below the data directory, with slashes
	Lineage lineage     `json:"lineage"`
}

// lineage says what a model was made from and up to which day it has learned.
type lineage struct {
	KnownUntil string            `json:"known_until"` // the first day of which it knows nothing: the end of its last label window, refunds included
	Catalog    string            `json:"catalog"`
	Digests    map[string]string `json:"digests"` // cut → digest of the events known before it, and "labels" for those of the labels
	Seed       uint64            `json:"seed"`
	By         string            `json:"by"` // train or night
	Plan       string            `json:"plan,omitempty"`
	Why        string            `json:"why,omitempty"` // of a night's refit: month or drift
}

// champion is the document of a lake record of kind "champion", whose key is the target.
type champion struct {
	Version string   `json:"version"`
	By      string   `json:"by"` // train, night or a person's promotion
	Reason  string   `json:"reason,omitempty"`
	Past    []string `json:"past,omitempty"` // earlier champions, newest first: what a rollback goes back to
}

// pastChampions is how many earlier champions are remembered.
const pastChampions = 24

// saveModel writes {model,card.json,card.md,reference.json} beside the other versions of the target, atomically, and registers it. A version that is
// registered already is left as it is.
func saveModel(ctx context.Context, a *App, l *lake.Lake, t *models.Trained, from lineage) error {
	all, err := registeredModels(ctx, l)
	if err != nil {
		return err
	}
	if _, ok := all[t.Card.Version]; ok {
		return nil
	}
	card, err := json.MarshalIndent(t.Card, "", "  ")
	if err != nil {
		return fmt.Errorf("card of %s: %w", t.Card.Version, err)
	}
	reference, err := json.Marshal(t.Reference)
	if err != nil {
		return fmt.Errorf("reference of %s: %w", t.Card.Version, err)
	}
	rel := filepath.Join("models", string(t.Card.Target), t.Card.Version)
	final := filepath.Join(a.Data, rel)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return fmt.Errorf("register %s: %w", t.Card.Version, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(final), ".new-")
	if err != nil {
		return fmt.Errorf("register %s: %w", t.Card.Version, err)
	}
	defer os.RemoveAll(tmp) // does nothing after the rename
	for name, raw := range map[string][]byte{"model": t.Artifact, "card.json": append(card, '\n'), "card.md": []byte(t.Card.Markdown()), "reference.json": append(reference, '\n')} {
		if err := writeSynced(filepath.Join(tmp, name), raw); err != nil {
			return fmt.Errorf("register %s: %w", t.Card.Version, err)
		}
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), syncDir(tmp)); err != nil {
		return fmt.Errorf("register %s: %w", t.Card.Version, err)
	}
	// Files without a record are what a crash left between the rename and the record: nobody reads them, so they make room.
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("register %s: %w", t.Card.Version, err)
	}
	if err := errors.Join(os.Rename(tmp, final), syncDir(filepath.Dir(final))); err != nil {
		return fmt.Errorf("register %s: %w", t.Card.Version, err)
	}
	return l.PutRecord(ctx, "model", t.Card.Version, registered{Card: t.Card, Path: filepath.ToSlash(rel), Lineage: from})
}

// writeSynced writes a file and waits for the disk.
func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// registeredModels returns every model by version.
func registeredModels(ctx context.Context, l *lake.Lake) (map[string]registered, error) {
	return records[registered](ctx, l, "model")
}

// champions returns the champion of each target that has one.
func champions(ctx context.Context, l *lake.Lake) (map[string]champion, error) {
	return records[champion](ctx, l, "champion")
}

func records[T any](ctx context.Context, l *lake.Lake, kind string) (map[string]T, error) {
	raw, err := l.Records(ctx, kind)
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(raw))
	for key, doc := range raw {
		var t T
		if err := json.Unmarshal(doc, &t); err != nil {
			return nil, fmt.Errorf("record %s %s: %w", kind, key, err)
		}
		out[key] = t
	}
	return out, nil
}

// crown makes a version the champion of its target and remembers the one before it.
func crown(ctx context.Context, l *lake.Lake, target models.Target, version, by, reason string) error {
	all, err := champions(ctx, l)
	if err != nil {
		return err
	}
	now := all[string(target)]
	if now.Version == version && (now.By == by || by == "night") {
		return nil
	}
	next := champion{Version: version, By: by, Reason: reason, Past: now.Past}
	if now.Version != "" && now.Version != version {
		next.Past = slices.Insert(next.Past, 0, now.Version)
		next.Past = next.Past[:min(len(next.Past), pastChampions)]
	}
	return l.PutRecord(ctx, "champion", string(target), next)
}

// modelCards returns all cards, newest first, with the role that each has now.
func modelCards(ctx context.Context, l *lake.Lake) ([]models.Card, error) {
	all, err := registeredModels(ctx, l)
	if err != nil {
		return nil, err
	}
	kings, err := champions(ctx, l)
	if err != nil {
		return nil, err
	}
	named, err := aliases(ctx, l)
	if err != nil {
		return nil, err
	}
	cards := make([]models.Card, 0, len(all))
	for _, r := range all {
		if r.Card.Role = roleOf(r.Card, kings); r.Card.Role == "challenger" && named[string(r.Card.Target)+"/shadow"].Version == r.Card.Version {
			r.Card.Role = "shadow"
		}
		cards = append(cards, r.Card)
	}
	slices.SortFunc(cards, func(a, b models.Card) int {
		return cmp.Or(cmp.Compare(newestCut(b), newestCut(a)), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Version, b.Version))
	})
	return cards, nil
}

func newestCut(c models.Card) string {
	return max(c.TestAsOf, slices.Max(append([]string{""}, c.TrainAsOf...)))
}

func roleOf(c models.Card, kings map[string]champion) string {
	if kings[string(c.Target)].Version == c.Version {
		return "champion"
	}
	return "challenger"
}

// promoteModel makes a registered version the champion by a person's word; version "previous" rolls back to the champion before. It stays
// champion, for nights too, until somebody promotes another.
func promoteModel(ctx context.Context, a *App, l *lake.Lake, target models.Target, version string) (models.Card, error) {
	all, err := registeredModels(ctx, l)
	if err != nil {
		return models.Card{}, err
	}
	if version == "previous" {
		kings, err := champions(ctx, l)
		if err != nil {
			return models.Card{}, err
		}
		past := kings[string(target)].Past
		if len(past) == 0 {
			return models.Card{}, &features.InvalidError{Field: "version", Reason: "there is no earlier champion to go back to"}
		}
		version = past[0]
	}
	r, ok := all[version]
	if !ok || r.Card.Target != target {
		return models.Card{}, &features.InvalidError{Field: "version", Reason: fmt.Sprintf("no %s model %q is registered", target, version)}
	}
	if _, err := loadModel(a, r); err != nil { // a damaged file is refused here and not in the night
		return models.Card{}, err
	}
	if err := crown(ctx, l, target, version, "promotion", "promoted by hand"); err != nil {
		return models.Card{}, err
	}
	r.Card.Role = "champion"
	return r.Card, nil
}

// loadModel reads a registered model; its checksum and check rows are verified.
func loadModel(a *App, r registered) (models.Model, error) {
	raw, err := os.ReadFile(filepath.Join(a.Data, filepath.FromSlash(r.Path), "model"))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", r.Card.Version, err)
	}
	m, err := models.Load(raw)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", r.Card.Version, err)
	}
	return m, nil
}

// driftOf compares the users of a frame with those that a model was trained on. A model without a reference has none.
func driftOf(a *App, r registered, f *models.Frame) map[string]float64 {
	raw, err := os.ReadFile(filepath.Join(a.Data, filepath.FromSlash(r.Path), "reference.json"))
	if err != nil {
		return nil
	}
	var ref models.Reference
	if json.Unmarshal(raw, &ref) != nil {
		return nil
	}
	return ref.Drift(f)
}

// chosen is a model to score with. Hindsight says that it has learned from days at or after the cut that it scores.
type chosen struct {
	registered
	Hindsight bool
}

// chooseModel returns the named version, or the champion of that date: the champion if it has learned nothing after the cut, else the
// registered model that has learned most recently without doing so, else the champion with hindsight. ok is false when there is no model.
func chooseModel(ctx context.Context, l *lake.Lake, target models.Target, version string, asOf features.Day) (c chosen, ok bool, err error) {
	all, err := registeredModels(ctx, l)
	if err != nil {
		return c, false, err
	}
	if version != "" {
		r, ok := all[version]
		if !ok || r.Card.Target != target {
			return c, false, &features.InvalidError{Field: string(target) + "-model", Reason: fmt.Sprintf("no %s model %q is registered; `perennial train %s` makes one", target, version, target)}
		}
		return chosen{r, r.Lineage.KnownUntil > asOf.String()}, true, nil
	}
	kings, err := champions(ctx, l)
	if err != nil {
		return c, false, err
	}
	king, crowned := all[kings[string(target)].Version]
	if crowned && king.Lineage.KnownUntil <= asOf.String() {
		return chosen{king, false}, true, nil
	}
	var best registered
	for _, r := range all {
		if r.Card.Target == target && r.Lineage.KnownUntil <= asOf.String() &&
			cmp.Or(cmp.Compare(r.Lineage.KnownUntil, best.Lineage.KnownUntil), cmp.Compare(r.Card.Version, best.Card.Version)) > 0 {
			best = r
		}
	}
	if best.Card.Version != "" {
		return chosen{best, false}, true, nil
	}
	return chosen{king, true}, crowned, nil
}

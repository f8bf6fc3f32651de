package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
	"perennial/models/eval"
)

// scorePart is how many users one part of a score run has: a killed run goes on after its last whole part, and memory holds one part of
// explanations, however many users there are.
var scorePart = 65_536 // a variable for tests

// build scores every user, part by part, into a private directory that Publish makes visible. The directory is named by what the scores are
// made from, so that a run which was killed finds its parts again. One run at a time.
func (s *scoring) build(ctx context.Context, again bool) (run lake.Run, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("score as of %s: %w", s.asOf, err)
		}
	}()
	defer debug.SetGCPercent(debug.SetGCPercent(tableGC))
	unlock, err := alone(ctx, s.l, "scoring", "another run is scoring on this data directory; wait for it to end")
	if err != nil {
		return run, err
	}
	defer unlock()
	id := s.scoreVersion()
	dir := filepath.Join(s.a.Data, "scores", ".new-"+id+"-"+version)
	if again {
		if err := os.RemoveAll(dir); err != nil {
			return run, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return run, err
	}
	parts, beside, err := s.parts(ctx, dir)
	if err != nil {
		return run, err
	}
	final := filepath.Join(dir, "scores.parquet")
	if len(parts) == 1 {
		err = os.Rename(parts[0], final)
	} else {
		debug.FreeOSMemory() // what explaining has left is DuckDB's to use
		err = s.e.JoinTables(ctx, parts, final)
	}
	if err != nil {
		return run, err
	}
	x := s.extra()
	x.Shadow = beside
	extra, err := json.Marshal(x)
	if err != nil {
		return run, err
	}
	meta, err := json.Marshal(warehouse.RunMeta{AsOf: s.asOf.String(), Version: id, Rows: len(s.table.Users), Digest: s.meta.Digest, Catalog: s.meta.Catalog, Extra: extra})
	if err != nil {
		return run, err
	}
	if err := s.besides(ctx, dir, final); err != nil {
		return run, err
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), append(meta, '\n'), 0o644); err != nil {
		return run, err
	}
	for _, p := range parts {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return run, err
		}
	}
	return lake.Run{Kind: "scores", AsOf: s.asOf, Version: id, Dir: dir, Meta: meta}, nil
}

// besides puts the features that were scored, and what changed since the run before, beside the scores.
func (s *scoring) besides(ctx context.Context, dir, scores string) error {
	own := filepath.Join(dir, "features.parquet")
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Link(filepath.Join(s.built.Dir, "features.parquet"), own); err != nil { // the same file under a second name where that works
		if err := s.e.WriteTable(ctx, s.table, own); err != nil {
			return err
		}
	}
	runs, err := s.l.Runs(ctx, "scores")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(runs, func(r lake.Run) bool { return r.AsOf < s.asOf })
	if i < 0 {
		return nil
	}
	before := filepath.Join(runs[i].Dir, "scores.parquet")
	if _, err := os.Stat(before); err != nil {
		return nil // a run of another program's making: nothing to compare with
	}
	changes, err := s.e.ScoreChanges(ctx, before, scores)
	if err != nil {
		return err
	}
	changes.AsOf = s.asOf
	return s.e.WriteTable(ctx, changes, filepath.Join(dir, "changes.parquet"))
}

// parts writes the parts that are not there yet and returns their paths.
func (s *scoring) parts(ctx context.Context, dir string) ([]string, map[string]shadowReport, error) {
	name := func(k int) string { return filepath.Join(dir, fmt.Sprintf("part-%05d.parquet", k)) }
	churn, ltv, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	frame := models.Untreated(frameOf(s.table), churn, ltv)
	shadow, beside, err := s.shadow(frame, churn, ltv)
	if err != nil {
		return nil, nil, err
	}
	var paths []string
	for {
		if _, err := os.Stat(name(len(paths))); err != nil {
			break
		}
		paths = append(paths, name(len(paths)))
	}
	var waiting []models.Score
	flush := func(n int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := name(len(paths))
		if err := s.e.WriteTable(ctx, s.scoreTable(waiting[:n], shadow), path); err != nil {
			return err
		}
		paths = append(paths, path)
		waiting = append(waiting[:0:0], waiting[n:]...)
		return nil
	}
	done := min(len(paths)*scorePart, len(frame.Users))
	err = models.ScoreAll(frame, churn, ltv, models.ScoreOptions{From: done}, func(part []models.Score) error {
		waiting = append(waiting, part...)
		for len(waiting) >= scorePart {
			if err := flush(scorePart); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && (len(waiting) > 0 || len(paths) == 0) {
		err = flush(len(waiting))
	}
	return paths, beside, err
}

// shadowReport compares a shadow with the champion on the users of a run.
type shadowReport struct {
	Model      string  `json:"model"`
	Mean       float64 `json:"mean"`
	MeanServed float64 `json:"mean_served"`
	Spearman   float64 `json:"spearman"` // of the two rankings
	PSI        float64 `json:"psi"`      // of the shadow's scores on the deciles of those that are served
}

// shadow scores with the shadows; a value a user by target.
func (s *scoring) shadow(frame *models.Frame, churn, ltv models.Model) (map[models.Target][]float64, map[string]shadowReport, error) {
	values, reports := map[models.Target][]float64{}, map[string]shadowReport{}
	for target, served := range map[models.Target]models.Model{models.Churn: churn, models.LTV: ltv} {
		c := s.shadows[target]
		if c == nil || served == nil || len(frame.Users) == 0 {
			continue
		}
		m, err := loadModel(s.a, c.registered)
		if err != nil {
			return nil, nil, err
		}
		own, theirs := make([]float64, len(frame.Users)), make([]float64, len(frame.Users))
		if err := errors.Join(m.Predict(models.Untreated(frame, m), own), served.Predict(frame, theirs)); err != nil {
			return nil, nil, err
		}
		r := shadowReport{Model: c.Card.Version, Mean: average(own), MeanServed: average(theirs), Spearman: eval.Spearman(own, theirs), PSI: eval.NewHistogram(theirs).PSI(own)}
		if math.IsNaN(r.Spearman) {
			r.Spearman = 0
		}
		values[target], reports[string(target)] = own, r
	}
	return values, reports, nil
}

func average(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// scoreExtra is what run.json says beyond the common fields.
type scoreExtra struct {
	ChurnModel string             `json:"churn_model,omitempty"`
	LTVModel   string             `json:"ltv_model,omitempty"`
	Hindsight  bool               `json:"hindsight"`
	Drift      map[string]float64 `json:"drift,omitempty"` // population stability index of features that have left their training range

	Shadow map[string]shadowReport `json:"shadow,omitempty"` // by target
}

// extra notes which features have drifted and says so once.
func (s *scoring) extra() scoreExtra {
	x := scoreExtra{ChurnModel: s.version(models.Churn), LTVModel: s.version(models.LTV), Hindsight: s.hindsight(), Drift: map[string]float64{}}
	frame := frameOf(s.table)
	for _, c := range []*chosen{s.churn, s.ltv} {
		if c == nil {
			continue
		}
		for name, psi := range driftOf(s.a, c.registered, frame) {
			if psi >= eval.PSIWarn {
				x.Drift[name] = psi
			}
		}
	}
	var alarms []string
	for _, name := range slices.Sorted(maps.Keys(x.Drift)) {
		if x.Drift[name] >= eval.PSIAlarm {
			alarms = append(alarms, fmt.Sprintf("%s %.2f", name, x.Drift[name]))
		}
	}
	if len(alarms) > 0 {
		s.say("score: features beyond their training range (population stability index): %s; train again or look at the input", strings.Join(alarms, ", "))
	}
	return x
}

// load reads the models.
func (s *scoring) load() (churn, ltv models.Model, err error) {
	if s.churn != nil {
		if churn, err = loadModel(s.a, s.churn.registered); err != nil {
			return nil, nil, err
		}
	}
	if s.ltv != nil {
		ltv, err = loadModel(s.a, s.ltv.registered)
	}
	return churn, ltv, err
}

// scoreTable has the columns of CONTRACT §4 and, after them, the interval of the risk, percentiles and band, and what the shadows say.
func (s *scoring) scoreTable(scores []models.Score, shadow map[models.Target][]float64) *features.Table {
	t := &features.Table{AsOf: s.asOf, Users: make([]string, len(scores))}
	texts := func(of func(r *models.Score) string) []string {
		out := make([]string, len(scores))
		for i := range scores {
			out[i] = of(&scores[i])
		}
		return out
	}
	column := func(name string, of func(r *models.Score) float64) {
		numbers := make([]float64, len(scores))
		for i := range scores {
			numbers[i] = of(&scores[i])
		}
		t.Columns = append(t.Columns, features.Column{Name: name, Numbers: numbers, Integer: strings.HasSuffix(name, "decile")})
	}
	for i := range scores {
		t.Users[i] = scores[i].User
	}
	id, churn, ltv := s.scoreVersion(), s.version(models.Churn), s.version(models.LTV)
	t.Columns = append(t.Columns, features.Column{Name: "stage", Texts: texts(func(r *models.Score) string { return r.Stage })})
	column("churn_risk", func(r *models.Score) float64 { return r.ChurnRisk })
	column("churn_decile", func(r *models.Score) float64 { return decile(r.ChurnDecile) })
	column("ltv", func(r *models.Score) float64 { return r.LTV })
	column("ltv_low", func(r *models.Score) float64 { return r.LTVLow })
	column("ltv_high", func(r *models.Score) float64 { return r.LTVHigh })
	column("ltv_decile", func(r *models.Score) float64 { return decile(r.LTVDecile) })
	text := func(name string, of func(*models.Score) string) {
		t.Columns = append(t.Columns, features.Column{Name: name, Texts: texts(of)})
	}
	text("reasons", func(r *models.Score) string {
		raw, _ := json.Marshal(r.Reasons) // strings only: it cannot fail
		return string(raw)
	})
	text("score_version", func(*models.Score) string { return id })
	text("churn_model", func(*models.Score) string { return churn })
	text("ltv_model", func(*models.Score) string { return ltv })
	text("band", func(r *models.Score) string { return r.Band })
	column("churn_low", func(r *models.Score) float64 { return r.ChurnLow })
	column("churn_high", func(r *models.Score) float64 { return r.ChurnHigh })
	column("churn_percentile", func(r *models.Score) float64 { return r.ChurnPercentile })
	column("churn_stage_percentile", func(r *models.Score) float64 { return r.ChurnStagePercentile })
	column("ltv_percentile", func(r *models.Score) float64 { return r.LTVPercentile })
	column("ltv_stage_percentile", func(r *models.Score) float64 { return r.LTVStagePercentile })
	if v := shadow[models.Churn]; v != nil {
		column("churn_risk_shadow", func(r *models.Score) float64 { return v[r.Row] })
	}
	if v := shadow[models.LTV]; v != nil {
		column("ltv_shadow", func(r *models.Score) float64 { return max(0, v[r.Row]) })
	}
	return t
}

// decile is null where there is no model.
func decile(d int) float64 {
	if d == 0 {
		return math.NaN()
	}
	return float64(d)
}

// writeShard writes the users of one shard. Ranks are those of all users, so the shards together are the unsharded run; explained are the
// shard's users alone.
func (s *scoring) writeShard(ctx context.Context, out string, part, of int) error {
	churn, ltv, err := s.load()
	if err != nil {
		return err
	}
	frame := models.Untreated(frameOf(s.table), churn, ltv)
	shadow, _, err := s.shadow(frame, churn, ltv)
	if err != nil {
		return err
	}
	var scores []models.Score
	keep := func(user string) bool { return int(lake.UserBucket(user))%of == part }
	err = models.ScoreAll(frame, churn, ltv, models.ScoreOptions{Keep: keep}, func(some []models.Score) error {
		scores = append(scores, some...)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := s.e.WriteTable(ctx, s.scoreTable(scores, shadow), out); err != nil {
		return err
	}
	s.say("score: shard %d of %d has %d of %d users, version %s", part, of, len(scores), len(s.table.Users), s.scoreVersion())
	if s.a.JSON {
		return json.NewEncoder(s.a.Out).Encode(map[string]any{"as_of": s.asOf.String(), "score_version": s.scoreVersion(), "rows": len(scores), "shard": fmt.Sprintf("%d/%d", part, of), "out": out})
	}
	return nil
}

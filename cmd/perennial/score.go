package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
	"perennial/models/eval"
)

type scoreCmd struct {
	AsOf  string `name:"as-of" required:"" placeholder:"DATE" help:"The cut: nothing at or after it is used."`
	Churn string `name:"churn-model" placeholder:"VERSION" help:"Churn model. Default: the champion of that date."`
	LTV   string `name:"ltv-model" placeholder:"VERSION" help:"LTV model. Default: the champion of that date."`
	Shard string `placeholder:"I/N" help:"Write only the users of shard I of N (0 ≤ I < N ≤ 64), by user bucket; nothing is published. Needs --out."`
	Out   string `placeholder:"FILE" help:"Also write the scores to FILE (.parquet, .csv, .ndjson; .gz and .zst)."`
}

// Help shows examples.
func (scoreCmd) Help() string {
	return "Examples:\n  perennial score --as-of 2011-10-01 --out scores.csv\n  perennial score --as-of 2011-10-01 --churn-model churn-2011-10-01-1f3a9c2e\n  perennial score --as-of 2011-10-01 --shard 0/4 --out scores-0.parquet"
}

// Run scores every user and publishes the snapshot.
func (c scoreCmd) Run(ctx context.Context, a *App) error {
	asOf, err := a.cutDay("as-of", c.AsOf)
	if err != nil {
		return err
	}
	part, of, err := c.shard()
	if err != nil {
		return err
	}
	start := time.Now()
	b, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer b.close()
	s := &scoring{bench: b, asOf: asOf}
	for target, version := range map[models.Target]string{models.Churn: c.Churn, models.LTV: c.LTV} {
		if err := s.choose(ctx, target, version); err != nil {
			return err
		}
	}
	if s.churn == nil && s.ltv == nil {
		return fmt.Errorf("score as of %s: no model is registered; run `perennial train churn` and `perennial train ltv`, or `perennial nightly`", asOf)
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if of > 1 {
		return s.writeShard(ctx, c.Out, part, of)
	}
	run, found, err := s.find(ctx)
	if err != nil {
		return err
	}
	if !found {
		if run, err = s.build(ctx); err == nil {
			run, err = b.l.Publish(ctx, run)
		}
		if err != nil {
			return err
		}
	}
	if c.Out != "" {
		table, err := b.e.ReadTable(ctx, filepath.Join(run.Dir, "scores.parquet"))
		if err != nil {
			return err
		}
		if err := b.e.WriteTable(ctx, table, c.Out); err != nil {
			return err
		}
	}
	b.say("score: %d users as of %s, version %s, %.1f s", len(s.table.Users), asOf, run.Version, time.Since(start).Seconds())
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"as_of": asOf.String(), "score_version": run.Version, "rows": len(s.table.Users),
			"churn_model": s.version(models.Churn), "ltv_model": s.version(models.LTV), "hindsight": s.hindsight(), "out": c.Out})
	}
	return nil
}

// shard reads I/N; without the flag it is 0 of 1.
func (c scoreCmd) shard() (part, of int, err error) {
	if c.Shard == "" {
		return 0, 1, nil
	}
	i, n, ok := strings.Cut(c.Shard, "/")
	part, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil || of < 1 || of > lake.Buckets || part < 0 || part >= of {
		return 0, 0, usageError{&features.InvalidError{Field: "shard", Reason: fmt.Sprintf("%q is not I/N with 0 ≤ I < N ≤ %d", c.Shard, lake.Buckets)}}
	}
	if c.Out == "" {
		return 0, 0, usageError{&features.InvalidError{Field: "out", Reason: "a shard is written to a file: give --out"}}
	}
	return part, of, nil
}

// scoring is one score run: a cut, its features and the models that it is scored with.
type scoring struct {
	*bench
	asOf       features.Day
	churn, ltv *chosen
	table      *features.Table
	meta       warehouse.RunMeta // of the features
}

// choose picks a target's model; none is no error.
func (s *scoring) choose(ctx context.Context, target models.Target, version string) error {
	c, ok, err := chooseModel(ctx, s.l, target, version, s.asOf)
	if err != nil || !ok {
		return err
	}
	if c.Hindsight {
		s.say("score: %s has learned from days after %s: the run is marked as hindsight and must not be used as covariate, segment or target of that time", c.Card.Version, s.asOf)
	}
	if target == models.Churn {
		s.churn = &c
	} else {
		s.ltv = &c
	}
	return nil
}

func (s *scoring) version(target models.Target) string {
	c := s.churn
	if target == models.LTV {
		c = s.ltv
	}
	if c == nil {
		return ""
	}
	return c.Card.Version
}

func (s *scoring) hindsight() bool {
	return s.churn != nil && s.churn.Hindsight || s.ltv != nil && s.ltv.Hindsight
}

// prepare finds or builds the features.
func (s *scoring) prepare(ctx context.Context) error {
	run, table, err := buildFeatures(ctx, s.l, s.e, s.snap, s.asOf, s.a.progress)
	if err != nil {
		return err
	}
	s.table = table
	return json.Unmarshal(run.Meta, &s.meta)
}

// scoreVersion is a function of the cut, the catalog, the models and the events known before the cut (engineering rule 6).
func (s *scoring) scoreVersion() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{s.asOf.String(), s.meta.Catalog, s.version(models.Churn), s.version(models.LTV), s.meta.Digest}, "\n")))
	return fmt.Sprintf("scores-%s-%s", s.asOf, hex.EncodeToString(sum[:4]))
}

// find returns the run when it is published already.
func (s *scoring) find(ctx context.Context) (lake.Run, bool, error) {
	return s.l.FindRun(ctx, "scores", s.asOf, s.scoreVersion())
}

// build scores every user into a private directory that Publish makes visible.
func (s *scoring) build(ctx context.Context) (run lake.Run, err error) {
	scores, err := s.score()
	if err != nil {
		return run, err
	}
	version := s.scoreVersion()
	table := s.scoreTable(scores, func(string) bool { return true })
	dir, err := s.l.NewRunDir("scores", s.asOf)
	if err != nil {
		return run, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
			err = fmt.Errorf("score as of %s: %w", s.asOf, err)
		}
	}()
	extra, err := json.Marshal(s.extra())
	if err != nil {
		return run, err
	}
	meta, err := json.Marshal(warehouse.RunMeta{AsOf: s.asOf.String(), Version: version, Rows: len(s.table.Users), Digest: s.meta.Digest, Catalog: s.meta.Catalog, Extra: extra})
	if err != nil {
		return run, err
	}
	for name, t := range map[string]*features.Table{"scores.parquet": table, "features.parquet": s.table} {
		if err := s.e.WriteTable(ctx, t, filepath.Join(dir, name)); err != nil {
			return run, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), append(meta, '\n'), 0o644); err != nil {
		return run, err
	}
	return lake.Run{Kind: "scores", AsOf: s.asOf, Version: version, Dir: dir, Meta: meta}, nil
}

// scoreExtra is what run.json says beyond the common fields.
type scoreExtra struct {
	ChurnModel string             `json:"churn_model,omitempty"`
	LTVModel   string             `json:"ltv_model,omitempty"`
	Hindsight  bool               `json:"hindsight"`
	Drift      map[string]float64 `json:"drift,omitempty"` // population stability index of features that have left their training range
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

// score applies the models to every user.
func (s *scoring) score() ([]models.Score, error) {
	var churn, ltv models.Model
	var err error
	if s.churn != nil {
		if churn, err = loadModel(s.a, s.churn.registered); err != nil {
			return nil, err
		}
	}
	if s.ltv != nil {
		if ltv, err = loadModel(s.a, s.ltv.registered); err != nil {
			return nil, err
		}
	}
	return models.ScoreFrame(frameOf(s.table), churn, ltv)
}

// scoreTable has the columns of CONTRACT §4 for the users that keep accepts.
func (s *scoring) scoreTable(scores []models.Score, keep func(user string) bool) *features.Table {
	t := &features.Table{AsOf: s.asOf}
	stage, reasons, version, churnModel, ltvModel := []string{}, []string{}, []string{}, []string{}, []string{}
	names := []string{"churn_risk", "churn_decile", "ltv", "ltv_low", "ltv_high", "ltv_decile"}
	numbers := make([][]float64, len(names))
	for j := range numbers {
		numbers[j] = []float64{}
	}
	id := s.scoreVersion()
	for _, r := range scores {
		if !keep(r.User) {
			continue
		}
		t.Users = append(t.Users, r.User)
		stage = append(stage, r.Stage)
		for j, v := range []float64{r.ChurnRisk, decile(r.ChurnDecile), r.LTV, r.LTVLow, r.LTVHigh, decile(r.LTVDecile)} {
			numbers[j] = append(numbers[j], v)
		}
		text, _ := json.Marshal(r.Reasons) // strings only: it cannot fail
		reasons = append(reasons, string(text))
		version = append(version, id)
		churnModel, ltvModel = append(churnModel, s.version(models.Churn)), append(ltvModel, s.version(models.LTV))
	}
	t.Columns = append(t.Columns, features.Column{Name: "stage", Texts: stage})
	for j, name := range names {
		t.Columns = append(t.Columns, features.Column{Name: name, Numbers: numbers[j], Integer: strings.HasSuffix(name, "decile")})
	}
	t.Columns = append(t.Columns, features.Column{Name: "reasons", Texts: reasons}, features.Column{Name: "score_version", Texts: version},
		features.Column{Name: "churn_model", Texts: churnModel}, features.Column{Name: "ltv_model", Texts: ltvModel})
	return t
}

// decile is null where there is no model.
func decile(d int) float64 {
	if d == 0 {
		return math.NaN()
	}
	return float64(d)
}

// writeShard writes the users of one shard. Deciles are those of all users, so the shards together are the unsharded run.
func (s *scoring) writeShard(ctx context.Context, out string, part, of int) error {
	scores, err := s.score()
	if err != nil {
		return err
	}
	t := s.scoreTable(scores, func(user string) bool { return int(lake.UserBucket(user))%of == part })
	if err := s.e.WriteTable(ctx, t, out); err != nil {
		return err
	}
	s.say("score: shard %d of %d has %d of %d users, version %s", part, of, len(t.Users), len(s.table.Users), s.scoreVersion())
	if s.a.JSON {
		return json.NewEncoder(s.a.Out).Encode(map[string]any{"as_of": s.asOf.String(), "score_version": s.scoreVersion(), "rows": len(t.Users), "shard": fmt.Sprintf("%d/%d", part, of), "out": out})
	}
	return nil
}

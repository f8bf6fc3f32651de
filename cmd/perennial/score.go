package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
)

type scoreCmd struct {
	AsOf  string `name:"as-of" placeholder:"DATE" help:"The cut: nothing at or after it is used."`
	From  string `placeholder:"DATE" help:"Backfill: the first of several cuts, in place of --as-of."`
	To    string `placeholder:"DATE" help:"Backfill: no cut is after this date."`
	Every int    `default:"1" placeholder:"DAYS" help:"Backfill: so many days from one cut to the next."`
	Churn string `name:"churn-model" placeholder:"VERSION" help:"Churn model. Default: the champion of that date."`
	LTV   string `name:"ltv-model" placeholder:"VERSION" help:"LTV model. Default: the champion of that date."`
	Shard string `placeholder:"I/N" help:"Write only the users of shard I of N (0 ≤ I < N ≤ 64), by user bucket; nothing is published. Needs --out."`
	Out   string `placeholder:"FILE" help:"Also write the scores to FILE (.parquet, .csv, .ndjson; .gz and .zst)."`
}

// Help shows examples.
func (scoreCmd) Help() string {
	return "Examples:\n  perennial score --as-of 2011-10-01 --out scores.csv\n  perennial score --as-of 2011-10-01 --churn-model churn-2011-10-01-1f3a9c2e\n  perennial score --as-of 2011-10-01 --shard 0/4 --out scores-0.parquet\n  perennial score --from 2011-07-01 --to 2011-10-01 --every 7   # a backfill, oldest first; what is there already is left alone"
}

// Run scores every user of each cut and publishes the snapshots.
func (c scoreCmd) Run(ctx context.Context, a *App) error {
	cuts, err := c.cuts(a)
	if err != nil {
		return err
	}
	part, of, err := c.shard()
	if err != nil {
		return err
	}
	b, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer b.close()
	if of > 1 {
		s, err := c.scoring(ctx, b, cuts[0])
		if err != nil {
			return err
		}
		return s.writeShard(ctx, c.Out, part, of)
	}
	made := make([]map[string]any, len(cuts))
	for i, asOf := range cuts {
		if made[i], err = c.one(ctx, b, asOf); err != nil {
			return err
		}
	}
	switch {
	case !a.JSON:
		return nil
	case c.From == "":
		return json.NewEncoder(a.Out).Encode(made[0])
	}
	return json.NewEncoder(a.Out).Encode(map[string]any{"runs": made})
}

// cuts returns the one cut, or those of a backfill, oldest first.
func (c scoreCmd) cuts(a *App) ([]features.Day, error) {
	fault := func(field, reason string) ([]features.Day, error) {
		return nil, usageError{&features.InvalidError{Field: field, Reason: reason}}
	}
	if c.From == "" && c.To == "" {
		if c.AsOf == "" {
			return fault("as-of", "give the cut with --as-of, or several with --from and --to")
		}
		asOf, err := a.cutDay("as-of", c.AsOf)
		return []features.Day{asOf}, err
	}
	if c.AsOf != "" || c.From == "" || c.To == "" {
		return fault("from", "a backfill has both --from and --to, and no --as-of")
	}
	if c.Shard != "" || c.Out != "" {
		return fault("out", "a backfill publishes its scores; write a cut's with --as-of and --out, or `perennial export scores`")
	}
	from, err := a.cutDay("from", c.From)
	if err != nil {
		return nil, err
	}
	to, err := a.cutDay("to", c.To)
	if err != nil {
		return nil, err
	}
	if to < from || c.Every < 1 {
		return fault("to", fmt.Sprintf("--to %s is before --from %s, or --every %d is less than a day", to, from, c.Every))
	}
	var cuts []features.Day
	for d := from; d <= to; d += features.Day(c.Every) {
		cuts = append(cuts, d)
	}
	return cuts, nil
}

// scoring picks the models of a cut and finds or builds its features.
func (c scoreCmd) scoring(ctx context.Context, b *bench, asOf features.Day) (*scoring, error) {
	s := &scoring{bench: b, asOf: asOf}
	for target, version := range map[models.Target]string{models.Churn: c.Churn, models.LTV: c.LTV} {
		if err := s.choose(ctx, target, version); err != nil {
			return nil, err
		}
	}
	if s.churn == nil && s.ltv == nil {
		return nil, fmt.Errorf("score as of %s: no model is registered; run `perennial train churn` and `perennial train ltv`, or `perennial nightly`", asOf)
	}
	return s, s.prepare(ctx)
}

// one scores one cut, or finds that it is scored, and returns what --json says of it.
func (c scoreCmd) one(ctx context.Context, b *bench, asOf features.Day) (map[string]any, error) {
	start := time.Now()
	s, err := c.scoring(ctx, b, asOf)
	if err != nil {
		return nil, err
	}
	run, found, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	if !found {
		if run, err = s.build(ctx, false); err == nil {
			run, err = b.l.Publish(ctx, run)
		}
		if err != nil {
			return nil, err
		}
	}
	if c.Out != "" {
		table, err := b.e.ReadTable(ctx, filepath.Join(run.Dir, "scores.parquet"))
		if err != nil {
			return nil, err
		}
		if err := b.e.WriteTable(ctx, table, c.Out); err != nil {
			return nil, err
		}
	}
	b.say("score: %d users as of %s, version %s, %.1f s", len(s.table.Users), asOf, run.Version, time.Since(start).Seconds())
	return map[string]any{"as_of": asOf.String(), "score_version": run.Version, "rows": len(s.table.Users),
		"churn_model": s.version(models.Churn), "ltv_model": s.version(models.LTV), "hindsight": s.hindsight(), "out": c.Out}, nil
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
	shadows    map[models.Target]*chosen // score beside, serve nobody
	table      *features.Table
	built      lake.Run          // the features
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
	return s.chooseShadow(ctx, target)
}

// chooseShadow picks the target's shadow, which must not know the cut's future: comparing it with the champion would mean nothing.
func (s *scoring) chooseShadow(ctx context.Context, target models.Target) error {
	version, err := aliasOf(ctx, s.l, target, "shadow")
	if err != nil || version == "" {
		return err
	}
	c, ok, err := chooseModel(ctx, s.l, target, version, s.asOf)
	if err != nil || !ok || c.Hindsight {
		return err
	}
	if s.shadows == nil {
		s.shadows = map[models.Target]*chosen{}
	}
	s.shadows[target] = &c
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
	s.table, s.built = table, run
	return json.Unmarshal(run.Meta, &s.meta)
}

// scoreVersion is a function of the cut, the catalog, the models and the events known before the cut (engineering rule 6).
func (s *scoring) scoreVersion() string {
	of := []string{s.asOf.String(), s.meta.Catalog, s.version(models.Churn), s.version(models.LTV), s.meta.Digest}
	for _, target := range []models.Target{models.Churn, models.LTV} {
		if c := s.shadows[target]; c != nil {
			of = append(of, "shadow "+c.Card.Version)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(of, "\n")))
	return fmt.Sprintf("scores-%s-%s", s.asOf, hex.EncodeToString(sum[:4]))
}

// find returns the run when it is published already.
func (s *scoring) find(ctx context.Context) (lake.Run, bool, error) {
	return s.l.FindRun(ctx, "scores", s.asOf, s.scoreVersion())
}

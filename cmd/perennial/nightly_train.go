package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/warehouse"
	"perennial/models"
	"perennial/models/eval"
)

// minCutUsers is the fewest users of a cut that a night learns from.
const minCutUsers = 200

// mature is the newest cut whose label window, refunds included, is over at the night's cut.
func (n *night) mature() features.Day { return n.asOf - features.Day(n.horizon) - n.maturity() }

// anchor is the later cut of the night's models, the earlier one being one horizon before it: the first of the newest mature month. Models
// change once a month; scores change every night with the features.
func (n *night) anchor() features.Day {
	y, m, _ := n.mature().Date()
	return features.Day(time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// train makes sure that the month's models are registered and chooses what to score with: a model that a person promoted and that has
// learned nothing after the cut, else the month's refit. A shop that is too young for labels has none, and its columns stay null.
func (n *night) train(ctx context.Context) (bool, int64, error) {
	did, rows := false, int64(0)
	for _, target := range []models.Target{models.Churn, models.LTV} {
		if pinned, err := n.pinned(ctx, target); err != nil {
			return did, rows, err
		} else if pinned {
			continue
		}
		version, trained, count, err := n.month(ctx, target, n.anchor(), "month")
		if err != nil {
			return did, rows, fmt.Errorf("%s: %w", target, err)
		}
		did, rows = did || trained, rows+count
		if version == "" {
			continue
		}
		if err := n.choose(ctx, target, version); err != nil {
			return did, rows, err
		}
		trained, count, err = n.drifted(ctx, target)
		if err != nil {
			return did, rows, fmt.Errorf("%s: %w", target, err)
		}
		did, rows = did || trained, rows+count
	}
	n.report.ChurnModel, n.report.LTVModel = n.version(models.Churn), n.version(models.LTV)
	return did, rows, nil
}

// pinned chooses a champion that a person promoted.
func (n *night) pinned(ctx context.Context, target models.Target) (bool, error) {
	kings, err := champions(ctx, n.l)
	if err != nil || kings[string(target)].By != "promotion" {
		return false, err
	}
	all, err := registeredModels(ctx, n.l)
	if err != nil {
		return false, err
	}
	r, ok := all[kings[string(target)].Version]
	if !ok || r.Lineage.KnownUntil > n.asOf.String() {
		return false, nil
	}
	return true, n.choose(ctx, target, r.Card.Version)
}

// month returns the version of the refit at a cut, training it when it is not registered yet. An empty version says that there is nothing
// to learn from.
func (n *night) month(ctx context.Context, target models.Target, second features.Day, why string) (version string, did bool, rows int64, err error) {
	first := second - features.Day(n.horizon)
	notAfter := second + features.Day(n.horizon) + n.maturity()
	at := []features.Day{}
	plan := []string{string(target), n.cmd.Horizon, n.e.CatalogHash(), strings.Join(models.Learners(target), " ")}
	for _, d := range []features.Day{first, second, notAfter} {
		digest, known, err := n.e.Digest(ctx, n.snap, d)
		if err != nil {
			return "", false, 0, err
		}
		if plan = append(plan, d.String(), digest); known > 0 && d != notAfter {
			at = append(at, d)
		}
	}
	key := strings.Join(plan, "\n")
	all, err := registeredModels(ctx, n.l)
	if err != nil {
		return "", false, 0, err
	}
	for v, r := range all {
		if r.Lineage.Plan == key && !n.again("train") {
			return v, false, int64(r.Card.RowsTrain), nil
		}
	}
	cuts, of, err := n.cuts(ctx, target, at, n.horizon, notAfter)
	var young *warehouse.ImmatureError
	if errors.As(err, &young) {
		return n.young(ctx, target, young.Error())
	}
	if err != nil {
		return "", false, 0, err
	}
	cuts = slices.DeleteFunc(cuts, func(l *models.Labelled) bool { return len(l.Users) < minCutUsers })
	if len(cuts) == 0 || cuts[len(cuts)-1].AsOf != second.String() {
		return n.young(ctx, target, fmt.Sprintf("fewer than %d users had ordered by %s", minCutUsers, second))
	}
	at = []features.Day{first, second}[2-len(cuts):]
	t, err := n.refit(ctx, models.TrainPlan{Target: target, HorizonDays: n.horizon, Train: cuts, Seed: 1, Of: of, TimeUnit: "week",
		Incumbent: incumbent(all, target, second), Manual: n.a.Config.Promotion == "manual"}, at, notAfter, key, why)
	if err != nil {
		if ctx.Err() != nil {
			return "", false, 0, ctx.Err()
		}
		return n.young(ctx, target, err.Error())
	}
	return t.Card.Version, true, int64(t.Card.RowsTrain), nil
}

// young serves a shop without labels: a buy-till-you-die model of the history before the cut, fitted again every night until a month has
// matured. Where even that does not fit, the columns stay null.
func (n *night) young(ctx context.Context, target models.Target, why string) (version string, did bool, rows int64, err error) {
	n.say("nightly: no labels for %s yet: %s", target, why)
	key := strings.Join([]string{"young", string(target), n.cmd.Horizon, n.asOf.String(), n.meta.Catalog, n.digest}, "\n")
	all, err := registeredModels(ctx, n.l)
	if err != nil {
		return "", false, 0, err
	}
	for v, r := range all {
		if r.Lineage.Plan == key && !n.again("train") {
			return v, false, int64(r.Card.RowsTrain), nil
		}
	}
	if len(n.table.Users) < minCutUsers {
		n.say("nightly: no %s model: %d users are fewer than %d", target, len(n.table.Users), minCutUsers)
		return "", false, 0, nil
	}
	plan := models.TrainPlan{Target: target, HorizonDays: n.horizon, Seed: 1, TimeUnit: "week"}
	if target == models.LTV {
		plan.Of = "revenue"
	}
	t, err := models.TrainUnlabelled(ctx, plan, frameOf(n.table))
	if err != nil {
		n.say("nightly: no %s model: %v", target, err)
		return "", false, 0, ctx.Err()
	}
	from := lineage{KnownUntil: n.asOf.String(), Catalog: n.meta.Catalog, Digests: map[string]string{n.asOf.String(): n.digest}, Seed: 1, By: "night", Plan: key}
	return t.Card.Version, true, int64(t.Card.RowsTrain), saveModel(ctx, n.a, n.l, t, from)
}

// refit judges the line-up on the later cut, registers that model with its honest metrics, and fits the winner again on both cuts: the
// refit is what the night scores with, and its card points to the judgement instead of claiming it.
func (n *night) refit(ctx context.Context, p models.TrainPlan, at []features.Day, notAfter features.Day, key, why string) (*models.Trained, error) {
	if len(p.Train) == 2 {
		judge := p
		judge.Train, judge.Test = p.Train[:1], p.Train[1]
		t, err := models.Train(ctx, judge)
		if err != nil {
			return nil, err
		}
		from, err := n.lineage(ctx, p.Target, at[:1], n.horizon, notAfter)
		if err != nil {
			return nil, err
		}
		from.Seed, from.By = p.Seed, "night"
		if err := saveModel(ctx, n.a, n.l, t, from); err != nil {
			return nil, err
		}
		if v := t.Card.Contest; v != nil {
			n.say("nightly: %s: %s", p.Target, v.Reason)
		}
		p.Learner = t.Card.Learner
		p.Backtest = &models.Backtest{Version: t.Card.Version, TestAsOf: t.Card.TestAsOf, Users: t.Card.RowsTest, Metrics: t.Card.Metrics}
	}
	t, err := models.Train(ctx, p)
	if err != nil {
		return nil, err
	}
	from, err := n.lineage(ctx, p.Target, at, n.horizon, notAfter)
	if err != nil {
		return nil, err
	}
	from.Seed, from.By, from.Plan, from.Why = p.Seed, "night", key, why
	return t, saveModel(ctx, n.a, n.l, t, from)
}

// driftShare is the part of a model's work that rests on features beyond their training range from which the night does not wait for the
// next month.
const driftShare = 0.5

// ageing are the features that grow with the shop whatever its customers do: their drift is the calendar's.
var ageing = []string{"T", "tenure_days"}

// drifted trains again, on the newest mature week, when the features that the chosen model works with have left their training range. What it
// chooses depends on the facts before the cut alone, so a second night does the same.
func (n *night) drifted(ctx context.Context, target models.Target) (did bool, rows int64, err error) {
	c := n.churn
	if target == models.LTV {
		c = n.ltv
	}
	week := n.mature() - n.mature()%7
	if c == nil || c.Lineage.Why == "" || week <= n.anchor() {
		return false, 0, nil
	}
	share, names := 0.0, []string{}
	psi := driftOf(n.a, c.registered, frameOf(n.table))
	for _, f := range c.Card.Importance {
		if psi[f.Feature] >= eval.PSIAlarm && !slices.Contains(ageing, f.Feature) {
			share += f.Share
			names = append(names, f.Feature)
		}
	}
	if share < driftShare {
		return false, 0, nil
	}
	n.say("nightly: %s: features that do %.0f %% of the model's work have drifted (%s): training again as of %s", target, 100*share, strings.Join(names, ", "), week)
	version, did, rows, err := n.month(ctx, target, week, "drift")
	if err != nil || version == "" {
		return did, rows, err
	}
	return did, rows, n.choose(ctx, target, version)
}

// incumbent is the learner of the newest night's refit before a cut: another learner takes its place only when it surely ranks better.
func incumbent(all map[string]registered, target models.Target, before features.Day) string {
	var newest registered
	for _, r := range all {
		if r.Card.Target != target || r.Lineage.By != "night" || r.Card.Backtest == nil || newestCut(r.Card) >= before.String() {
			continue
		}
		if cmp.Or(cmp.Compare(newestCut(r.Card), newestCut(newest.Card)), cmp.Compare(r.Card.Version, newest.Card.Version)) > 0 {
			newest = r
		}
	}
	return newest.Card.Learner
}

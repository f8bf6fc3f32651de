package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// nightSteps are the steps of a night in their order (CONTRACT §4).
var nightSteps = []string{"seal", "tiles", "features", "train", "score", "publish", "experiments"}

type nightlyCmd struct {
	AsOf       string        `name:"as-of" placeholder:"DATE" help:"The cut. Default: today in the shop's zone."`
	From       string        `enum:",seal,tiles,features,train,score,publish,experiments" default:"" placeholder:"STEP" help:"Do this step and those after it again, even where their output is there."`
	AllowStale bool          `name:"allow-stale" help:"Go on although the newest event is suspiciously old."`
	Wait       time.Duration `default:"30s" help:"How long to wait for other servers to seal."`
	Without    []string      `placeholder:"SERVER" help:"Do not wait for a silent server this once; perennial servers retire lets it go for good."`
	Horizon    string        `default:"60d" placeholder:"DAYS" help:"How far the models predict."`
}

// Help shows examples and the law of the night.
func (nightlyCmd) Help() string {
	return "Steps: " + strings.Join(nightSteps, " ") + ".\nA second run for the same date does nothing; a killed one goes on where it was. No label window of its models ends after the cut.\n\n" +
		"Examples:\n  perennial nightly\n  perennial nightly --as-of 2011-10-01 --json\n  perennial nightly --as-of 2011-10-01 --from train"
}

// nightStep is one line of the report.
type nightStep struct {
	Name    string  `json:"name"`
	Status  string  `json:"status"` // done, skipped, failed
	Seconds float64 `json:"seconds"`
	Rows    int64   `json:"rows"`
	Reason  string  `json:"reason,omitempty"`
}

// nightReport is the answer of the command and, under the kind "night" and the date, its record.
type nightReport struct {
	AsOf         string      `json:"as_of"`
	Steps        []nightStep `json:"steps"`
	ScoreVersion string      `json:"score_version"`
	ChurnModel   string      `json:"churn_model,omitempty"`
	LTVModel     string      `json:"ltv_model,omitempty"`
	Digest       string      `json:"digest,omitempty"`
	// Servers says until when each of several servers had sealed what it received.
	Servers map[string]time.Time `json:"servers,omitempty"`
	Dropped int                  `json:"dropped_segments,omitempty"` // of days beyond the retention
	Audit   *warehouse.Audit     `json:"audit,omitempty"`            // of the features of this date, when they were built
	Drift   *warehouse.Drift     `json:"drift,omitempty"`            // of those of a night a week before, then
}

// Run walks the night.
func (c nightlyCmd) Run(ctx context.Context, a *App) error {
	text := c.AsOf
	if text == "" {
		text = a.Config.Shop().DayOf(a.Now()).String()
	}
	asOf, err := a.cutDay("as-of", text)
	if err != nil {
		return err
	}
	horizon, err := days("horizon", c.Horizon)
	if err != nil {
		return err
	}
	b := &bench{a: a}
	defer b.close()
	if b.l, err = a.openLake(ctx); err != nil {
		return err
	}
	release, err := alone(ctx, b.l, "nightly", "nightly: another night is at work on this data directory; wait for it to end")
	if err != nil {
		return err
	}
	defer release()
	if b.e, err = a.openBatch(ctx); err != nil {
		return err
	}
	n := &night{scoring: scoring{bench: b, asOf: asOf}, cmd: c, horizon: horizon, report: nightReport{AsOf: asOf.String()}}
	err = n.walk(ctx)
	if rec := b.l.PutRecord(context.WithoutCancel(ctx), "night", asOf.String(), n.report); err == nil {
		err = rec
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(n.report)
	}
	for _, s := range n.report.Steps {
		fmt.Fprintf(a.Out, "%-12s %-8s %6.1f s  %d\n", s.Name, s.Status, s.Seconds, s.Rows)
	}
	_, err = fmt.Fprintf(a.Out, "scores %s\n", n.report.ScoreVersion)
	return err
}

// alone takes a lock that one process of all has, or errs at once with why; the lock goes with the process.
func alone(ctx context.Context, l *lake.Lake, name, why string) (release func(), err error) {
	release, ok, err := l.Exclusive(ctx, name)
	if err == nil && !ok {
		err = errors.New(why)
	}
	return release, err
}

// night is one walk over the steps. What a step needs from an earlier one is found again when that one is skipped.
type night struct {
	scoring
	cmd     nightlyCmd
	horizon int
	digest  string
	known   int64    // events known before the cut
	made    lake.Run // the scores
	ready   bool     // the scores are published
	report  nightReport
}

func (n *night) walk(ctx context.Context) error {
	for _, step := range nightSteps {
		start := time.Now()
		work := map[string]func(context.Context) (bool, int64, error){"seal": n.seal, "tiles": n.inputs, "features": n.features, "train": n.train,
			"score": n.scoreAll, "publish": n.publish, "experiments": n.experiments}[step]
		did, rows, err := work(ctx)
		s := nightStep{Name: step, Status: "skipped", Seconds: time.Since(start).Seconds(), Rows: rows}
		switch {
		case err != nil:
			s.Status, s.Reason = "failed", err.Error()
		case did:
			s.Status = "done"
		}
		n.report.Steps = append(n.report.Steps, s)
		n.say("nightly: %s %s (%.1f s)", step, s.Status, s.Seconds)
		if err != nil {
			return fmt.Errorf("nightly as of %s: %s: %w", n.asOf, step, err)
		}
	}
	return nil
}

// again reports whether a step is to be done although its output is there.
func (n *night) again(step string) bool {
	return n.cmd.From != "" && slices.Index(nightSteps, step) >= slices.Index(nightSteps, n.cmd.From)
}

// before is the record of the last walk of this date; false when there is none or it was about other facts.
func (n *night) before(ctx context.Context) (nightReport, bool, error) {
	all, err := records[nightReport](ctx, n.l, "night")
	if err != nil {
		return nightReport{}, false, err
	}
	r, ok := all[n.asOf.String()]
	return r, ok && (n.digest == "" || r.Digest == n.digest), nil
}

// ended reports whether the last walk of this date got past a step with the same facts.
func (n *night) ended(ctx context.Context, step string) (bool, error) {
	r, ok, err := n.before(ctx)
	if err != nil || !ok {
		return false, err
	}
	i := slices.IndexFunc(r.Steps, func(s nightStep) bool { return s.Name == step })
	return i >= 0 && r.Steps[i].Status != "failed", nil
}

// seal moves acknowledged events to the lake, those of every server, and ends the retention of old days. It has done something when the snapshot is another one than before.
func (n *night) seal(ctx context.Context) (bool, int64, error) {
	old, err := n.l.Snapshot(ctx)
	if err != nil {
		return false, 0, err
	}
	id := old.ID
	if err := old.Close(); err != nil {
		return false, 0, err
	}
	shop := n.a.Config.Shop()
	if n.report.Servers, err = n.l.Barrier(ctx, shop.Midnight(n.asOf), n.cmd.Wait, n.cmd.Without); err != nil {
		return false, 0, err
	}
	if days := n.a.Config.RetentionDays; days > 0 {
		first := shop.DayOf(n.a.Now()) - features.Day(days)
		if n.report.Dropped, err = n.l.DropBefore(ctx, first); err != nil {
			return false, 0, err
		}
		if n.report.Dropped > 0 {
			n.say("nightly: events before %s are beyond the retention of %d days: %d segments dropped", first, days, n.report.Dropped)
		}
	}
	if n.snap, err = n.l.Snapshot(ctx); err != nil {
		return false, 0, err
	}
	var rows int64
	for _, g := range n.snap.Segments {
		rows += g.Rows
	}
	ended, err := n.ended(ctx, "seal")
	return n.snap.ID != id || !ended || n.again("seal"), rows, err
}

// inputs reads what is known before the cut, refuses input that stopped coming, for a file that did not arrive must not make every customer look
// colder, and computes the tiles of the days that changed since the last build. A date that was scored with these facts is not asked again.
func (n *night) inputs(ctx context.Context) (bool, int64, error) {
	var err error
	if n.digest, n.known, err = n.e.Digest(ctx, n.snap, n.asOf); err != nil {
		return false, 0, err
	}
	n.report.Digest = n.digest
	ended, err := n.ended(ctx, "tiles")
	if err != nil || ended && !n.again("tiles") {
		return false, n.known, err
	}
	stale, last, err := n.e.Stale(ctx, n.snap, n.asOf)
	if err != nil {
		return false, n.known, err
	}
	if stale && n.known > 0 && !n.cmd.AllowStale {
		return false, n.known, fmt.Errorf("the newest event before the cut is of %s: input is stale and the old scores stay; bring the missing days with `perennial import events`, or go on with --allow-stale", last)
	}
	if n.known == 0 {
		return true, 0, nil // the next step says what is missing
	}
	_, days, err := buildTiles(ctx, n.l, n.e, n.snap, n.asOf, n.a.progress)
	if err == nil {
		n.say("nightly: tiles: %d days computed", days)
	}
	return true, n.known, err
}

// features builds the snapshot of the cut.
func (n *night) features(ctx context.Context) (bool, int64, error) {
	was, err := n.l.Runs(ctx, "features")
	if err != nil {
		return false, 0, err
	}
	if err := n.prepare(ctx); err != nil {
		return false, 0, err
	}
	there := slices.ContainsFunc(was, func(r lake.Run) bool { return r.Version == n.meta.Version })
	did := !there || n.again("features")
	if did {
		if err = n.audit(ctx); err == nil {
			err = n.drift(ctx, was)
		}
	} else if last, ok, e := n.before(ctx); e != nil {
		err = e
	} else if ok { // the record of this date goes on saying it
		n.report.Audit, n.report.Drift = last.Audit, last.Drift
	}
	return did, int64(len(n.table.Users)), err
}

// audit computes a part of the users again from raw events, every night another one. A difference does not stop the night: it is said, and counted in the report.
func (n *night) audit(ctx context.Context) error {
	a, err := n.e.Audit(ctx, n.snap, n.table, int(n.asOf)%lake.Buckets)
	if err != nil {
		return err
	}
	n.report.Audit = &a
	if a.Differences > 0 {
		n.a.Log.Error("features from tiles are not those of raw events: run `perennial nightly --from tiles`, and tell us", "users", a.Differences, "of", a.Users, "columns", a.Columns)
	}
	n.say("nightly: audit: %d users computed again from raw events, %d differ", a.Users, a.Differences)
	return nil
}

// driftDays is how long ago the cut is, or longer, whose features are compared with what is known of its days now: late data needs time to come.
const driftDays = 7

// drift says what late data did to the features of an earlier night, of the users that its audit looked at.
func (n *night) drift(ctx context.Context, published []lake.Run) error {
	past, ok := pastCut(published, n.asOf)
	if !ok {
		return nil
	}
	d, err := n.e.Drift(ctx, n.snap, past, int(past)%lake.Buckets)
	if err != nil {
		return err
	}
	n.report.Drift = &d
	n.say("nightly: drift: %s", driftText(&d))
	return nil
}

// pastCut picks the newest published cut that is driftDays before this one or older, else the oldest before it.
func pastCut(published []lake.Run, asOf features.Day) (past features.Day, ok bool) {
	for _, r := range published { // newest first
		if r.AsOf >= asOf {
			continue
		}
		if past, ok = r.AsOf, true; past <= asOf-driftDays {
			break
		}
	}
	return past, ok
}

// driftText is a drift in a sentence.
func driftText(d *warehouse.Drift) string {
	if d.Changed == 0 {
		return fmt.Sprintf("no late data changed the features of %d users as of %s", d.Users, d.AsOf)
	}
	text := fmt.Sprintf("late data changed the features of %d of %d users as of %s (%.1f %%)", d.Changed, d.Users, d.AsOf, 100*d.ChangedShare)
	if d.OneSided > 0 {
		text += fmt.Sprintf(", %d were not known then or are not now", d.OneSided)
	}
	for i, f := range d.Features[:min(3, len(d.Features))] {
		text += map[bool]string{true: "; most: ", false: ", "}[i == 0] + fmt.Sprintf("%s of %d", f.Feature, f.Users)
		if f.MeanAbs != nil {
			text += fmt.Sprintf(" by %.4g", *f.MeanAbs)
		}
	}
	return text
}

// scoreAll scores every user into a private directory, unless these facts were scored with these models before.
func (n *night) scoreAll(ctx context.Context) (bool, int64, error) {
	rows := int64(len(n.table.Users))
	n.report.ScoreVersion = n.scoreVersion()
	_, found, err := n.find(ctx)
	if err != nil {
		return false, rows, err
	}
	if found && !n.again("score") {
		n.ready = true
		return false, rows, nil
	}
	n.made, err = n.build(ctx, n.again("score"))
	return true, rows, err
}

// publish makes the scores visible to every process of this machine and crowns the models that made them, unless newer scores are out.
func (n *night) publish(ctx context.Context) (bool, int64, error) {
	rows := int64(len(n.table.Users))
	if !n.ready {
		if _, err := n.l.Publish(ctx, n.made); err != nil {
			return false, rows, err
		}
	}
	newest, ok, err := n.l.FindRun(ctx, "scores", 0, "")
	if err != nil {
		return false, rows, err
	}
	if ok && newest.AsOf > n.asOf {
		return !n.ready, rows, nil
	}
	for _, c := range []*chosen{n.churn, n.ltv} {
		if c == nil {
			continue
		}
		if err := n.crownMonth(ctx, c); err != nil {
			return false, rows, err
		}
	}
	return !n.ready, rows, nil
}

// crownMonth makes the month's model champion unless a person promoted one or the champion knows more.
func (n *night) crownMonth(ctx context.Context, c *chosen) error {
	kings, err := champions(ctx, n.l)
	if err != nil {
		return err
	}
	all, err := registeredModels(ctx, n.l)
	if err != nil {
		return err
	}
	now := kings[string(c.Card.Target)]
	if now.By == "promotion" || now.Version == c.Card.Version || all[now.Version].Lineage.KnownUntil > c.Lineage.KnownUntil {
		return nil
	}
	return crown(ctx, n.l, c.Card.Target, c.Card.Version, "night", "refit of the month as of "+n.asOf.String())
}

// nightLooks records the looks that running experiments are due, and returns how many. It is nil in a program without experiments.
var nightLooks func(ctx context.Context, a *App) (int, error)

// experiments records the looks of running experiments.
func (n *night) experiments(ctx context.Context) (bool, int64, error) {
	looks := 0
	if nightLooks != nil {
		var err error
		if looks, err = nightLooks(ctx, n.a); err != nil {
			return false, 0, err
		}
	}
	ended, err := n.ended(ctx, "experiments")
	return looks > 0 || !ended || n.again("experiments"), int64(looks), err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
	"perennial/models"
)

type trainCmd struct {
	Target    string   `arg:"" enum:"churn,ltv" help:"churn or ltv."`
	TrainAsOf []string `name:"train-as-of" placeholder:"D[,D…]" help:"Cuts to learn from. Default: one horizon before --test-as-of."`
	TestAsOf  string   `name:"test-as-of" placeholder:"D" help:"Later cut to be judged by. Default: the newest whose horizon is over."`
	Horizon   string   `default:"60d" placeholder:"DAYS" help:"How far to predict, such as 60d."`
	Model     string   `placeholder:"NAME" help:"One learner instead of the whole line-up."`
	Seed      uint64   `default:"1" help:"The same seed, data and version give the same bytes."`
	TimeUnit  string   `name:"time-unit" enum:"day,week" default:"week" help:"Time unit of the parametric learners."`
}

// Help shows examples.
func (trainCmd) Help() string {
	return "Fits the line-up on the train cuts, judges it and the naive rules on the test cut, registers the best.\n\nExamples:\n" +
		"  perennial train churn\n  perennial train churn --train-as-of 2011-07-01 --test-as-of 2011-10-01 --horizon 60d\n  perennial train ltv --model linear-two-stage --json\n\nLearners:\n" +
		"  churn  " + strings.Join(models.Learners(models.Churn), " ") + "\n  ltv    " + strings.Join(models.Learners(models.LTV), " ")
}

// Run fits, judges, registers and prints the card.
func (c trainCmd) Run(ctx context.Context, a *App) error {
	target := models.Target(c.Target)
	horizon, err := days("horizon", c.Horizon)
	if err != nil {
		return err
	}
	if c.Model != "" && !slices.Contains(models.Learners(target), c.Model) {
		return usageError{&features.InvalidError{Field: "model", Reason: fmt.Sprintf("%q is not a learner of %s; there are %s", c.Model, target, strings.Join(models.Learners(target), ", "))}}
	}
	b, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer b.close()
	train, test, err := c.cuts(ctx, b, horizon)
	if err != nil {
		return err
	}
	return c.run(ctx, b, target, train, test, horizon)
}

func (c trainCmd) run(ctx context.Context, b *bench, target models.Target, train []features.Day, test features.Day, horizon int) error {
	start := time.Now()
	cuts, of, err := b.cuts(ctx, target, append(slices.Clone(train), test), horizon, 0)
	if err != nil {
		return err
	}
	plan := models.TrainPlan{Target: target, HorizonDays: horizon, Train: cuts[:len(train)], Test: cuts[len(train)], Learner: c.Model, Seed: c.Seed, TimeUnit: c.TimeUnit, Of: of}
	b.say("train: fitting %s on %d cuts, judging as of %s", target, len(train), test)
	t, err := models.Train(ctx, plan)
	if err != nil {
		return fmt.Errorf("train %s: %w", target, err)
	}
	from, err := b.lineage(ctx, target, train, horizon, 0)
	if err != nil {
		return err
	}
	from.Seed, from.By = c.Seed, "train"
	if err := saveModel(ctx, b.a, b.l, t, from); err != nil {
		return err
	}
	reason, err := b.contest(ctx, t, plan.Test, c.Seed)
	if err != nil {
		return err
	}
	kings, err := champions(ctx, b.l)
	if err != nil {
		return err
	}
	t.Card.Role = roleOf(t.Card, kings)
	b.say("train: %s is %s: %s (%.1f s)", t.Card.Version, t.Card.Role, reason, time.Since(start).Seconds())
	if b.a.JSON {
		return json.NewEncoder(b.a.Out).Encode(t.Card)
	}
	return printCard(b.a, &t.Card)
}

// contest decides whether a newly trained model becomes champion: at once when there is none, else when it beats the champion out of time
// on the same users, where the champion has not learned from them either. It returns the reason in words.
func (b *bench) contest(ctx context.Context, t *models.Trained, test *models.Labelled, seed uint64) (string, error) {
	all, err := registeredModels(ctx, b.l)
	if err != nil {
		return "", err
	}
	kings, err := champions(ctx, b.l)
	if err != nil {
		return "", err
	}
	now := kings[string(t.Card.Target)]
	king, ok := all[now.Version]
	switch {
	case !ok:
		return "it is the first model of its kind", crown(ctx, b.l, t.Card.Target, t.Card.Version, "train", "first model")
	case now.Version == t.Card.Version:
		return "it is the champion already", nil
	case now.By == "promotion":
		return "a person promoted " + now.Version + "; promote this one by hand to change that", nil
	case king.Lineage.KnownUntil > test.AsOf:
		return "the champion " + now.Version + " has learned from days after " + test.AsOf + ", so the two cannot be compared there", nil
	}
	m, err := loadModel(b.a, king)
	if err != nil {
		return "", err
	}
	v, err := models.Contest(t.Card.Target, t.Model, m, test, seed)
	if err != nil {
		return "not compared with " + now.Version + ": " + err.Error(), nil
	}
	switch {
	case v.Promote && b.a.Config.Promotion == "manual":
		v.Reason += "; promotion is by hand here: `perennial model promote " + string(t.Card.Target) + " " + t.Card.Version + "`"
		err = setAlias(ctx, b.l, t.Card.Target, "challenger", t.Card.Version, "train", v.Reason)
	case v.Promote:
		err = crown(ctx, b.l, t.Card.Target, t.Card.Version, "train", v.Reason)
	default:
		err = setAlias(ctx, b.l, t.Card.Target, "challenger", t.Card.Version, "train", v.Reason)
	}
	return v.Reason + ", champion before: " + now.Version, err
}

// cuts reads the flags or finds the newest mature cuts.
func (c trainCmd) cuts(ctx context.Context, b *bench, horizon int) (train []features.Day, test features.Day, err error) {
	if c.TestAsOf != "" {
		if test, err = b.a.cutDay("test-as-of", c.TestAsOf); err != nil {
			return nil, 0, err
		}
	} else {
		last, err := b.e.DataDay(ctx, b.snap, b.a.Now())
		if err != nil {
			return nil, 0, err
		}
		if last == 0 {
			return nil, 0, errors.New("train: the lake holds no complete day; load history with `perennial import events` first")
		}
		test = last + 1 - features.Day(horizon)
	}
	for _, text := range c.TrainAsOf {
		d, err := b.a.cutDay("train-as-of", strings.TrimSpace(text))
		if err != nil {
			return nil, 0, err
		}
		train = append(train, d)
	}
	if len(train) == 0 {
		train = []features.Day{test - features.Day(horizon)}
	}
	slices.Sort(train)
	train = slices.Compact(train)
	if end := train[len(train)-1] + features.Day(horizon); end > test {
		return nil, 0, usageError{&features.InvalidError{Field: "train-as-of", Reason: fmt.Sprintf("the labels of %s end on %s, after the test cut %s: windows must not overlap", train[len(train)-1], end, test)}}
	}
	return train, test, nil
}

// days reads "60d" or "60".
func days(field, text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
	if err != nil || n < 1 || n > 730 {
		return 0, usageError{&features.InvalidError{Field: field, Reason: fmt.Sprintf("%q is not a number of days from 1d to 730d", text)}}
	}
	return n, nil
}

// bench is what training and scoring work on: the lake, an engine and one snapshot, after a seal.
type bench struct {
	a     *App
	l     *lake.Lake
	e     *warehouse.Engine
	snap  *lake.Snapshot
	quiet bool
}

func openBench(ctx context.Context, a *App) (*bench, error) {
	b := &bench{a: a}
	var err error
	if b.l, err = a.openLake(ctx); err != nil {
		return nil, err
	}
	if err = b.l.Seal(ctx); err == nil {
		if b.e, err = a.openBatch(ctx); err == nil {
			b.snap, err = b.l.Snapshot(ctx)
		}
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	if b.snap != nil {
		b.snap.Close()
	}
	if b.e != nil {
		b.e.Close()
	}
	if b.l != nil {
		b.l.Close()
	}
}

func (b *bench) say(format string, args ...any) {
	if !b.quiet {
		fmt.Fprintf(b.a.Err, format+"\n", args...)
	}
}

// cuts builds the labelled frames of some days. notAfter bounds what labels may know; 0 means all. of says what an LTV label counts:
// margin when at least 95 % of the orders of every window carried one.
func (b *bench) cuts(ctx context.Context, target models.Target, at []features.Day, horizon int, notAfter features.Day) (cuts []*models.Labelled, of string, err error) {
	var labels []*warehouse.Labels
	margins := true
	for _, d := range at {
		b.say("features and labels as of %s", d)
		_, table, err := buildFeatures(ctx, b.l, b.e, b.snap, d, b.a.progress)
		if err != nil {
			return nil, "", err
		}
		refused, err := b.l.Refused(ctx, features.ConsentAnalytics, d)
		if err != nil {
			return nil, "", err
		}
		table = without(table, refused)
		found, err := b.e.Labels(ctx, b.snap, table.Users, d, horizon, notAfter)
		if err != nil {
			return nil, "", err
		}
		margins = margins && found.MarginShare >= 0.95
		labels = append(labels, found)
		cuts = append(cuts, &models.Labelled{Frame: *frameOf(table)})
	}
	if target == models.LTV {
		of = "revenue"
		if margins {
			of = "margin"
		}
	}
	for i, c := range cuts {
		c.Y = outcome(target, of, labels[i])
	}
	return cuts, of, b.guard(ctx, cuts, at, horizon, notAfter)
}

// guard keeps treatment out of the labels (models.Guard). Treated is who met a variant other than the control of an experiment; an experiment that
// the control store does not know has no control. Where one cut has to keep treatment as a feature, all have it.
func (b *bench) guard(ctx context.Context, cuts []*models.Labelled, at []features.Day, horizon int, notAfter features.Day) error {
	controls, err := b.a.controls(ctx)
	if err != nil {
		return err
	}
	feature := false
	for i, c := range cuts {
		met, err := b.e.Contacts(ctx, b.snap, c.Users, at[i], horizon, notAfter)
		if err != nil {
			return err
		}
		contacts := make([]models.Contact, len(c.Users))
		for k := range contacts {
			contacts[k].PUntreated = 1
		}
		for _, m := range met {
			k := &contacts[m.User]
			control, known := controls[m.Experiment]
			switch {
			case known && m.Variant == control.key && m.PAssignPPM > 0:
				k.PUntreated *= float64(m.PAssignPPM) / 1e6
			case known && m.Variant == control.key:
				k.PUntreated *= control.share
			default:
				k.Treated = true
				k.PUntreated *= control.share // 0 where there is no control
			}
		}
		treated, weighted := c.Guard(contacts)
		feature = feature || !weighted
		if treated > 0 {
			b.say("labels as of %s: %d of %d users met a promotion within the window", at[i], treated, len(contacts))
		}
	}
	for _, c := range cuts {
		if feature && c.Names[len(c.Names)-1] != models.Contacted {
			c.Names, c.Values = append(slices.Clone(c.Names), models.Contacted), append(slices.Clone(c.Values), make([]float64, len(c.Users)))
		}
	}
	return nil
}

// controlArm is the control of an experiment and its share of the enrolled.
type controlArm struct {
	key   string
	share float64
}

// controls returns the control arm of every experiment; none before the control store is made.
func (a *App) controls(ctx context.Context) (map[string]controlArm, error) {
	if _, err := os.Stat(filepath.Join(a.Data, "control.db")); err != nil && a.Config.Database == "" {
		return nil, nil
	}
	out := map[string]controlArm{}
	err := a.withStore(ctx, func(s *sqlstore.Store) error {
		source, err := s.Source(ctx)
		if err != nil {
			return err
		}
		for _, e := range source.Experiments {
			var all, own float64
			for _, v := range e.Variants {
				all += v.Weight
				if v.Key == e.Control {
					own = v.Weight
				}
			}
			if all > 0 {
				out[e.Key] = controlArm{e.Control, own / all}
			}
		}
		return nil
	})
	return out, err
}

// without returns the table without some users: whoever refused analytics before a cut teaches no model of it.
func without(t *features.Table, refused map[string]bool) *features.Table {
	var kept []int
	for i, u := range t.Users {
		if !refused[u] {
			kept = append(kept, i)
		}
	}
	if len(kept) == len(t.Users) {
		return t
	}
	left := &features.Table{AsOf: t.AsOf, Users: pick(t.Users, kept)}
	for _, c := range t.Columns {
		c.Numbers, c.Texts = pick(c.Numbers, kept), pick(c.Texts, kept)
		left.Columns = append(left.Columns, c)
	}
	return left
}

// pick returns the values at the given places; nil of nil.
func pick[T any](values []T, places []int) []T {
	if values == nil {
		return nil
	}
	out := make([]T, len(places))
	for i, p := range places {
		out[i] = values[p]
	}
	return out
}

// outcome turns the facts of a horizon into the label of CONTRACT §4.
func outcome(target models.Target, of string, l *warehouse.Labels) []float64 {
	y := make([]float64, len(l.Orders))
	for i := range y {
		switch {
		case target == models.Churn && l.Orders[i] == 0:
			y[i] = 1
		case target == models.Churn:
		case of == "margin":
			y[i] = max(0, l.Margin[i].Float64())
		default:
			y[i] = max(0, (l.Revenue[i] - l.Refunds[i]).Float64())
		}
	}
	return y
}

// frameOf hands a feature table to the models; it shares the columns.
func frameOf(t *features.Table) *models.Frame {
	f := &models.Frame{AsOf: t.AsOf.String(), Users: t.Users}
	for _, c := range t.Columns {
		switch {
		case c.Name == "stage" && c.Texts != nil:
			f.Stage = c.Texts
		case c.Texts == nil:
			f.Names, f.Values = append(f.Names, c.Name), append(f.Values, c.Numbers)
		}
	}
	return f
}

// lineage says what a model fitted on these cuts has learned from.
func (b *bench) lineage(ctx context.Context, target models.Target, train []features.Day, horizon int, notAfter features.Day) (lineage, error) {
	end := train[len(train)-1] + features.Day(horizon)
	if target == models.LTV {
		end += b.maturity()
	}
	if notAfter != 0 {
		end = min(end, notAfter)
	}
	from := lineage{KnownUntil: end.String(), Catalog: b.e.CatalogHash(), Digests: map[string]string{}}
	for _, d := range append(slices.Clone(train), end) {
		digest, _, err := b.e.Digest(ctx, b.snap, d)
		if err != nil {
			return from, err
		}
		from.Digests[d.String()] = digest
	}
	return from, nil
}

// maturity is how long refunds are waited for after a window; the warehouse reads 0 as 15 days, too.
func (b *bench) maturity() features.Day {
	if d := b.a.Config.RefundMaturityDays; d > 0 {
		return features.Day(d)
	}
	return 15
}

// printCard shows the candidates beside the naive rules.
func printCard(a *App, c *models.Card) error {
	columns := []string{"auc", "auc_recency_90", "log_loss", "brier", "ece"}
	if c.Target == models.LTV {
		columns = []string{"ngini", "spearman", "top_decile_share", "mae", "bias"}
	}
	fmt.Fprintf(a.Out, "%s  %s, %s, %d days\n", c.Version, c.Learner, c.Role, c.HorizonDays)
	fmt.Fprintf(a.Out, "trained as of %s (%d rows), judged as of %s (%d users)\n\n", strings.Join(c.TrainAsOf, ", "), c.RowsTrain, c.TestAsOf, c.RowsTest)
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\t%s\t\n", strings.Join(columns, "\t"))
	row := func(name string, m map[string]float64) {
		fmt.Fprintf(w, "%s\t", name)
		for _, k := range columns {
			if v, ok := m[k]; ok {
				fmt.Fprintf(w, "%.4f\t", v)
			} else {
				fmt.Fprint(w, "–\t")
			}
		}
		fmt.Fprintln(w)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Candidates)) {
		mark := "  "
		if name == c.Learner {
			mark = "* "
		}
		row(mark+name, c.Candidates[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Baselines)) {
		row("rule: "+name, c.Baselines[name])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range c.Notes {
		fmt.Fprintf(a.Out, "\n%s\n", n)
	}
	return nil
}

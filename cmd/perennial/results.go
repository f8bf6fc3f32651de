package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/experiments/stats"
	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// results answers GET /v1/experiments/{key}/results and records looks: it maps experiments and metrics onto the warehouse's plan, and exact
// sums onto summaries. One measurement runs at a time; answers are kept by snapshot, revision and question.
type results struct {
	a      *App
	store  *sqlstore.Store
	lake   *lake.Lake
	engine func(context.Context) (*warehouse.Engine, error)

	apart    bool     // large measurements run in a process of their own
	progress progress // of large measurements; nil in a server, whose log is no place for it

	mu   sync.Mutex
	kept map[string]*experiments.Results
}

// largeRows is from how many rows of a snapshot on a server measures in a child: DuckDB beside requests makes the slowest of them several times slower.
const largeRows = 1_000_000

// compute answers a question that is not kept.
func (r *results) compute(ctx context.Context, snap *lake.Snapshot, e *experiments.Experiment, looks []experiments.Look, asOf time.Time, q api.ResultsQuery) (*experiments.Results, error) {
	if !r.apart || rowsOf(snap) < largeRows {
		doc, _, err := r.judge(ctx, snap, e, looks, asOf, q.Segment, false)
		return doc, err
	}
	return r.computeApart(ctx, e.Key, q)
}

func rowsOf(snap *lake.Snapshot) (rows int64) {
	for _, g := range snap.Segments {
		rows += g.Rows
	}
	return rows
}

// computeApart is compute in a process of its own.
func (r *results) computeApart(ctx context.Context, key string, q api.ResultsQuery) (*experiments.Results, error) {
	args := []string{"experiment", "results", key}
	if q.Segment != "" {
		args = append(args, "--segment", q.Segment)
	}
	if q.Until != "" {
		args = append(args, "--until", q.Until)
	}
	doc := &experiments.Results{}
	if err := r.a.child(ctx, doc, args...); err != nil {
		return nil, err
	}
	return doc, nil
}

// newResults returns the provider that the server and the night use.
func newResults(a *App, store *sqlstore.Store, l *lake.Lake, engine func(context.Context) (*warehouse.Engine, error)) *results {
	return &results{a: a, store: store, lake: l, engine: engine, kept: map[string]*experiments.Results{}}
}

// Results returns the document of an experiment as of now, or of q.Until: a date, whose midnight is the cut.
func (r *results) Results(ctx context.Context, key string, q api.ResultsQuery) (any, error) {
	return r.document(ctx, key, q)
}

func (r *results) document(ctx context.Context, key string, q api.ResultsQuery) (*experiments.Results, error) {
	asOf, err := r.asOf(q.Until)
	if err != nil {
		return nil, err
	}
	e, err := r.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	looks, err := r.looks(ctx, key)
	if err != nil {
		return nil, err
	}
	for len(looks) > 0 && q.Until != "" && looks[len(looks)-1].At.After(asOf) {
		looks = looks[:len(looks)-1]
	}
	if err := r.lake.Seal(ctx); err != nil {
		r.a.Log.Warn("results use the last sealed state", "error", err)
	}
	snap, err := r.lake.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	id := fmt.Sprint(key, "|", e.Revision, "|", snap.ID, "|", len(looks), "|", q.Segment, "|", q.Until, "|", asOf.Truncate(10*time.Second).Unix())
	doc := r.kept[id]
	if doc == nil {
		if doc, err = r.compute(ctx, snap, e, looks, asOf, q); err != nil {
			return nil, err
		}
		if len(r.kept) >= 64 {
			clear(r.kept)
		}
		r.kept[id] = doc
	}
	return ofMetric(doc, q.Metric), nil
}

// asOf is up to when facts count: now, or the start of a date before it.
func (r *results) asOf(until string) (time.Time, error) {
	now := r.a.Known()
	if until == "" {
		return now, nil
	}
	day, err := features.ParseDay(until)
	if err != nil {
		return now, experiments.Invalid("until", "%v", err)
	}
	if cut := r.a.Config.Shop().Midnight(day); cut.Before(now) {
		return cut, nil
	}
	return now, nil
}

// ofMetric narrows a document to one metric; "" keeps all.
func ofMetric(doc *experiments.Results, metric string) *experiments.Results {
	if metric == "" {
		return doc
	}
	out := *doc
	out.Results = []experiments.Result{}
	for _, x := range doc.Results {
		if x.Metric == metric {
			out.Results = append(out.Results, x)
		}
	}
	return &out
}

// Look records the next look of a group-sequential experiment, as of now, and returns its document.
func (r *results) Look(ctx context.Context, key string) (any, error) {
	return r.record(ctx, key, r.a.Known())
}

func (r *results) record(ctx context.Context, key string, asOf time.Time) (*experiments.Results, error) {
	e, err := r.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if e.Plan.Inference != "" && e.Plan.Inference != experiments.GST {
		return nil, experiments.Invalid("plan.inference", "is %s; only gst records looks", e.Plan.Inference)
	}
	if err := r.lake.Seal(ctx); err != nil {
		return nil, err
	}
	snap, err := r.lake.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	looks, err := r.looks(ctx, key)
	if err != nil {
		return nil, err
	}
	doc, look, err := r.judge(ctx, snap, e, looks, asOf, "", true)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(look)
	if err != nil {
		return nil, err
	}
	return doc, r.store.PutLook(ctx, sqlstore.Look{Experiment: key, Number: look.Number, At: look.At, Matured: look.Matured, Doc: raw})
}

// night records the look of every running group-sequential experiment that has something new, moves the ramps, and returns how much was done.
func (r *results) night(ctx context.Context) (int, error) {
	list, err := r.store.List(ctx)
	if err != nil {
		return 0, err
	}
	done := 0
	for i := range list {
		e := &list[i]
		if e.DueAgain(r.a.Known()) && e.Status != experiments.Archived {
			r.a.Log.Warn("a decision is due to be validated again", "experiment", e.Key, "decided", e.Decision.At.Format(time.DateOnly))
		}
		if e.Status != experiments.Running {
			continue
		}
		var doc *experiments.Results
		if e.Plan.Inference == "" || e.Plan.Inference == experiments.GST {
			doc, err = r.record(ctx, e.Key, r.a.Known())
			var nothing *experiments.InvalidError
			switch {
			case err == nil:
				done++
			case errors.As(err, &nothing): // nothing new, closed, or no plan yet
				r.a.Log.Info("no look recorded", "experiment", e.Key, "reason", err.Error())
			default:
				return done, fmt.Errorf("look of %s: %w", e.Key, err)
			}
		}
		moved, err := r.ramp(ctx, e, doc)
		if err != nil {
			return done, fmt.Errorf("ramp of %s: %w", e.Key, err)
		}
		done += moved
	}
	return done, nil
}

// nightUser stands in the audit for what the night does.
const nightUser = "night"

// ramp takes the next step of an experiment's ramp, holds it or rolls it back, as tonight's results say; doc is nil where no look was recorded.
func (r *results) ramp(ctx context.Context, e *experiments.Experiment, doc *experiments.Results) (int, error) {
	if e.Ramp == nil {
		return 0, nil
	}
	if doc == nil {
		var err error
		if doc, err = r.document(ctx, e.Key, api.ResultsQuery{}); err != nil {
			return 0, err
		}
	}
	move := e.NextRamp(doc, r.a.Now())
	if move.Action == "" {
		return 0, nil
	}
	raw, err := experiments.Marshal(move)
	if err != nil {
		return 0, err
	}
	if _, err := r.store.Change(ctx, e.Key, move.Action, raw, 0, nightUser); err != nil {
		return 0, err
	}
	r.a.Log.Info("ramp", "experiment", e.Key, "move", move.Action, "coverage", move.Coverage)
	return 1, nil
}

func (r *results) looks(ctx context.Context, key string) ([]experiments.Look, error) {
	stored, err := r.store.Looks(ctx, key)
	if err != nil {
		return nil, err
	}
	looks := make([]experiments.Look, len(stored))
	for i, s := range stored {
		if err := json.Unmarshal(s.Doc, &looks[i]); err != nil {
			return nil, fmt.Errorf("look %d of %s: %w", s.Number, key, err)
		}
	}
	return looks, nil
}

// judge measures and judges.
func (r *results) judge(ctx context.Context, snap *lake.Snapshot, e *experiments.Experiment, looks []experiments.Look, asOf time.Time, segment string, record bool) (*experiments.Results, *experiments.Look, error) {
	defs, err := r.store.MetricDefs(ctx)
	if err != nil {
		return nil, nil, err
	}
	specs, err := experiments.SpecsOf(e, defs)
	if err != nil {
		return nil, nil, err
	}
	plan, shares, err := r.plan(ctx, e, specs, asOf, segment)
	if err != nil {
		return nil, nil, err
	}
	engine, err := r.engine(ctx)
	if err != nil {
		return nil, nil, err
	}
	end := func() {}
	if r.progress != nil && rowsOf(snap) >= largeRows {
		plan.Progress, end = r.progress("rows")
	}
	measured, err := engine.Measure(ctx, snap, plan)
	end()
	if err != nil {
		return nil, nil, asInvalid(err)
	}
	m, err := measurement(measured, specs)
	if err != nil {
		return nil, nil, err
	}
	m.Source.AsOf, m.Source.Snapshot = asOf, snap.ID
	doc, look, err := experiments.Judge(experiments.Question{Experiment: e, Specs: specs, Shares: shares, Looks: looks, Record: record, Now: asOf,
		MarginRate: r.a.Config.MarginRate, Currency: r.a.Config.Currency, SegmentBy: segment}, m)
	if err != nil {
		return nil, nil, err
	}
	doc.Markers, err = r.markers(ctx, e.Key, asOf)
	return doc, look, err
}

// markers are the days on which a running experiment enrolled another share of units, or by other weights.
func (r *results) markers(ctx context.Context, key string, until time.Time) ([]experiments.Marker, error) {
	revisions, err := r.store.Revisions(ctx, key)
	if err != nil {
		return nil, err
	}
	times, err := r.store.RevisionTimes(ctx, key)
	if err != nil {
		return nil, err
	}
	coverage := func(e *experiments.Experiment) float64 {
		if e.Coverage == nil {
			return 1
		}
		return *e.Coverage
	}
	var out []experiments.Marker
	for i := 1; i < len(revisions) && i < len(times); i++ {
		was, is := &revisions[i-1], &revisions[i]
		if was.Status != experiments.Running || times[i].After(until) {
			continue
		}
		mark := experiments.Marker{Day: r.a.Config.Shop().DayOf(times[i]).String()}
		switch from, to := coverage(was), coverage(is); {
		case vectorText(was, sharesOf(was)) != vectorText(is, sharesOf(is)):
			mark.Code, mark.Text = "weights", experiments.Text{ZH: "分流比例改为 " + vectorText(is, sharesOf(is)), EN: "weights " + vectorText(is, sharesOf(is))}
		case from != to:
			share := strconv.FormatFloat(100*to, 'g', 4, 64)
			mark.Code, mark.Text = "coverage", experiments.Text{ZH: "放量到 " + share + "%", EN: "coverage " + share + "%"}
		default:
			continue
		}
		out = append(out, mark)
	}
	return out, nil
}

// asInvalid turns a fault that the warehouse found in a plan into one that the doors understand.
func asInvalid(err error) error {
	var fault *features.InvalidError
	if errors.As(err, &fault) {
		return experiments.Invalid(fault.Field, "%s", fault.Reason)
	}
	return err
}

// plan maps an experiment onto the warehouse's words.
func (r *results) plan(ctx context.Context, e *experiments.Experiment, specs []experiments.MetricSpec, asOf time.Time, segment string) (warehouse.MetricPlan, map[string]map[string]float64, error) {
	p := warehouse.MetricPlan{Experiment: e.Key, Start: startOf(e), AsOf: asOf, HorizonDays: e.Plan.HorizonDays, RefundMaturityDays: r.a.Config.RefundMaturityDays,
		SegmentBy: segment, ByDay: true, Covariates: []string{"pre_revenue", "pre_orders"}}
	if p.HorizonDays == 0 {
		p.HorizonDays = 14
	}
	for _, v := range e.Variants {
		p.Variants = append(p.Variants, v.Key)
	}
	for unit := range e.Forced {
		p.Forced = append(p.Forced, unit)
	}
	for _, s := range specs {
		p.Metrics = append(p.Metrics, warehouse.Metric{Key: s.Key, Kind: s.Kind, Event: s.Event, Field: s.Field, Denominator: s.Denominator, WindowDays: s.WindowDays,
			CapMicros: s.CapMicros, Day: s.Day, MinEvents: s.MinEvents, Quantile: s.Quantile, Steps: s.Steps, Filter: s.Filter,
			Ranks: func(n int64) []int64 { return stats.QuantileRanks(n, s.Quantile) }})
	}
	if specs[0].Money && (specs[0].Kind == "profit" || specs[0].Kind == experiments.KindMean) {
		p.Cap = specs[0].Key
	}
	if err := r.neighbours(ctx, e, &p); err != nil {
		return p, nil, err
	}
	frozen, before, err := r.frozen(ctx, p.Start)
	if err != nil {
		return p, nil, err
	}
	if p.Frozen = frozen; before { // scores known before the first exposure: a valid covariate (CUPAC)
		p.Covariates = append(p.Covariates, "churn_risk", "ltv")
	}
	var shares map[string]map[string]float64
	p.Strata, shares, err = r.strata(ctx, e)
	return p, shares, err
}

// neighbours fills what a plan knows of things beside the experiment: its offers' coupons and unit costs, the cuts of the scores that it was assigned on, and
// the other experiments that may share its units.
func (r *results) neighbours(ctx context.Context, e *experiments.Experiment, p *warehouse.MetricPlan) error {
	offers, err := r.store.Offers(ctx)
	if err != nil {
		return err
	}
	p.Coupons, p.UnitCosts = map[string]string{}, map[string]int64{}
	for _, v := range e.Variants {
		for _, o := range offers {
			if o.Key != v.Offer {
				continue
			}
			p.Coupons[v.Key] = o.Key
			if o.UnitCost != nil && (o.Kind == "gift" || o.Kind == "service") { // the cost of the others is a discount, which the margin holds already
				p.UnitCosts[o.Key] = int64(math.Round(*o.UnitCost * features.MicrosPerUnit))
			}
		}
	}
	if e.UsesScores() {
		runs, err := r.lake.Runs(ctx, "scores")
		if err != nil {
			return err
		}
		p.ScoreDays = make(map[string]features.Day, len(runs))
		for _, run := range runs {
			p.ScoreDays[run.Version] = run.AsOf
		}
	}
	all, err := r.store.List(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Key != e.Key && other.StartedAt != nil && (e.Layer == nil || other.Layer == nil || other.Layer.Key != e.Layer.Key) && len(p.Others) < maxOthers {
			p.Others = append(p.Others, other.Key)
		}
	}
	return nil
}

// maxOthers is how many other experiments are asked for an interaction: the newest.
const maxOthers = 8

// startOf is where analysis begins: start_at, else when it was started, else when it was made.
func startOf(e *experiments.Experiment) time.Time {
	switch {
	case e.StartAt != nil:
		return *e.StartAt
	case e.StartedAt != nil:
		return *e.StartedAt
	}
	return e.CreatedAt
}

// frozen finds the scores that were newest when the experiment began, else the oldest there are; before tells which.
func (r *results) frozen(ctx context.Context, start time.Time) (path string, before bool, err error) {
	runs, err := r.lake.Runs(ctx, "scores")
	if err != nil || len(runs) == 0 {
		return "", false, err
	}
	day := r.a.Config.Shop().DayOf(start)
	for _, run := range runs { // newest first
		if path = run.Dir + "/scores.parquet"; run.AsOf <= day {
			return path, true, nil
		}
	}
	return path, false, nil
}

// strata names the vector of assignment probabilities of every allocation revision, from the stored revisions; one vector needs no strata.
func (r *results) strata(ctx context.Context, e *experiments.Experiment) (map[int64]string, map[string]map[string]float64, error) {
	revisions, err := r.store.Revisions(ctx, e.Key)
	if err != nil {
		return nil, nil, err
	}
	strata := map[int64]string{}
	shares := map[string]map[string]float64{}
	for i := range revisions {
		x := &revisions[i]
		s := sharesOf(x)
		name := vectorText(x, s)
		strata[x.AllocationRevision], shares[name] = name, s
	}
	only := len(shares) == 1
	shares[""] = sharesOf(e)
	if only {
		strata = nil
	}
	return strata, shares, nil
}

// sharesOf is the probability of each variant among the enrolled.
func sharesOf(e *experiments.Experiment) map[string]float64 {
	width := map[string]float64{}
	for i, share := range e.Shares() {
		width[e.Variants[i].Key] = share
	}
	return width
}

// vectorText names a vector; a coverage ramp moves bounds by a bucket, which is no other vector.
func vectorText(e *experiments.Experiment, shares map[string]float64) string {
	parts := make([]string, len(e.Variants))
	for i, v := range e.Variants {
		parts[i] = v.Key + "=" + strconv.FormatFloat(math.Round(shares[v.Key]*1000)/1000, 'g', -1, 64)
	}
	return strings.Join(parts, " ")
}

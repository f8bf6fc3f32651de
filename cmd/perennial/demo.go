package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// demoFiles are the shipped data (source and licence: demo/SOURCE.md), the offers and experiments of the demo, and the planted behaviour.
//
//go:embed demo/online_retail.csv.gz demo/offers.json demo/experiments.json demo/story.json
var demoFiles embed.FS

// Dates of the demo. The data ends on 2011-12-09; the shop's clock stands on the day after.
const (
	demoTrainCut = "2011-07-01"
	demoTestCut  = "2011-10-01"
	demoNight    = "2011-11-11" // the night before the promotions
	demoTomorrow = "2011-12-10"
	demoClock    = "2011-12-10T12:00:00Z"
)

// demoConfig is DATA/perennial.yaml of a demo.
const demoConfig = `# Written by perennial demo. Every command with this data directory reads it.
timezone: UTC
currency: GBP
margin_rate: 0.3
refund_maturity_days: 5
# A fixed "now": the day after the last real order, so that nobody is lapsed by thirteen years.
clock: ` + demoClock + `
`

type demoCmd struct {
	Addr    string `help:"Address to serve on." default:":8080" placeholder:"HOST:PORT"`
	NoServe bool   `help:"Do everything, then stop the server and leave."`
}

// Help shows examples.
func (demoCmd) Help() string {
	return `Loads the shipped Online Retail data into --data, trains, scores, runs three experiments with simulated customer behaviour through the real
HTTP API, and serves. It can be run again, and goes on where an interrupted run stopped.

Examples:
  perennial demo
  perennial demo --addr :9000 --data data/demo`
}

// demoState is DATA/demo.json: it marks the directory as a demo's and says what need not be done again.
type demoState struct {
	Demo     bool   `json:"demo"`
	Trained  string `json:"trained,omitempty"` // what training found, on real orders only: the replay's would enter the test window
	Replayed bool   `json:"replayed"`
}

// demo is one run of the command.
type demo struct {
	app   *App
	dir   string
	steps *steps
	log   *os.File // what the commands print on stderr
	state demoState
}

// Run loads, trains, scores, replays and serves.
func (c demoCmd) Run(ctx context.Context, a *App) error {
	addr, err := freeAddr(c.Addr, c.NoServe)
	if err != nil {
		return err
	}
	d, err := newDemo(a)
	if err != nil {
		return err
	}
	defer d.log.Close()
	defer d.steps.close()
	err = d.story(ctx, addr, c.NoServe)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; nothing is half-written: run `perennial demo` again and it goes on")
	}
	return err
}

// newDemo prepares the data directory. It refuses one that holds something else than a demo.
func newDemo(a *App) (*demo, error) {
	d := &demo{app: a, dir: a.Data}
	if err := os.MkdirAll(d.path("demo"), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	raw, err := os.ReadFile(d.path("demo.json"))
	if err == nil {
		err = json.Unmarshal(raw, &d.state)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", d.path("demo.json"), err)
	}
	if !d.state.Demo {
		for _, name := range []string{"lake.db", "control.db", "perennial.yaml"} {
			if _, err := os.Stat(d.path(name)); err == nil {
				return nil, usagef("data: %s holds another shop's data; name another directory: perennial demo --data data/demo", d.dir)
			}
		}
	}
	d.state.Demo = true
	if err := d.save(); err != nil {
		return nil, err
	}
	if err := writeFile(d.path("perennial.yaml"), []byte(demoConfig)); err != nil {
		return nil, err
	}
	if d.log, err = os.OpenFile(d.path("demo", "log.txt"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	d.steps = newSteps(a.Err, 9)
	return d, nil
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// save writes DATA/demo.json.
func (d *demo) save() error {
	raw, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	return writeFile(d.path("demo.json"), append(raw, '\n'))
}

// command runs a command of this program as a shell would and decodes its JSON document into out.
func (d *demo) command(ctx context.Context, out any, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var stdout, stderr bytes.Buffer
	line := "perennial " + strings.Join(args, " ")
	fmt.Fprintf(d.log, "$ %s\n", line)
	code := run(ctx, append(args, "--data", d.dir, "--config", d.path("perennial.yaml"), "--json"), &stdout, io.MultiWriter(d.log, &stderr))
	if code != 0 {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return fmt.Errorf("`%s` ended with %d: %s", line, code, lines[len(lines)-1])
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		return fmt.Errorf("`%s`: %w", line, err)
	}
	return nil
}

// story is the closed loop, from the shop's file to tomorrow's scores.
func (d *demo) story(ctx context.Context, addr string, leave bool) error {
	for _, step := range []func(context.Context) error{d.load, d.features, d.train, d.night} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	srv, err := d.serve(ctx, addr)
	if err != nil {
		return err
	}
	defer srv.stop()
	for _, step := range []func(context.Context, *demoServer) error{d.experiments, d.replay, d.tomorrow, d.results} {
		if err := step(ctx, srv); err != nil {
			return err
		}
	}
	if err := d.links(ctx, srv.base, leave); err != nil {
		return err
	}
	if leave {
		return srv.stop()
	}
	return srv.wait()
}

// load imports the shipped file.
func (d *demo) load(ctx context.Context) error {
	d.steps.begin("import 541,909 real invoice lines")
	file := d.path("demo", "online_retail.csv.gz")
	raw, err := demoFiles.ReadFile("demo/online_retail.csv.gz")
	if err != nil {
		return err
	}
	if err := writeFile(file, raw); err != nil {
		return err
	}
	var got struct {
		Events, Duplicate, Rejected int
		Reasons                     map[string]int
	}
	if err := d.command(ctx, &got, "import", "events", file, "--preset", "online-retail", "--rejects", d.path("demo", "rejects.ndjson")); err != nil {
		return err
	}
	d.steps.done("%d orders and refunds are new, %d were there; %d lines kept aside: %s", got.Events, got.Duplicate, got.Rejected, counts(got.Reasons))
	return nil
}

// features builds the two cuts that training and its judgement need.
func (d *demo) features(ctx context.Context) error {
	d.steps.begin("features as of " + demoTrainCut + " and " + demoTestCut)
	for _, cut := range []string{demoTrainCut, demoTestCut} {
		if err := d.command(ctx, nil, "features", "--as-of", cut, "--out", d.path("demo", "features-"+cut+".parquet")); err != nil {
			return err
		}
	}
	d.steps.done("published, and written to %s", d.path("demo", "features-*.parquet"))
	return nil
}

// demoCard is what the demo prints of a model card.
type demoCard struct {
	Learner   string
	Metrics   map[string]*float64
	Baselines map[string]map[string]float64
}

func (c demoCard) metric(name string) string {
	if v := c.Metrics[name]; v != nil {
		return fmt.Sprintf("%.3f", *v)
	}
	return "not computed"
}

// train fits churn and LTV on one cut and judges them on a later one.
func (d *demo) train(ctx context.Context) error {
	d.steps.begin("train churn and LTV on " + demoTrainCut + ", judge on " + demoTestCut)
	if d.state.Trained != "" {
		d.steps.done("done before: %s", d.state.Trained)
		return nil
	}
	cards := map[string]*demoCard{"churn": {}, "ltv": {}}
	for _, target := range []string{"churn", "ltv"} {
		if err := d.command(ctx, cards[target], "train", target, "--train-as-of", demoTrainCut, "--test-as-of", demoTestCut, "--horizon", "60d", "--seed", "1"); err != nil {
			return err
		}
	}
	churn, ltv := cards["churn"], cards["ltv"]
	d.state.Trained = fmt.Sprintf("churn (%s): AUC %s, recency alone %.3f; LTV (%s): its top tenth holds %s of the next 60 days' money, past revenue's %.3f",
		churn.Learner, churn.metric("auc"), churn.Baselines["recency"]["auc"],
		ltv.Learner, ltv.metric("top_decile_share"), ltv.Baselines["past_revenue"]["top_decile_share"])
	if err := d.save(); err != nil {
		return err
	}
	d.steps.done("%s", d.state.Trained)
	return nil
}

// demoNightReport is what nightly prints.
type demoNightReport struct {
	Steps        []struct{ Name, Status string }
	ScoreVersion string `json:"score_version"`
}

func (n demoNightReport) String() string {
	var done []string
	for _, s := range n.Steps {
		if s.Status == "done" {
			done = append(done, s.Name)
		}
	}
	if len(done) == 0 {
		return "nothing to do; scores " + n.ScoreVersion
	}
	return strings.Join(done, ", ") + "; scores " + n.ScoreVersion
}

// night scores every customer as of the night before the promotions. Once the replay is done newer scores are published and this night is
// left alone, so that a second demo targets nobody anew.
func (d *demo) night(ctx context.Context) error {
	if d.state.Replayed {
		d.steps.begin("nightly as of " + demoNight)
		d.steps.done("done before")
		return nil
	}
	return d.nightly(ctx, demoNight)
}

// tomorrow is the night after: it records the looks and scores for the next day.
func (d *demo) tomorrow(ctx context.Context, _ *demoServer) error {
	return d.nightly(ctx, demoTomorrow)
}

func (d *demo) nightly(ctx context.Context, asOf string) error {
	d.steps.begin("nightly as of " + asOf)
	var n demoNightReport
	if err := d.command(ctx, &n, "nightly", "--as-of", asOf); err != nil {
		return err
	}
	d.steps.done("%s", n)
	return nil
}

// experiments puts the offers and makes and starts the three experiments, through the API.
func (d *demo) experiments(ctx context.Context, s *demoServer) error {
	d.steps.begin("create offers and three experiments over HTTP")
	var offers, defs []json.RawMessage
	if err := readDemo("demo/offers.json", &offers); err != nil {
		return err
	}
	if err := readDemo("demo/experiments.json", &defs); err != nil {
		return err
	}
	keys, err := demoKeys()
	if err != nil {
		return err
	}
	for _, offer := range offers {
		if _, err := s.client.call(ctx, http.MethodPost, "/v1/offers", offer, nil, http.StatusConflict); err != nil {
			return err
		}
	}
	for i, key := range keys {
		if _, err := s.client.call(ctx, http.MethodPost, "/v1/experiments", defs[i], nil, http.StatusConflict); err != nil {
			return err
		}
		var stored struct{ Status string }
		if _, err := s.client.call(ctx, http.MethodGet, "/v1/experiments/"+key, nil, &stored); err != nil {
			return err
		}
		if stored.Status != "draft" {
			continue
		}
		if _, err := s.client.call(ctx, http.MethodPost, "/v1/experiments/"+key+"/start", nil, nil); err != nil {
			return err
		}
	}
	d.steps.done("%s", strings.Join(keys, ", "))
	return nil
}

// readDemo decodes one of the embedded files.
func readDemo(name string, out any) error {
	raw, err := demoFiles.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

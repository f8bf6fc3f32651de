package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

type experimentCmd struct {
	List     experimentListCmd     `cmd:"" help:"List experiments, newest first."`
	Show     experimentShowCmd     `cmd:"" help:"Show an experiment, or one of its revisions."`
	Create   experimentCreateCmd   `cmd:"" help:"Make a draft from a JSON or YAML file."`
	Edit     experimentEditCmd     `cmd:"" help:"Change an experiment by a merge patch (JSON or YAML)."`
	Start    experimentStartCmd    `cmd:"" help:"Run a draft, or a stopped experiment again."`
	Stop     experimentStopCmd     `cmd:"" help:"Stop: everybody gets the control's payload."`
	Ramp     experimentRampCmd     `cmd:"" help:"Change the share of units that take part; who is in stays in."`
	Decide   experimentDecideCmd   `cmd:"" help:"Record the decision."`
	Archive  experimentArchiveCmd  `cmd:"" help:"Put away; frees its buckets of a layer."`
	Results  experimentResultsCmd  `cmd:"" help:"Effects, intervals, profit and the decision."`
	Dataset  experimentDatasetCmd  `cmd:"" help:"The rows behind the results, one per exposed unit."`
	Look     experimentLookCmd     `cmd:"" help:"Record a look of a group-sequential experiment."`
	Audience experimentAudienceCmd `cmd:"" help:"Freeze a list test: one file of units for each arm."`
}

type experimentListCmd struct {
	Status string `enum:",draft,running,stopped,archived" default:"" help:"Only these: draft, running, stopped, archived."`
}

// Run lists experiments.
func (c experimentListCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		list, err := s.List(ctx)
		if err != nil {
			return err
		}
		kept := list[:0]
		for _, e := range list {
			if c.Status == "" || string(e.Status) == c.Status {
				kept = append(kept, e)
			}
		}
		if a.JSON {
			return writeDocument(a.Out, map[string]any{"experiments": kept})
		}
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tSTATUS\tVARIANTS\tCOVERAGE\tREVISION\tNAME")
		for _, e := range kept {
			names := make([]string, len(e.Variants))
			for i, v := range e.Variants {
				names[i] = v.Key
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%.5g\t%d\t%s\n", e.Key, e.Status, strings.Join(names, " "), *e.Coverage, e.Revision, e.Name.EN)
		}
		return w.Flush()
	})
}

type experimentShowCmd struct {
	Key      string `arg:"" help:"The experiment."`
	Revision int64  `help:"An older revision; the newest by default."`
}

// Run prints the stored experiment as JSON, the form that create and edit take.
func (c experimentShowCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		e, err := s.Get(ctx, c.Key)
		if err == nil && c.Revision != 0 && c.Revision != e.Revision {
			e, err = revision(ctx, s, c.Key, c.Revision)
		}
		if err != nil {
			return err
		}
		return writeDocument(a.Out, e)
	})
}

func revision(ctx context.Context, s *sqlstore.Store, key string, number int64) (*experiments.Experiment, error) {
	list, err := s.Revisions(ctx, key)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Revision == number {
			return &list[i], nil
		}
	}
	return nil, experiments.Invalid("revision", "%d does not exist; %s is at %d", number, key, list[len(list)-1].Revision)
}

type experimentCreateCmd struct {
	File  string `arg:"" help:"Definition (.json, .yaml, .yml; - reads JSON from stdin)."`
	Start bool   `help:"Also start it."`
}

// Help shows examples.
func (experimentCreateCmd) Help() string {
	return `Example of a definition:
  key: coupon-form
  name: {zh: 优惠形式, en: Coupon form}
  control: none
  variants:
    - {key: none, weight: 1}
    - {key: spend-100-save-20, weight: 1, payload: {type: json, value: {threshold: 100, off: 20}}}
  targeting:
    - {attribute: churn_risk, operator: NUM_GTE, values: ["0.6"]}

  perennial experiment create coupon-form.yaml --start`
}

// Run makes a draft.
func (c experimentCreateCmd) Run(ctx context.Context, a *App) error {
	raw, err := readDocument(c.File)
	if err != nil {
		return err
	}
	d, err := experiments.DecodeDefinition(raw)
	if err != nil {
		return err
	}
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		e, err := s.Create(ctx, d, shellUser)
		if err == nil && c.Start {
			e, err = s.Change(ctx, e.Key, "start", nil, e.Revision, shellUser)
		}
		if err != nil {
			return err
		}
		return a.printExperiment(e)
	})
}

type experimentEditCmd struct {
	Key  string `arg:"" help:"The experiment."`
	File string `arg:"" help:"Merge patch (.json, .yaml, .yml; - reads JSON from stdin)."`
	onRevision
}

// Run applies a merge patch.
func (c experimentEditCmd) Run(ctx context.Context, a *App) error {
	raw, err := readDocument(c.File)
	if err != nil {
		return err
	}
	return a.change(ctx, c.Key, "patch", raw, c.IfRevision)
}

// onRevision guards a write against somebody else's.
type onRevision struct {
	IfRevision int64 `name:"if-revision" placeholder:"N" help:"Refuse when the experiment is not at this revision."`
}

type experimentStartCmd struct {
	Key string `arg:"" help:"The experiment."`
	onRevision
}

// Run starts.
func (c experimentStartCmd) Run(ctx context.Context, a *App) error {
	return a.change(ctx, c.Key, "start", nil, c.IfRevision)
}

type experimentStopCmd struct {
	Key string `arg:"" help:"The experiment."`
	onRevision
}

// Run stops.
func (c experimentStopCmd) Run(ctx context.Context, a *App) error {
	return a.change(ctx, c.Key, "stop", nil, c.IfRevision)
}

type experimentArchiveCmd struct {
	Key string `arg:"" help:"The experiment."`
	onRevision
}

// Run archives.
func (c experimentArchiveCmd) Run(ctx context.Context, a *App) error {
	return a.change(ctx, c.Key, "archive", nil, c.IfRevision)
}

type experimentRampCmd struct {
	Key      string  `arg:"" help:"The experiment."`
	Coverage float64 `required:"" help:"Share of all buckets, 0 to 1."`
	onRevision
}

// Run changes the coverage.
func (c experimentRampCmd) Run(ctx context.Context, a *App) error {
	raw, err := json.Marshal(map[string]float64{"coverage": c.Coverage})
	if err != nil {
		return usagef("coverage: %v is not a share", c.Coverage)
	}
	return a.change(ctx, c.Key, "ramp", raw, c.IfRevision)
}

type experimentDecideCmd struct {
	Key     string `arg:"" help:"The experiment."`
	Variant string `required:"" help:"The variant that everybody shall get."`
	Reason  string `help:"Why, for those who come later."`
	onRevision
}

// Run records the decision with what is known now.
func (c experimentDecideCmd) Run(ctx context.Context, a *App) error {
	doc := map[string]any{"variant": c.Variant, "reason": c.Reason}
	err := a.withResults(ctx, func(r *results) error {
		found, err := r.document(ctx, c.Key, api.ResultsQuery{})
		if err == nil {
			doc["evidence"] = experiments.EvidenceOf(found)
		}
		return err
	})
	if err != nil {
		a.Log.Warn("the decision has no evidence", "error", err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return a.change(ctx, c.Key, "decide", raw, c.IfRevision)
}

// shellUser stands in the audit for writes from the command line.
const shellUser = "shell"

// change applies an action; a running server sees it within a second.
func (a *App) change(ctx context.Context, key, action string, doc []byte, ifRevision int64) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		e, err := s.Change(ctx, key, action, doc, ifRevision, shellUser)
		if err != nil {
			return err
		}
		return a.printExperiment(e)
	})
}

func (a *App) printExperiment(e *experiments.Experiment) error {
	if a.JSON {
		return writeDocument(a.Out, e)
	}
	_, err := fmt.Fprintf(a.Out, "%s is %s: revision %d, allocation %d, coverage %.5g\n", e.Key, e.Status, e.Revision, e.AllocationRevision, *e.Coverage)
	return err
}

// withStore opens the control store for one command.
func (a *App) withStore(ctx context.Context, f func(s *sqlstore.Store) error) error {
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

// readDocument reads JSON, or YAML as JSON; numbers keep their decimal point.
func readDocument(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("%v", err)
	}
	if !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml") {
		return raw, nil
	}
	if raw, err = yaml.YAMLToJSON(raw); err != nil {
		return nil, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, true))
	}
	return raw, nil
}

// writeDocument writes one document with payloads in their own spelling.
func writeDocument(w io.Writer, v any) error {
	raw, err := experiments.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

// local shows a time in the shop's zone.
func (a *App) local(t time.Time) string {
	return t.In(a.Config.Shop().Location).Format("2006-01-02 15:04:05 -0700")
}

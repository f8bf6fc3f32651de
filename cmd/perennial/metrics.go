package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

type metricsCmd struct {
	List    metricsListCmd    `cmd:"" help:"List the metrics that experiments may name: built-in and own."`
	Show    metricsShowCmd    `cmd:"" help:"Show a metric of the shop, or one of its revisions."`
	History metricsHistoryCmd `cmd:"" help:"Every revision of a metric: when, by whom, what changed."`
	Put     metricsPutCmd     `cmd:"" help:"Create or replace a metric from a JSON or YAML file."`
}

type metricsListCmd struct{}

// Help shows an example.
func (metricsListCmd) Help() string {
	return "Examples:\n  perennial metrics list\n  perennial metrics list --json | jq -r '.metrics[].key'"
}

// Run lists metrics, the built-in ones first.
func (metricsListCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		own, err := s.MetricDefs(ctx)
		if err != nil {
			return err
		}
		if a.JSON {
			return writeDocument(a.Out, map[string]any{"built_in": experiments.BuiltInMetrics, "metrics": append([]experiments.MetricDef{}, own...)})
		}
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tKIND\tEVENT\tFIELD\tREVISION\tNAME")
		for _, key := range experiments.BuiltInMetrics {
			fmt.Fprintf(w, "%s\tbuilt in\t\t\t\t\n", key)
		}
		for _, m := range own {
			name := ""
			if m.Name != nil {
				name = m.Name.EN
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", m.Key, m.Kind, m.Event, m.Field, m.Revision, name)
		}
		return w.Flush()
	})
}

type metricsShowCmd struct {
	Key      string `arg:"" help:"The metric."`
	Revision int64  `placeholder:"N" help:"An older revision; the newest by default."`
}

// Help shows examples.
func (metricsShowCmd) Help() string {
	return "What it prints is what put takes.\n\nExamples:\n  perennial metrics show toy_revenue\n  perennial metrics show toy_revenue --revision 2 | perennial metrics put -   # the second revision is the newest again"
}

// Run prints the stored metric as JSON.
func (c metricsShowCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		list, err := metricRevisions(ctx, s, c.Key)
		if err != nil {
			return err
		}
		m := &list[len(list)-1]
		if c.Revision != 0 {
			if m, err = metricRevision(list, "revision", c.Revision); err != nil {
				return err
			}
		}
		return writeDocument(a.Out, m)
	})
}

// metricRevisions is every revision of a metric, oldest first.
func metricRevisions(ctx context.Context, s *sqlstore.Store, key string) ([]experiments.MetricDef, error) {
	if slices.Contains(experiments.BuiltInMetrics, key) {
		return nil, experiments.Invalid("key", "%q is built in: it has no definition of the shop's", key)
	}
	return s.MetricRevisions(ctx, key)
}

func metricRevision(list []experiments.MetricDef, field string, number int64) (*experiments.MetricDef, error) {
	for i := range list {
		if list[i].Revision == number {
			return &list[i], nil
		}
	}
	newest := list[len(list)-1]
	return nil, experiments.Invalid(field, "%d does not exist; %s is at %d", number, newest.Key, newest.Revision)
}

type metricsHistoryCmd struct {
	Key string `arg:"" help:"The metric."`
}

// Help shows an example.
func (metricsHistoryCmd) Help() string {
	return "Example:\n  perennial metrics history toy_revenue --json | jq '.revisions[] | {revision, at, by}'"
}

// metricPut is a revision with who made it and when.
type metricPut struct {
	experiments.MetricDef
	At *time.Time `json:"at"` // nil where the audit does not reach
	By string     `json:"by"`
}

// Run prints the revisions, oldest first.
func (c metricsHistoryCmd) Run(ctx context.Context, a *App) error {
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		list, err := metricRevisions(ctx, s, c.Key)
		if err != nil {
			return err
		}
		audit, err := s.Audit(ctx, "metric/"+c.Key, 100_000)
		if err != nil {
			return err
		}
		made := map[int64]sqlstore.AuditEntry{}
		for _, e := range audit { // newest first: what stays is the first time, as the same definition again makes no revision
			var m experiments.MetricDef
			if json.Unmarshal(e.Doc, &m) == nil {
				made[m.Revision] = e
			}
		}
		out := make([]metricPut, len(list))
		for i, m := range list {
			out[i].MetricDef = m
			if e, ok := made[m.Revision]; ok {
				out[i].At, out[i].By = &e.At, e.By
			}
		}
		if a.JSON {
			return writeDocument(a.Out, map[string]any{"revisions": out})
		}
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "REVISION\tAT\tBY\tCHANGE")
		for i, m := range out {
			change, at := "defined", ""
			if i > 0 {
				if change, err = metricChange(list[i-1], list[i]); err != nil {
					return err
				}
			}
			if m.At != nil {
				at = a.local(*m.At)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", m.Revision, at, m.By, change)
		}
		return w.Flush()
	})
}

// metricChange tells in which fields two revisions differ.
func metricChange(before, after experiments.MetricDef) (string, error) {
	var docs [2]map[string]json.RawMessage
	for i, m := range []experiments.MetricDef{before, after} {
		raw, err := experiments.Marshal(m)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(raw, &docs[i]); err != nil {
			return "", err
		}
		delete(docs[i], "revision")
	}
	fields := slices.Collect(maps.Keys(docs[0]))
	for name := range docs[1] {
		if docs[0][name] == nil {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	var parts []string
	for _, name := range fields {
		was, is := string(docs[0][name]), string(docs[1][name])
		switch {
		case was == is:
		case was == "":
			parts = append(parts, name+" "+is)
		case is == "":
			parts = append(parts, "no "+name+" (was "+was+")")
		default:
			parts = append(parts, name+" "+was+" → "+is)
		}
	}
	return strings.Join(parts, ", "), nil
}

type metricsPutCmd struct {
	File       string `arg:"" help:"Definition (.json, .yaml, .yml; - reads JSON from stdin)."`
	IfRevision int64  `name:"if-revision" placeholder:"N" help:"Refuse when the metric is not at this revision."`
}

// Help shows an example of a definition.
func (metricsPutCmd) Help() string {
	return `Another definition under the same key is another revision; the same one again changes nothing. A running server knows it within a second.

Example of a definition:
  key: toy_revenue
  name: {zh: 玩具销售额, en: Toy revenue}
  kind: mean
  event: Order Completed
  field: value
  filter: {category: toys}
  direction: up

  perennial metrics put toy_revenue.yaml
  perennial metrics put toy_revenue.yaml --if-revision 3`
}

// Run creates or replaces a metric.
func (c metricsPutCmd) Run(ctx context.Context, a *App) error {
	raw, err := readDocument(c.File)
	if err != nil {
		return err
	}
	def, err := experiments.DecodeMetric(raw)
	if err != nil {
		return err
	}
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		if c.IfRevision != 0 {
			list, err := metricRevisions(ctx, s, def.Key)
			if err != nil {
				return err
			}
			expected, err := metricRevision(list, "if-revision", c.IfRevision)
			if err != nil {
				return err
			}
			tag, err := sqlstore.TagOf(expected)
			if err != nil {
				return err
			}
			ctx = sqlstore.IfMatch(ctx, tag)
		}
		m, err := s.PutMetric(ctx, def, shellUser)
		if err != nil {
			return err
		}
		if a.JSON {
			return writeDocument(a.Out, m)
		}
		_, err = fmt.Fprintf(a.Out, "%s is at revision %d\n", m.Key, m.Revision)
		return err
	})
}

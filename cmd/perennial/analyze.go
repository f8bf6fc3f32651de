package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"perennial/experiments"
)

type analyzeCmd struct {
	File      string   `arg:"" optional:"" help:"CSV, TSV, NDJSON or Parquet, also .gz or .zst; one row per unit, or see --unit." placeholder:"FILE"`
	Variant   string   `help:"Column that names the variant." placeholder:"COL"`
	Control   string   `help:"Value of the variant column to compare against." placeholder:"NAME"`
	Metric    []string `help:"COL:KIND[,OPT…]; KIND proportion, mean, ratio:DENOM, quantile:0.9; OPT covariate=COL, strata=COL, cap=p99.9, cluster=COL, lower, margin=0.02, equivalence=0.02. Repeatable." sep:"none" placeholder:"COL:KIND"`
	Unit      string   `help:"Column of the unit id; rows of one unit are summed (any, for a proportion)." placeholder:"COL"`
	Split     string   `help:"Planned shares; default equal." placeholder:"A=0.5,B=0.5"`
	Alpha     float64  `help:"Two-sided level." default:"0.05"`
	Inference string   `help:"fixed, gst (planned looks) or confseq (any number of looks)." default:"fixed"`
	Looks     int      `help:"Planned looks, equally spaced (gst)." placeholder:"N"`
	Look      int      `help:"This look (gst)." placeholder:"K"`
	MDE       float64  `name:"mde" help:"Relative effect that the test was planned for; adds the chance to still find it (gst)." placeholder:"SHARE"`
	Tuning    float64  `help:"Units at which a confidence sequence is narrowest, chosen before the data." default:"5000"`
	Segment   []string `help:"Also analyse by this column, Holm-adjusted. Repeatable." sep:"none" placeholder:"COL"`
	Adjust    string   `help:"Adjust p over all variants and metrics: holm, bh or none." placeholder:"HOW"`
	HTML      string   `name:"html" help:"Also write a self-contained report." type:"path" placeholder:"FILE"`
	Summaries string   `help:"Sufficient statistics (NDJSON, one case a line) instead of rows; needs --compat." type:"path" placeholder:"FILE"`
	Compat    string   `help:"growthbook: answer with gbstats's own formulas." placeholder:"NAME"`
}

// Help is printed below the usage.
func (analyzeCmd) Help() string {
	return `Examples:
  perennial analyze mails.csv.gz --variant segment --control "No E-Mail" --metric visit:proportion --metric spend:mean,cap=p99.9
  perennial analyze orders.parquet --unit user_id --variant arm --control A --metric value:mean,covariate=value_before --segment stage
  perennial analyze t.csv --variant arm --control A --metric paid:proportion --inference gst --looks 14 --look 3`
}

// Run analyses a table, or answers summaries in another tool's words.
func (c *analyzeCmd) Run(a *App, ctx context.Context) error {
	if c.Summaries != "" || c.Compat != "" {
		return c.runSummaries(a)
	}
	plan, err := c.plan()
	if err != nil {
		return usageError{err}
	}
	table, source, err := readTable(ctx, a, c.File, tableColumns{variant: c.Variant, unit: c.Unit, plan: plan})
	if err != nil {
		return err
	}
	doc, err := experiments.AnalyzeTable(table, plan)
	if err != nil {
		var invalid *experiments.InvalidError
		if errors.As(err, &invalid) {
			return usageError{err}
		}
		return err
	}
	source.Units = doc.Source.Units
	doc.Source = source.TableSource
	doc.Warnings = append(doc.Warnings, source.warnings...)
	if c.HTML != "" {
		if err := writeReport(c.HTML, doc, c.File); err != nil {
			return fmt.Errorf("html report: %w", err)
		}
		fmt.Fprintf(a.Err, "report: %s\n", c.HTML)
	}
	if a.JSON {
		return writeJSON(a.Out, doc)
	}
	return printAnalysis(a.Out, doc)
}

// writeJSON writes one document, readable and with all digits.
func writeJSON(w io.Writer, doc any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(doc)
}

// plan turns flags into a plan; faults name the flag.
func (c *analyzeCmd) plan() (experiments.TablePlan, error) {
	p := experiments.TablePlan{Control: c.Control, Alpha: c.Alpha, Inference: c.Inference, Looks: c.Looks, Look: c.Look, Tuning: c.Tuning, MDE: c.MDE, Segments: c.Segment, Adjust: c.Adjust}
	var faults []experiments.Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, experiments.Fault{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	for field, value := range map[string]string{"FILE": c.File, "--variant": c.Variant, "--control": c.Control} {
		if value == "" {
			fault(field, "is missing")
		}
	}
	if len(c.Metric) == 0 {
		fault("--metric", "name at least one, such as visit:proportion")
	}
	if !(c.Alpha > 0 && c.Alpha < 0.5) {
		fault("--alpha", "%v is not within 0..0.5", c.Alpha)
	}
	switch c.Inference {
	case experiments.Fixed, experiments.ConfSeq:
	case experiments.GST:
		if c.Looks < 1 || c.Look < 1 || c.Look > c.Looks {
			fault("--look", "gst needs --looks N and --look K with 1 <= K <= N; got look %d of %d", c.Look, c.Looks)
		}
	default:
		fault("--inference", "%q is none of fixed, gst, confseq", c.Inference)
	}
	switch c.Adjust {
	case "", "none", "holm", "bh":
	default:
		fault("--adjust", "%q is none of holm, bh, none", c.Adjust)
	}
	for _, text := range c.Metric {
		m, err := parseMetric(text)
		if err != nil {
			fault("--metric "+text, "%v", err)
			continue
		}
		p.Metrics = append(p.Metrics, m)
	}
	var err error
	if p.Split, err = parseSplit(c.Split); err != nil {
		fault("--split", "%v", err)
	}
	if faults != nil {
		return p, &experiments.InvalidError{Faults: faults}
	}
	return p, nil
}

var metricKind = regexp.MustCompile(`:(proportion|mean|ratio|quantile)(?:[:,]|$)`)

// parseMetric reads COL:KIND[,OPT…]; a column's name may hold colons and commas itself.
func parseMetric(text string) (experiments.TableMetric, error) {
	var m experiments.TableMetric
	at := metricKind.FindStringSubmatchIndex(text)
	if at == nil {
		_, kind, found := strings.Cut(text, ":")
		if !found {
			return m, errors.New("is not COL:KIND, such as visit:proportion")
		}
		return m, fmt.Errorf("kind %q is none of proportion, mean, ratio:DENOM, quantile:Q", kind)
	}
	m.Column, m.Kind = text[:at[0]], text[at[2]:at[3]]
	parts := strings.Split(text[at[3]:], ",")
	argument, has := strings.CutPrefix(parts[0], ":")
	var err error
	switch {
	case m.Column == "":
		return m, errors.New("the column's name is missing")
	case m.Kind == experiments.KindRatio:
		if m.Denominator = argument; argument == "" {
			return m, errors.New("ratio needs its denominator: COL:ratio:DENOM")
		}
	case m.Kind == experiments.KindQuantile:
		if m.Quantile, err = strconv.ParseFloat(argument, 64); err != nil || !(m.Quantile > 0 && m.Quantile < 1) {
			return m, fmt.Errorf("quantile %q is not within 0..1", argument)
		}
	case has:
		return m, fmt.Errorf("%s takes no argument %q", m.Kind, argument)
	}
	for _, option := range parts[1:] {
		if err := metricOption(&m, option); err != nil {
			return m, err
		}
	}
	if m.Kind == experiments.KindQuantile && (len(m.Covariates) > 0 || m.Strata != "") {
		return m, errors.New("a quantile takes no covariate and no strata")
	}
	return m, nil
}

func metricOption(m *experiments.TableMetric, option string) error {
	name, value, _ := strings.Cut(option, "=")
	switch name {
	case "covariate":
		if value == "" {
			return errors.New("covariate= names no column")
		}
		m.Covariates = append(m.Covariates, value)
	case "strata":
		if m.Strata = value; value == "" {
			return errors.New("strata= names no column")
		}
	case "cluster":
		if m.Cluster = value; value == "" {
			return errors.New("cluster= names no column")
		}
	case "lower":
		m.Lower = true
	case "cap":
		percent, ok := strings.CutPrefix(value, "p")
		q, err := strconv.ParseFloat(percent, 64)
		if !ok || err != nil || !(q > 0 && q < 100) {
			return fmt.Errorf("cap %q is not a percentile such as p99.9", value)
		}
		if m.Kind != experiments.KindMean {
			return errors.New("cap is for a mean")
		}
		m.CapQuantile = q / 100
	case "margin", "equivalence":
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v > 0 && v < 1) {
			return fmt.Errorf("%s %q is not within 0..1", name, value)
		}
		if name == "margin" {
			m.Margin = v
		} else {
			m.Equivalence = v
		}
	default:
		return fmt.Errorf("option %q is none of covariate=COL, strata=COL, cap=p99.9, cluster=COL, lower, margin=0.02, equivalence=0.02", option)
	}
	return nil
}

var splitPart = regexp.MustCompile(`^(.+?)=([0-9.eE+-]+)(?:,|$)`)

// parseSplit reads A=0.5,B=0.5; names may hold commas.
func parseSplit(text string) (map[string]float64, error) {
	if text == "" {
		return nil, nil
	}
	split := map[string]float64{}
	sum := 0.0
	for rest := text; rest != ""; {
		at := splitPart.FindStringSubmatch(rest)
		if at == nil {
			return nil, fmt.Errorf("%q is not NAME=SHARE,NAME=SHARE", rest)
		}
		share, err := strconv.ParseFloat(at[2], 64)
		if err != nil || share < 0 || share > 1e9 {
			return nil, fmt.Errorf("share %q of %q is not a number of 0 or more", at[2], at[1])
		}
		if _, twice := split[at[1]]; twice {
			return nil, fmt.Errorf("%q is named twice", at[1])
		}
		split[at[1]] = share
		sum += share
		rest = rest[len(at[0]):]
	}
	if sum <= 0 {
		return nil, errors.New("every share is 0")
	}
	return split, nil
}

package main

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"perennial/experiments"
)

// abTable is a small table with a known answer: 200 units an arm.
func abTable(comma string) string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join([]string{"user", "arm", "paid", "spend", "stage"}, comma))
	for i := range 400 {
		fmt.Fprintln(&b, strings.Join([]string{fmt.Sprint("u", i), []string{"A", "B"}[i%2], fmt.Sprint(i/2%3 == 0), fmt.Sprint(1 + i*37%101), []string{"new", "loyal"}[i/4%2]}, comma))
	}
	return b.String()
}

func analyzeJSON(t *testing.T, path string, more ...string) experiments.Analysis {
	t.Helper()
	args := append([]string{"analyze", path, "--variant", "arm", "--control", "A", "--metric", "paid:proportion", "--metric", "spend:mean", "--json"}, more...)
	var doc experiments.Analysis
	if err := json.Unmarshal([]byte(must(t, args...)), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// One table in every format gives one answer.
func TestAnalyzeFormats(t *testing.T) {
	dir := t.TempDir()
	text := abTable(",")
	var gz, ndjson bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write([]byte(text))
	z.Close()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		f := strings.Split(line, ",")
		fmt.Fprintf(&ndjson, `{"user":%q,"arm":%q,"paid":%s,"spend":%s,"stage":%q}`+"\n", f[0], f[1], f[2], f[3], f[4])
	}
	var want experiments.Analysis
	for i, c := range []struct{ name, text string }{{"lf.csv", text}, {"crlf.csv", strings.ReplaceAll(text, "\n", "\r\n")}, {"bom.csv", "\ufeff" + text}, {"t.tsv", abTable("\t")},
		{"t.csv.gz", gz.String()}, {"t.csv.zst", string(encoder.EncodeAll([]byte(text), nil))}, {"t.ndjson", ndjson.String()}} {
		path := filepath.Join(dir, c.name)
		write(t, path, c.text)
		doc := analyzeJSON(t, path, "--unit", "user")
		if i == 0 {
			want = doc
		}
		got, _ := json.Marshal(doc)
		first, _ := json.Marshal(want)
		if !bytes.Equal(got, first) {
			t.Errorf("%s gives another answer than lf.csv:\n%s\n%s", c.name, got, first)
		}
	}
	if want.Source.Rows != 400 || want.Source.Units != 400 || want.SRM.Verdict != "ok" {
		t.Errorf("source %+v, SRM %+v", want.Source, want.SRM)
	}
}

// Parquet goes through DuckDB and answers like the CSV it was made from.
func TestAnalyzeParquet(t *testing.T) {
	dir := t.TempDir()
	csv, parquet := filepath.Join(dir, "t.csv"), filepath.Join(dir, "it's.parquet")
	write(t, csv, abTable(","))
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "COPY (SELECT * FROM read_csv('"+csv+"')) TO '"+strings.ReplaceAll(parquet, "'", "''")+"' (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(analyzeJSON(t, parquet, "--unit", "user"))
	want, _ := json.Marshal(analyzeJSON(t, csv, "--unit", "user"))
	if !bytes.Equal(got, want) {
		t.Errorf("Parquet gives %s, CSV %s", got, want)
	}
	if code, _, stderr := call(t, "analyze", parquet, "--variant", "arms", "--control", "A", "--metric", "spend:mean"); code != 2 || !strings.Contains(stderr, "arms") {
		t.Errorf("wrong column: exit %d, %s", code, stderr)
	}
}

// Chinese spreadsheets are GB18030.
func TestAnalyzeGB18030(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	write(t, path, "\xd7\xe9,spend\n\xb6\xd4\xd5\xd5,1\n\xb6\xd4\xd5\xd5,2\nB,3\nB,5\n") // 组,spend / 对照
	out := must(t, "analyze", path, "--variant", "组", "--control", "对照", "--metric", "spend:mean", "--json")
	if !strings.Contains(out, `"control": "对照"`) {
		t.Errorf("GB18030: %s", out)
	}
}

// Each fault is named with column and line and handled as the contract says.
func TestAnalyzeDirty(t *testing.T) {
	text := abTable(",")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	edit := func(line int, from, to string) string {
		c := append([]string(nil), lines...)
		c[line-1] = strings.Replace(c[line-1], from, to, 1)
		return strings.Join(c, "\n")
	}
	for name, c := range map[string]struct {
		text   string
		args   []string
		exit   int
		stderr []string
	}{
		"cell that is no number":  {edit(8, lines[7], "u6,A,true,twelve,new"), nil, 0, []string{"line 8", "spend", "twelve"}},
		"proportion of 3":         {edit(6, lines[5], "u4,A,3,1,new"), nil, 0, []string{"line 6", "paid"}},
		"ragged row":              {edit(9, lines[8], "u7,B"), nil, 0, []string{"line 9", "2 fields"}},
		"empty variant":           {text + "x1,,true,4,new\n", nil, 0, []string{"line 402", "arm"}},
		"empty file":              {"", nil, 1, []string{"empty"}},
		"header only":             {lines[0] + "\n", nil, 1, []string{"no row"}},
		"wrong metric column":     {text, []string{"--metric", "spent:mean"}, 2, []string{"spent"}},
		"unknown kind":            {text, []string{"--metric", "spend:average"}, 2, []string{"average"}},
		"no such control":         {text, []string{"--control", "Z"}, 2, []string{`"Z"`}},
		"split without an arm":    {text, []string{"--split", "A=1"}, 2, []string{`"B"`}},
		"look beyond looks":       {text, []string{"--inference", "gst", "--looks", "3", "--look", "4"}, 2, []string{"look"}},
		"quantile out of range":   {text, []string{"--metric", "spend:quantile:9"}, 2, []string{"quantile"}},
		"summaries without a way": {text, []string{"--summaries", "x"}, 2, []string{"compat"}},
	} {
		path := filepath.Join(t.TempDir(), "t.csv")
		write(t, path, c.text)
		args := append([]string{"analyze", path, "--variant", "arm", "--control", "A", "--metric", "paid:proportion", "--metric", "spend:mean", "--unit", "user"}, c.args...)
		code, _, stderr := call(t, args...)
		if code != c.exit {
			t.Errorf("%s: exit %d, want %d: %s", name, code, c.exit, stderr)
		}
		for _, w := range c.stderr {
			if !strings.Contains(stderr, w) {
				t.Errorf("%s: stderr does not name %q: %s", name, w, stderr)
			}
		}
	}
}

// Units in two arms are left out and counted; a missing value is a row without that metric.
func TestAnalyzeUnits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	write(t, path, abTable(",")+"u0,B,true,5,new\nu1,B,NA,,new\nu3,B,true,100,\n")
	doc := analyzeJSON(t, path, "--unit", "user")
	if doc.Source.UnitsLeftOut != 1 || doc.Source.Units != 399 || len(doc.Warnings) == 0 || doc.Warnings[len(doc.Warnings)-1].Code != "multiple_exposure" {
		t.Errorf("source %+v, warnings %+v", doc.Source, doc.Warnings)
	}
}

// Covariates, caps, margins, clusters, segments and looks answer in one call each, and the report is self-contained.
func TestAnalyzeOptions(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.csv")
	write(t, path, abTable(","))
	report := filepath.Join(dir, "r.html")
	doc := analyzeJSON(t, path, "--metric", "spend:mean,cap=p90,margin=0.5,lower", "--metric", "spend:mean,cluster=stage", "--metric", "spend:ratio:paid", "--metric", "spend:quantile:0.5",
		"--segment", "stage", "--adjust", "holm", "--html", report)
	methods := map[string]bool{}
	segments := 0
	for _, r := range doc.Results {
		methods[r.Method] = true
		if r.Segment != nil {
			segments++
		}
		if r.Cap != nil && (r.Uncapped == nil || r.NonInferior == nil || r.NonInferior.Verdict != "pass" || r.Direction != "down") {
			t.Errorf("capped guardrail: %+v", r)
		}
		if r.PAdjusted < r.PValue {
			t.Errorf("adjusted p %v is below p %v", r.PAdjusted, r.PValue)
		}
	}
	if !methods["welch"] || !methods["cluster"] || !methods["quantile"] || segments != 12 || len(doc.Heterogeneity) == 0 {
		t.Errorf("methods %v, %d segment rows, heterogeneity %+v", methods, segments, doc.Heterogeneity)
	}
	raw, err := os.ReadFile(report)
	if err != nil || !bytes.Contains(raw, []byte("<svg")) || bytes.Contains(raw, []byte("http://")) || bytes.Contains(raw, []byte("https://")) || bytes.Contains(raw, []byte("<script")) {
		t.Errorf("the report is not self-contained: %v", err)
	}
	looked := analyzeJSON(t, path, "--inference", "gst", "--looks", "5", "--look", "1").Results[1]
	if half := float64(looked.EffectHigh-looked.Effect) / float64(looked.SE); math.Abs(half-5) > 0.12 || looked.Fixed == nil {
		t.Errorf("first of five looks is %.3f standard errors wide, want 4.877 and a little for the t distribution", half)
	}
}

func TestParseMetricAndSplit(t *testing.T) {
	m, err := parseMetric(`a:b,c:mean,covariate=x,covariate=y,cap=p99.9`)
	if err != nil || m.Column != "a:b,c" || len(m.Covariates) != 2 || math.Abs(m.CapQuantile-0.999) > 1e-12 {
		t.Errorf("parseMetric = %+v, %v", m, err)
	}
	s, err := parseSplit(`满100减20, "限时"=2,对照=1`)
	if err != nil || s[`满100减20, "限时"`] != 2 || s["对照"] != 1 {
		t.Errorf("parseSplit = %v, %v", s, err)
	}
	for _, bad := range []string{"a", "a:mean:3", "a:mean,cap=5", "a:mean,margin=2", "a:ratio", "a:quantile:0.5,covariate=x", "a:quantile:0.5,strata=x", "a:mean,strata=", "a:mean,equivalence=7", ":mean"} {
		if _, err := parseMetric(bad); err == nil {
			t.Errorf("parseMetric(%q) passes", bad)
		}
	}
}

func TestPowerAndSimulateCommands(t *testing.T) {
	var p powerAnswer
	if err := json.Unmarshal([]byte(must(t, "power", "--kind", "proportion", "--baseline", "0.106", "--mde", "0.1", "--inference", "gst", "--per-day", "2000", "--json")), &p); err != nil {
		t.Fatal(err)
	}
	if p.NTotal != 2*p.NPerArm || math.Abs(p.Inflation-1.0424) > 1e-3 || p.Days == nil || *p.Days != (p.NTotal+1999)/2000 {
		t.Errorf("power = %+v", p)
	}
	for field, args := range map[string][]string{"baseline": {"--kind", "proportion", "--baseline", "1.2", "--mde", "0.1"}, "sd": {"--kind", "mean", "--baseline", "10", "--mde", "0.1"}, "mde": {"--kind", "proportion", "--baseline", "0.9", "--mde", "0.5"}} {
		if code, _, stderr := call(t, append([]string{"power"}, args...)...); code != 2 || !strings.Contains(stderr, field) {
			t.Errorf("power %v = exit %d, %s; want 2 and %s", args, code, stderr, field)
		}
	}
	if code, _, _ := call(t, "simulate", "--world", "moon"); code != 2 {
		t.Errorf("simulate --world moon = exit %d, want 2", code)
	}
}

// A covariate that every row of a unit repeats is the unit's own value; summed, it would count rows, which the treatment may have made.
func TestAnalyzeCovariateOfEvents(t *testing.T) {
	var events, units strings.Builder
	fmt.Fprintln(&events, "user,arm,value,before")
	fmt.Fprintln(&units, "user,arm,value,before")
	for i := range 300 {
		arm, before, sum := []string{"A", "B"}[i%2], i*37%101, 0
		for k := range 1 + i%2 + i%3 { // the treated make more rows
			value := before/4 + (i*13+k*7)%11
			sum += value
			fmt.Fprintf(&events, "u%d,%s,%d,%d\n", i, arm, value, before)
		}
		fmt.Fprintf(&units, "u%d,%s,%d,%d\n", i, arm, sum, before)
	}
	results := map[string]experiments.Result{}
	for name, text := range map[string]string{"events": events.String(), "units": units.String()} {
		path := filepath.Join(t.TempDir(), name+".csv")
		write(t, path, text)
		var doc experiments.Analysis
		if err := json.Unmarshal([]byte(must(t, "analyze", path, "--unit", "user", "--variant", "arm", "--control", "A", "--metric", "value:mean,covariate=before", "--json")), &doc); err != nil {
			t.Fatal(err)
		}
		results[name] = doc.Results[0]
	}
	if e, u := results["events"], results["units"]; e.Effect != u.Effect || e.SE != u.SE || u.VarianceReduction <= 0 {
		t.Errorf("per event %v ± %v, per unit %v ± %v", e.Effect, e.SE, u.Effect, u.SE)
	}
}

// Sizes from a history are those of its own mean and spread; covariates shrink them by the variance they explain, and clusters grow them.
func TestPowerFromHistory(t *testing.T) {
	var b strings.Builder
	fmt.Fprintln(&b, "user,shop,value,before,paid")
	shop := 0
	for i := range 2000 {
		if i%10 == 0 {
			shop = (i / 10 * 7919) % 13
		}
		before := i * 37 % 101
		fmt.Fprintf(&b, "u%d,s%d,%d,%d,%v\n", i, i/10, before+9*shop+i*53%61, before, i%8 == 0)
	}
	path := filepath.Join(t.TempDir(), "past.csv")
	write(t, path, b.String())
	power := func(more ...string) (p powerAnswer) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, append([]string{"power", "--json", "--mde", "0.05", "--history", path}, more...)...)), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain := power("--metric", "value:mean")
	var hand powerAnswer
	if err := json.Unmarshal([]byte(must(t, "power", "--json", "--kind", "mean", "--mde", "0.05", "--baseline", fmt.Sprint(float64(plain.History.Mean)), "--sd", fmt.Sprint(float64(plain.History.SD)))), &hand); err != nil {
		t.Fatal(err)
	}
	if plain.NTotal != hand.NTotal || plain.History.Units != 2000 || plain.Unadjusted != nil {
		t.Errorf("history %+v, by hand %+v", plain, hand)
	}
	adjusted := power("--metric", "value:mean,covariate=before", "--cost-per-unit", "2")
	if r := float64(adjusted.NTotal) / float64(plain.NTotal); math.Abs(r-(1-float64(adjusted.History.VarianceRemoved))) > 0.01 || *adjusted.Unadjusted != plain.NTotal {
		t.Errorf("with a covariate %d of %d, %+v", adjusted.NTotal, plain.NTotal, adjusted.History)
	}
	if adjusted.Cost == nil || adjusted.Cost.Treatment != 2*float64(adjusted.NByArm[1]) || adjusted.Cost.PayBack < 1 {
		t.Errorf("cost %+v of %v", adjusted.Cost, adjusted.NByArm)
	}
	clustered := power("--metric", "value:mean,cluster=shop")
	if d := float64(clustered.History.DesignEffect); d < 1.5 || math.Abs(float64(clustered.NTotal)/float64(plain.NTotal)-d) > 0.02*d {
		t.Errorf("clusters: %d of %d, design effect %v", clustered.NTotal, plain.NTotal, d)
	}
	if rate := power("--metric", "paid:proportion"); rate.History.Mean != 0.125 || math.Abs(float64(rate.NPerArm)-44731) > 3000 {
		t.Errorf("rate: %+v", rate)
	}
	for name, args := range map[string][]string{"metric": {"--history", path}, "history": {"--metric", "value:mean"}, "moon": {"--history", path, "--metric", "moon:mean"}} {
		if code, _, stderr := call(t, append([]string{"power", "--mde", "0.1"}, args...)...); code != 2 || !strings.Contains(stderr, name) {
			t.Errorf("%v = exit %d, %s", args, code, stderr)
		}
	}
}

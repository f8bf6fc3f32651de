package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"perennial/experiments"
)

// The life of a metric from the shell: defined, changed, guarded against somebody else's change, and an old revision made the newest again.
func TestMetricsFromTheShell(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	first := file("toys.yaml", "key: toy_revenue\nname: {zh: 玩具销售额, en: Toy revenue}\nkind: mean\nevent: Order Completed\nfield: value\nfilter: {category: toys}\n")
	second := file("toys.json", `{"key":"toy_revenue","name":{"zh":"玩具销售额","en":"Toy revenue"},"kind":"mean","event":"Order Completed","field":"margin","filter":{"category":"toys"},"cap":2.0}`)
	if out := must(t, "metrics", "put", first); out != "toy_revenue is at revision 1\n" {
		t.Errorf("put = %q", out)
	}
	must(t, "metrics", "put", first) // the same again
	var m experiments.MetricDef
	if err := json.Unmarshal([]byte(must(t, "metrics", "put", second, "--if-revision", "1", "--json")), &m); err != nil || m.Revision != 2 || m.Field != "margin" || string(m.Cap) != "2.0" {
		t.Errorf("put = %+v, %v; want revision 2 with the cap as it was written", m, err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		names string
	}{
		{"somebody was faster", []string{"put", first, "--if-revision", "1"}, 1, "not what was read"},
		{"a revision that never was", []string{"put", first, "--if-revision", "9"}, 1, "toy_revenue is at 2"},
		{"a revision that never was", []string{"show", "toy_revenue", "--revision", "9"}, 1, "toy_revenue is at 2"},
		{"unknown", []string{"show", "nope"}, 1, "nope"},
		{"unknown", []string{"history", "nope"}, 1, "nope"},
		{"built in", []string{"show", "profit"}, 1, "built in"},
		{"built in", []string{"put", file("profit.json", `{"key":"profit","kind":"mean"}`)}, 1, "built in"},
		{"a field that is none", []string{"put", file("typo.yaml", "key: x\nkind: mean\nevnet: Order Completed\n")}, 1, "evnet"},
		{"a kind that is none", []string{"put", file("kind.yaml", "key: x\nkind: median\n")}, 1, "median"},
		{"no file", []string{"put", filepath.Join(dir, "none.json")}, 2, "none.json"},
	} {
		if code, _, stderr := call(t, append([]string{"metrics"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.names) {
			t.Errorf("%s: perennial metrics %v = exit %d %q, want %d naming %q", c.name, c.args, code, stderr, c.code, c.names)
		}
	}
	old := must(t, "metrics", "show", "toy_revenue", "--revision", "1")
	if newest := must(t, "metrics", "show", "toy_revenue"); !strings.Contains(old, `"field":"value"`) || !strings.Contains(newest, `"field":"margin"`) {
		t.Errorf("show: revision 1 is %s, the newest %s", old, newest)
	}
	if out := must(t, "metrics", "put", file("again.json", old)); out != "toy_revenue is at revision 3\n" {
		t.Errorf("the first revision again = %q", out)
	}
	var history struct {
		Revisions []struct {
			experiments.MetricDef
			At string
			By string
		}
	}
	if err := json.Unmarshal([]byte(must(t, "metrics", "history", "toy_revenue", "--json")), &history); err != nil {
		t.Fatal(err)
	}
	r := history.Revisions
	if len(r) != 3 || r[0].Revision != 1 || r[0].Field != "value" || r[1].Field != "margin" || r[2].Revision != 3 || r[2].Field != "value" || r[0].By != shellUser || r[0].At == "" || r[0].At > r[1].At {
		t.Errorf("history = %+v, want three revisions with time and author", r)
	}
	lines := strings.Split(must(t, "metrics", "history", "toy_revenue"), "\n")
	for i, want := range []string{"REVISION", "defined", `cap 2.0, field "value" → "margin"`, `no cap (was 2.0), field "margin" → "value"`} {
		if !strings.HasSuffix(lines[i], want) && i > 0 || !strings.HasPrefix(lines[i], want) && i == 0 {
			t.Errorf("line %d of the history is %q, want %q", i, lines[i], want)
		}
	}
	list := must(t, "metrics", "list")
	rows := strings.Split(strings.TrimSpace(list), "\n")
	if got := strings.Join(strings.Fields(rows[len(rows)-1]), " "); len(rows) != len(experiments.BuiltInMetrics)+2 || strings.Fields(rows[1])[0] != "profit" || got != "toy_revenue mean Order Completed value 3 Toy revenue" {
		t.Errorf("list =\n%s", list)
	}
	if out := must(t, "metrics", "list", "--json"); !strings.Contains(out, `"built_in":["profit"`) || !strings.Contains(out, `"revision":3`) {
		t.Errorf("list --json = %s", out)
	}
	if out := must(t, "metrics", "put", "--help"); !strings.Contains(out, "toy_revenue.yaml --if-revision 3") {
		t.Errorf("put --help = %s", out)
	}
}

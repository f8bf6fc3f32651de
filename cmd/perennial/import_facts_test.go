package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perennial/features"
	"perennial/features/lake"
)

// importJSON runs an import and returns its document.
func importJSON(t *testing.T, args ...string) (doc struct {
	Rows, Duplicate, Rejected int
	Users, Costs              *int
	Reasons                   map[string]int
}) {
	t.Helper()
	out := must(t, append([]string{"import"}, append(args, "--json")...)...)
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func openData(t *testing.T, dir string) *lake.Lake {
	t.Helper()
	l, err := lake.Open(t.Context(), lake.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestImportUsersAndTags: attributes of three forms of file merge by user, columns are typed by their values, and a second import changes nothing.
func TestImportUsersAndTags(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	write(t, filepath.Join(dir, "users.csv"), "member,home,level,zip\nu1,上海,3,00123\nu2,\"Bei,jing\",4,\n,nobody,1,1\n")
	write(t, filepath.Join(dir, "users.ndjson"), `{"user_id":"u2","points":12.5,"vip":true}`+"\n"+`{"user_id":7,"x":1}`+"\n"+`{"user_id":"u3","deep":{"a":1}}`+"\n")
	write(t, filepath.Join(dir, "tags.csv"), "user_id,tag,value\nu1,lapsed,\nu3,size,42\n")
	csv := []string{"users", filepath.Join(dir, "users.csv"), "--map", "user_id=member", "--map", "city=home", "--data", data}
	first := importJSON(t, csv...)
	if first.Rows != 3 || *first.Users != 2 || first.Rejected != 1 || first.Reasons["user_id missing"] != 1 {
		t.Errorf("first import = %+v", first)
	}
	if again := importJSON(t, csv...); *again.Users != 0 || again.Duplicate != 2 {
		t.Errorf("the same file again = %+v, want nothing changed", again)
	}
	if got := importJSON(t, "users", filepath.Join(dir, "users.ndjson"), "--data", data); *got.Users != 2 || got.Rejected != 1 || got.Reasons["deep neither a text nor a number"] != 1 {
		t.Errorf("users.ndjson = %+v", got)
	}
	if got := importJSON(t, "tags", filepath.Join(dir, "tags.csv"), "--data", data); *got.Users != 2 {
		t.Errorf("tags = %+v", got)
	}
	table, err := openData(t, data).Traits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := features.NewProfiles("", nil, nil, table)
	for _, want := range []struct {
		user, column, text string
		number             float64
	}{{"u1", "city", "上海", 0}, {"u2", "city", "Bei,jing", 0}, {"u1", "level", "", 3}, {"u2", "points", "", 12.5}, {"u2", "vip", "true", 0},
		{"u1", "zip", "00123", 0}, {"u1", "tag_lapsed", "true", 0}, {"u3", "tag_size", "", 42}} {
		row, ok := p.Row(want.user)
		number, text, isText, null, known := p.At(row, want.column)
		if !ok || null || !known || text != want.text || number != want.number || isText != (want.text != "") {
			t.Errorf("%s of %s = %v %q (null %v), want %v %q", want.column, want.user, number, text, null, want.number, want.text)
		}
	}
}

// TestImportUsersCannotOverride: a column with the name of a score or a feature is refused by name.
func TestImportUsersCannotOverride(t *testing.T) {
	dir := t.TempDir()
	for _, column := range []string{"churn_risk", "recency_days", "stage", "orders_90d"} {
		file := filepath.Join(dir, column+".csv")
		write(t, file, "user_id,"+column+"\nu1,1\n")
		if code, _, stderr := call(t, "import", "users", file, "--data", filepath.Join(dir, "data")); code != 2 || !strings.Contains(stderr, column) {
			t.Errorf("import of %s = exit %d %q, want 2 and its name", column, code, stderr)
		}
	}
}

// TestImportCosts: rows of one bill are summed, the same file changes nothing, a later correction is invisible to an earlier cut.
func TestImportCosts(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "ads.csv")
	write(t, file, "date,channel,spend\n2026-03-01,wechat,10.25\n2026-03-01,wechat,0.75\n2026-03-01,douyin,7\n2026-03-02,wechat,5\nnever,wechat,5\n2026-03-02,wechat,-1\n")
	args := []string{"costs", file, "--map", "day=date", "--map", "cost=spend", "--data", data}
	if got := importJSON(t, args...); *got.Costs != 3 || got.Rejected != 2 {
		t.Errorf("first import = %+v, want 3 costs and 2 rejected rows", got)
	}
	if got := importJSON(t, args...); *got.Costs != 0 || got.Duplicate != 3 {
		t.Errorf("the same file again = %+v", got)
	}
	if err := os.WriteFile(file, []byte("date,channel,spend\n2026-03-01,wechat,12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := importJSON(t, append(args, "--lag", "48h")...); *got.Costs != 1 {
		t.Errorf("the correction = %+v", got)
	}
	l := openData(t, data)
	day := func(text string) features.Day {
		d, err := features.ParseDay(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		known string
		want  features.Micros // of wechat on 1 March
		rows  int
	}{{"2026-03-01", 0, 0}, {"2026-03-02", 11_000_000, 2}, {"2026-03-03", 11_000_000, 3}, {"2026-03-04", 12_000_000, 3}} {
		costs, err := l.Costs(t.Context(), day("2026-03-01"), day("2026-03-03"), day(c.known))
		if err != nil {
			t.Fatal(err)
		}
		var got features.Micros
		for _, k := range costs {
			if k.Channel == "wechat" && k.Day == day("2026-03-01") {
				got += k.Micros
			}
		}
		if got != c.want || len(costs) != c.rows {
			t.Errorf("known before %s: wechat on 1 March cost %s of %d costs, want %s of %d", c.known, got, len(costs), c.want, c.rows)
		}
	}
}

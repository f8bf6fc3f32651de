package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"perennial/experiments"
)

const couponForm = `key: coupon-form
name: {zh: 优惠形式, en: Coupon form}
salt: coupon-2026
control: none
variants:
  - {key: none, weight: 1}
  - {key: spend, weight: 1, payload: {type: number, value: 2.0}}
`

// The life of an experiment from the shell; every step prints the experiment with --json.
func TestExperimentFromTheShell(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "coupon.yaml", couponForm)
	write(t, "patch.json", `{"hypothesis":"满减更赚钱"}`)
	step := func(args ...string) experiments.Experiment {
		t.Helper()
		var e experiments.Experiment
		if err := json.Unmarshal([]byte(must(t, append([]string{"experiment", "--json"}, args...)...)), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := step("create", "coupon.yaml"); e.Status != experiments.Draft || string(e.Variants[1].Payload.Value) != "2.0" {
		t.Errorf("create = %+v, want a draft whose payload is still 2.0", e)
	}
	if e := step("start", "coupon-form"); e.Status != experiments.Running {
		t.Errorf("start = %s", e.Status)
	}
	if e := step("ramp", "coupon-form", "--coverage", "0.3"); experiments.Covered(e.Allocation) != 30_000 || e.AllocationRevision != 2 {
		t.Errorf("ramp = %+v", e.Allocation)
	}
	if e := step("edit", "coupon-form", "patch.json", "--if-revision", "3"); e.Hypothesis == "" || e.Revision != 4 {
		t.Errorf("edit = %+v", e)
	}
	if e := step("decide", "coupon-form", "--variant", "spend", "--reason", "profit"); e.Decision == nil || e.Decision.Variant != "spend" {
		t.Errorf("decide = %+v", e.Decision)
	}
	step("stop", "coupon-form")
	if e := step("show", "coupon-form", "--revision", "1"); e.Status != experiments.Draft {
		t.Errorf("show --revision 1 = %s, want the draft", e.Status)
	}
	step("archive", "coupon-form")
	if out := must(t, "experiment", "list", "--status", "archived"); !strings.Contains(out, "coupon-form") || !strings.Contains(out, "0.3") {
		t.Errorf("list = %s", out)
	}
	for _, c := range []struct {
		code  int
		names string
		args  []string
	}{
		{1, "revision 7", []string{"experiment", "edit", "coupon-form", "patch.json", "--if-revision", "2"}},
		{1, "status", []string{"experiment", "start", "coupon-form"}},
		{1, "not found", []string{"experiment", "start", "nothing"}},
		{1, "key is taken", []string{"experiment", "create", "coupon.yaml"}},
		{1, "revision", []string{"experiment", "show", "coupon-form", "--revision", "99"}},
		{2, "none.yaml", []string{"experiment", "create", "none.yaml"}},
		{2, "--coverage", []string{"experiment", "ramp", "coupon-form"}},
		{1, "key", []string{"keys", "revoke", "nothing"}},
	} {
		if code, _, stderr := call(t, c.args...); code != c.code || !strings.Contains(stderr, c.names) {
			t.Errorf("perennial %s = exit %d %q, want %d naming %q", strings.Join(c.args, " "), code, stderr, c.code, c.names)
		}
	}
}

func TestKeysFromTheShell(t *testing.T) {
	t.Chdir(t.TempDir())
	var k struct{ ID, Role, Key string }
	if err := json.Unmarshal([]byte(must(t, "keys", "create", "--role", "client", "--name", "shop", "--json")), &k); err != nil {
		t.Fatal(err)
	}
	if k.Role != "client" || !strings.HasPrefix(k.Key, "pk_client_") {
		t.Errorf("keys create = id %q role %q and a key that begins %.10q", k.ID, k.Role, k.Key)
	}
	must(t, "keys", "revoke", k.ID)
	out := must(t, "keys", "list", "--json")
	if !strings.Contains(out, k.ID) || !strings.Contains(out, "revoked_at") || strings.Contains(out, k.Key) {
		t.Errorf("keys list = %s, want the revoked key without its secret", out)
	}
	files, err := filepath.Glob("data/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if raw, err := os.ReadFile(name); err == nil && strings.Contains(string(raw), k.Key) {
			t.Errorf("the secret stands in %s", name)
		}
	}
}

// A list test: every unit is in the file of the arm that its bucket owns, and the exposures are events that import takes once.
func TestExperimentAudience(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "coupon.yaml", couponForm)
	var list strings.Builder
	list.WriteString("name,unit_id\n")
	for i := range 500 {
		fmt.Fprintf(&list, "N,user-%d\n", i%400)
	}
	write(t, "units.csv", list.String())
	must(t, "experiment", "create", "coupon.yaml")
	if code, _, stderr := call(t, "experiment", "audience", "coupon-form", "--out", "lists", "--units", "units.csv"); code != 1 || !strings.Contains(stderr, "experiment start") {
		t.Errorf("audience of a draft = exit %d %s, want 1 and the next step", code, stderr)
	}
	must(t, "experiment", "start", "coupon-form")
	must(t, "experiment", "ramp", "coupon-form", "--coverage", "0.5")
	out := must(t, "experiment", "audience", "coupon-form", "--out", "lists", "--units", "units.csv", "--json")
	var doc struct {
		Units int
		Arms  []struct {
			Variant, File string
			Units         int
		}
		LeftOut   map[string]int `json:"left_out"`
		Exposures string
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	in := 0
	for i, arm := range doc.Arms {
		f, err := os.Open(arm.File)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil || len(rows) != arm.Units+1 {
			t.Fatalf("%s: %d rows, %v, want %d and a header", arm.File, len(rows), err, arm.Units)
		}
		for _, row := range rows[1:] {
			if b := experiments.Bucket("coupon-2026", row[0]); b < i*50_000 || b >= i*50_000+25_000 || row[1] != arm.Variant {
				t.Errorf("%v of bucket %d is in the file of %s", row, b, arm.Variant)
			}
		}
		in += arm.Units
	}
	if doc.Units != 400 || in+doc.LeftOut["not_enrolled"] != 400 || in < 140 || in > 260 {
		t.Errorf("%d of %d units are in, left out %v", in, doc.Units, doc.LeftOut)
	}
	for _, want := range []string{fmt.Sprintf(`"events":%d`, in), fmt.Sprintf(`"duplicate":%d`, in)} {
		if got := must(t, "import", "events", doc.Exposures, "--json"); !strings.Contains(strings.ReplaceAll(got, " ", ""), want) {
			t.Errorf("import events = %s, want %s", got, want)
		}
	}
	if files, _ := filepath.Glob("lists/*"); len(files) != 3 || slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, ".new") }) {
		t.Errorf("files %v", files)
	}
}

func TestReadUnits(t *testing.T) {
	for in, want := range map[string]string{"u1\nu2\n": "u1 u2", "user_id,name\nu1,A\n,B\nu2,C\n": "u1 u2", "\ufeffunit_id\r\nu1\r\n": "u1", "a,unit_id\nx,u1\nshort\n": "u1", "\"a,b\"\n": "a,b", "": ""} {
		got, err := readUnits(strings.NewReader(in))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("readUnits(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

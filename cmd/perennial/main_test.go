package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary stand in for the program, so that a test can kill it.
func TestMain(m *testing.M) {
	if os.Getenv("PERENNIAL_TEST_IS_PROGRAM") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// call runs a command in this process and returns its exit code and what it printed.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// must runs a command that has to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := call(t, args...)
	if code != 0 {
		t.Fatalf("perennial %s = exit %d, want 0: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	files := 0
	config := func(text string) string {
		files++
		name := filepath.Join(dir, fmt.Sprintf("%d.yaml", files))
		write(t, name, text)
		return name
	}
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		names string // what stderr or stdout has to name
	}{
		{"help", []string{"--help"}, 0, "nightly"},
		{"help of a command has examples", []string{"demo", "--help"}, 0, "Examples:"},
		{"version", []string{"version"}, 0, version},
		{"no command", nil, 2, "--help"},
		{"unknown command", []string{"frobnicate"}, 2, "frobnicate"},
		{"unknown flag", []string{"version", "--loud"}, 2, "--loud"},
		{"unknown key", []string{"version", "--config", config("timezone: UTC\ncolour: red\n")}, 2, `"colour"`},
		{"broken YAML", []string{"version", "--config", config("timezone: [UTC\n")}, 2, "config"},
		{"no such file", []string{"version", "--config", filepath.Join(dir, "missing.yaml")}, 2, "missing.yaml"},
		{"bad zone", []string{"version", "--config", config("timezone: Mars/Olympus\n")}, 2, "timezone"},
		{"bad currency", []string{"version", "--config", config("currency: pounds\n")}, 2, "currency"},
		{"margin in percent", []string{"version", "--config", config("margin_rate: 30\n")}, 2, "margin_rate"},
		{"bad clock", []string{"version", "--config", config("clock: yesterday\n")}, 2, "clock"},
		{"bad memory", []string{"version", "--config", config("memory: lots\n")}, 2, "memory"},
		{"good file", []string{"version", "--config", config("timezone: Europe/London\ncurrency: GBP\nmemory: 512MB\n")}, 0, version},
		{"impossible date", []string{"features", "--as-of", "2011-02-30", "--data", filepath.Join(dir, "d")}, 2, "2011-02-30"},
		{"file that is not there", []string{"import", "events", filepath.Join(dir, "none.csv"), "--data", filepath.Join(dir, "d")}, 2, "none.csv"},
		{"analyze without a file", []string{"analyze"}, 2, "FILE"},
		{"train of an unknown target", []string{"train", "weather", "--train-as-of", "2011-07-01", "--test-as-of", "2011-10-01", "--horizon", "60d", "--data", filepath.Join(dir, "d")}, 2, "weather"},
		{"key of an unknown role", []string{"keys", "create", "--role", "king", "--data", filepath.Join(dir, "d")}, 2, "role"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := call(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.names) {
				t.Errorf("perennial %s = exit %d, want %d, naming %q; it said: %s%s", strings.Join(c.args, " "), code, c.code, c.names, stdout, stderr)
			}
		})
	}
}

// TestProblemOnStdout: with --json a failure is a document that programs can read, too.
func TestProblemOnStdout(t *testing.T) {
	code, stdout, _ := call(t, "features", "--as-of", "2011-02-30", "--json", "--data", t.TempDir())
	var doc struct{ Detail string }
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 2 || !strings.Contains(doc.Detail, "2011-02-30") {
		t.Errorf("features --json with a bad date = exit %d, %q (%v), want 2 and a document that names it", code, stdout, err)
	}
}

func TestConfigPrecedence(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "perennial.yaml", "currency: EUR\n")
	for _, c := range []struct {
		name, inData, env, flag, want string
	}{
		{"the working directory's file", "", "", "", "EUR"},
		{"the data directory's file", "currency: GBP\n", "", "", "GBP"},
		{"the named file", "currency: GBP\n", "", "currency: USD\n", "USD"},
		{"the environment over files", "currency: GBP\n", "JPY", "currency: USD\n", "JPY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, named := filepath.Join(dir, "data"), ""
			os.RemoveAll(data)
			if c.inData != "" {
				write(t, filepath.Join(data, "perennial.yaml"), c.inData)
			}
			if c.flag != "" {
				named = filepath.Join(dir, "named.yaml")
				write(t, named, c.flag)
			}
			if c.env != "" {
				t.Setenv("PERENNIAL_CURRENCY", c.env)
			}
			got, err := loadConfig(configPath(named, data))
			if err != nil || got.Currency != c.want {
				t.Errorf("currency = %q (%v), want %q", got.Currency, err, c.want)
			}
		})
	}
}

// TestConfigEngine: an engine that is not there, and a cluster without its address, are refused when the configuration is read.
func TestConfigEngine(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range []struct{ name, text, want string }{
		{"the default", "", ""},
		{"a cluster", "engine: trino\ntrino_url: http://perennial@localhost:8080\n", ""},
		{"an unknown engine", "engine: spark\n", "engine"},
		{"a cluster without an address", "engine: trino\n", "trino_url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, "perennial.yaml", c.text)
			got, err := loadConfig("")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("loadConfig of %q: %v, want an error about %q", c.text, err, c.want)
			}
			if err == nil && (got.TrinoCatalog != "hive" || got.TrinoSchema != "perennial" || got.TrinoLocation != "local:///") {
				t.Errorf("defaults of the cluster are %q %q %q", got.TrinoCatalog, got.TrinoSchema, got.TrinoLocation)
			}
		})
	}
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	must(t, "init", "--data", filepath.Join(dir, "data"))
	if info, err := os.Stat(filepath.Join(dir, "data")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v, want mode 0700", info, err)
	}
	written, err := loadConfig("perennial.yaml")
	if err != nil {
		t.Fatalf("loadConfig of what init wrote: %v", err)
	}
	if err := os.Remove("perennial.yaml"); err != nil {
		t.Fatal(err)
	}
	defaults, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if written.Currency != defaults.Currency || written.Timezone != defaults.Timezone || written.MarginRate != defaults.MarginRate ||
		written.Memory != defaults.Memory || written.RefundMaturityDays != defaults.RefundMaturityDays {
		t.Errorf("init writes %+v, the defaults are %+v", written, defaults)
	}
	must(t, "init")
	if code, _, stderr := call(t, "init"); code != 2 || !strings.Contains(stderr, "--force") {
		t.Errorf("init over a file = exit %d %q, want 2 and a word about --force", code, stderr)
	}
	must(t, "init", "--force")
}

package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureRooms hold arithmetic and definitions: no network, no database, no web framework, no driver and no files of the operating system.
var pureRooms = []string{"experiments", "experiments/stats", "features", "models", "models/btyd", "models/gbdt", "models/eval", "models/uplift"}

// impureImports are what a pure room may not see of the standard library; drivers are in technologies.
var impureImports = []string{"net/http", "net", "database/sql", "os", "os/exec", "io/ioutil", "syscall"}

// technologies name the rooms that may import a module. "cmd/perennial" opens drivers and hands them down, so it is listed where it does.
var technologies = []struct {
	module string
	rooms  []string
}{
	{"github.com/jmoiron/sqlx", []string{"experiments/sqlstore", "features/lake", "cmd/perennial"}},
	{"github.com/mattn/go-sqlite3", []string{"experiments/sqlstore", "features/lake", "cmd/perennial"}},
	{"github.com/jackc/pgx/v5", []string{"experiments/sqlstore", "features/lake", "cmd/perennial"}},
	{"github.com/pressly/goose/v3", []string{"experiments/sqlstore", "features/lake"}},
	{"database/sql", []string{"experiments/sqlstore", "features/lake", "features/warehouse", "cmd/perennial"}},
	{"github.com/Unleash/unleash-client-go", []string{"experiments/unleash"}},
	{"github.com/sjwhitworth/golearn", []string{"models/golearn"}},
	{"github.com/duckdb", []string{"features/lake", "features/vectors", "features/warehouse", "cmd/perennial"}},
	{"github.com/trinodb/trino-go-client", []string{"features/warehouse", "cmd/perennial"}},
	{"github.com/cockroachdb/pebble", []string{"features/lake"}},
	{"github.com/gin-gonic/gin", []string{"api", "experiments/unleash"}},
	{"github.com/danielgtaylor/huma", []string{"api"}},
	{"github.com/alexedwards/scs", []string{"api"}},
	{"github.com/coreos/go-oidc", []string{"api"}},
	{"github.com/prometheus", []string{"api", "cmd/perennial"}},
	{"github.com/alecthomas/kong", []string{"cmd/perennial"}},
	{"github.com/knadh/koanf", []string{"cmd/perennial"}},
	{"github.com/vbauerster/mpb", []string{"cmd/perennial"}},
}

// clientModules are the modules that api/client may import beside the standard library: neither a web framework nor a driver.
var clientModules = []string{"github.com/open-feature/go-sdk/openfeature", "github.com/google/uuid"}

// imported is one import of the repository, as its own source says it.
type imported struct {
	room string // folder below the module's root, such as "features/lake"
	file string
	path string
	test bool // in a _test.go file
}

// breach returns the rule that an import breaks, or "". Tests of a room may use real components (a real handler, a driver, a file), so only
// the direction between our own rooms binds them.
func breach(i imported) string {
	if own, ok := strings.CutPrefix(i.path, "perennial/"); ok {
		return direction(i.room, own)
	}
	if i.test {
		return ""
	}
	if slices.Contains(pureRooms, i.room) {
		for _, bad := range impureImports {
			if i.path == bad {
				return fmt.Sprintf("%s is pure: it may not import %s", i.room, i.path)
			}
		}
	}
	if i.room == "api/client" && strings.Contains(i.path, ".") && !slices.Contains(clientModules, i.path) {
		return fmt.Sprintf("api/client stands on the standard library and may not import %s", i.path)
	}
	for _, t := range technologies {
		if within(i.path, t.module) && !slices.ContainsFunc(t.rooms, func(room string) bool { return within(i.room, room) }) {
			return fmt.Sprintf("%s is imported only by %s, not by %s", t.module, strings.Join(t.rooms, ", "), i.room)
		}
	}
	return ""
}

// direction returns the rule that an import of one of our rooms by another breaks, or "".
func direction(from, to string) string {
	switch {
	case from == to: // a test from outside its package
		return ""
	case within(to, "cmd"):
		return fmt.Sprintf("nobody imports cmd, not %s either", from)
	case within(from, "cmd"):
		return ""
	case from == "api/client" && within(to, "api") && to != from:
		return "api/client is for other people's programs: it may not import the server"
	case within(from, "api"):
		if within(to, "features/warehouse") || within(to, "models") {
			return fmt.Sprintf("%s asks through api.Options and may not import %s", from, to)
		}
	case within(from, "experiments"):
		if !within(to, "experiments") {
			return fmt.Sprintf("%s knows experiments only and may not import %s", from, to)
		}
		if slices.Contains(pureRooms, from) && (within(to, "experiments/sqlstore") || within(to, "experiments/unleash")) {
			return fmt.Sprintf("%s is pure and may not import %s", from, to)
		}
	case within(from, "features"):
		if !within(to, "features") {
			return fmt.Sprintf("%s knows features only and may not import %s", from, to)
		}
		if from == "features" {
			return fmt.Sprintf("features is the innermost room of its house and may not import %s", to)
		}
	case within(from, "models"):
		if !within(to, "models") {
			return fmt.Sprintf("%s sees frames of numbers only and may not import %s", from, to)
		}
	}
	return ""
}

// within says whether a path is a folder or lies below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// imports parses every Go file below root, whatever its build tags, and returns what it imports.
func imports(root string) ([]imported, error) {
	var all []imported
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || slices.Contains([]string{"node_modules", "testdata", "build", "bin", "data"}, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		for _, spec := range file.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{room: path.Dir(rel), file: rel, path: p, test: strings.HasSuffix(base, "_test.go")})
		}
		return nil
	})
	return all, err
}

// TestArchitecture holds every import of the repository against DESIGN §3.
func TestArchitecture(t *testing.T) {
	all, err := imports(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("imports found %d imports: the walk is broken", len(all))
	}
	for _, i := range all {
		if rule := breach(i); rule != "" {
			t.Errorf("%s imports %q: %s", i.file, i.path, rule)
		}
	}
}

// TestArchitectureRules shows that each rule refuses what it is for and lets its neighbour pass.
func TestArchitectureRules(t *testing.T) {
	for _, c := range []struct {
		name       string
		room, path string
		test, bad  bool
	}{
		{"a pure room with a web client", "experiments", "net/http", false, true},
		{"a pure room with a database", "experiments/stats", "database/sql", false, true},
		{"a pure room with gin", "features", "github.com/gin-gonic/gin", false, true},
		{"a pure room that opens files", "models/gbdt", "os", false, true},
		{"a pure room with mathematics", "models/gbdt", "math", false, false},
		{"a pure room with gonum", "experiments/stats", "gonum.org/v1/gonum/stat/distuv", false, false},
		{"the test of a pure room reads its golden file", "experiments", "os", true, false},
		{"DuckDB in the models", "models", "github.com/duckdb/duckdb-go/v2", false, true},
		{"DuckDB in the warehouse", "features/warehouse", "github.com/duckdb/duckdb-go/v2", false, false},
		{"Pebble outside the lake", "features/warehouse", "github.com/cockroachdb/pebble/v2", false, true},
		{"Pebble in the lake", "features/lake", "github.com/cockroachdb/pebble/v2", false, false},
		{"sqlx in the API", "api", "github.com/jmoiron/sqlx", false, true},
		{"gin in a store", "experiments/sqlstore", "github.com/gin-gonic/gin", false, true},
		{"gin in the client of other programs", "api/client", "github.com/gin-gonic/gin/render", false, true},
		{"a driver in the client of other programs", "api/client", "github.com/duckdb/duckdb-go/v2", false, true},
		{"golearn in its room", "models/golearn", "github.com/sjwhitworth/golearn/trees", false, false},
		{"golearn elsewhere", "models", "github.com/sjwhitworth/golearn/trees", false, true},
		{"a module whose name only begins alike", "api", "github.com/duckdbx/other", false, false},
		{"experiments import features", "experiments", "perennial/features", false, true},
		{"a test of experiments imports features", "experiments", "perennial/features", true, true},
		{"features import experiments", "features/warehouse", "perennial/experiments", false, true},
		{"an outside test of features", "features", "perennial/features", true, false},
		{"features import their lake", "features", "perennial/features/lake", false, true},
		{"the warehouse imports the lake", "features/warehouse", "perennial/features/lake", false, false},
		{"models import features", "models", "perennial/features", false, true},
		{"pure experiments import their store", "experiments", "perennial/experiments/sqlstore", false, true},
		{"the store imports experiments", "experiments/sqlstore", "perennial/experiments", false, false},
		{"the API imports the warehouse", "api", "perennial/features/warehouse", false, true},
		{"the API imports models", "api", "perennial/models", false, true},
		{"the API imports the lake", "api", "perennial/features/lake", false, false},
		{"the API's client imports the API", "api/client", "perennial/api", false, true},
		{"the API's client imports the pure experiments", "api/client", "perennial/experiments", false, false},
		{"the API imports cmd", "api", "perennial/cmd/perennial", false, true},
		{"cmd imports everybody", "cmd/perennial", "perennial/models/golearn", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule := breach(imported{room: c.room, path: c.path, test: c.test})
			if (rule != "") != c.bad {
				t.Errorf("breach(%s imports %s) = %q, want a breach: %v", c.room, c.path, rule, c.bad)
			}
		})
	}
}

// TestArchitectureReadsFiles shows that the walk sees files behind build tags and in new folders, and none of testdata.
func TestArchitectureReadsFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "experiments", "hidden.go"), "//go:build never\n\npackage experiments\n\nimport _ \"net/http\"\n")
	write(t, filepath.Join(dir, "experiments", "testdata", "x.go"), "package x\n\nimport _ \"net/http\"\n")
	write(t, filepath.Join(dir, "features", "new", "deep.go"), "package deep\n\nimport _ \"perennial/experiments\"\n")
	all, err := imports(dir)
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for _, i := range all {
		if breach(i) != "" {
			bad = append(bad, i.file)
		}
	}
	if want := []string{"experiments/hidden.go", "features/new/deep.go"}; !slices.Equal(bad, want) {
		t.Errorf("files in breach = %v, want %v", bad, want)
	}
}

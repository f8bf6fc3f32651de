package lake_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/duckdb/duckdb-go/v2"

	"perennial/features/lake"
)

// Databases that spill at the same time have directories of their own, which go with them, and what a killed process left goes with the next one.
func TestScratchIsOfOneDatabase(t *testing.T) {
	temp := t.TempDir()
	left := filepath.Join(temp, "spill-0")
	if err := os.MkdirAll(filepath.Join(left, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	var closers []func() error
	for range 2 {
		c, err := duckdb.NewConnector("", nil)
		if err != nil {
			t.Fatal(err)
		}
		db, dir, err := lake.OpenScratch(c, temp)
		if err != nil {
			t.Fatal(err)
		}
		dirs, closers = append(dirs, dir), append(closers, db.Close)
		for _, set := range []string{"SET temp_directory = '" + dir + "'", "SET memory_limit = '60MiB'", "SET threads = 1",
			"CREATE TABLE t AS SELECT md5(range::VARCHAR) || md5((range + 1)::VARCHAR) AS s FROM range(2000000)"} {
			if _, err := db.Exec(set); err != nil {
				t.Fatal(err)
			}
		}
		if spilled, _ := filepath.Glob(filepath.Join(dir, "duckdb_temp_storage*")); len(spilled) == 0 {
			t.Error("nothing is spilled: the test looks at too little")
		}
	}
	if dirs[0] == dirs[1] {
		t.Errorf("two databases spill into %s", dirs[0])
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what a killed process left is still there")
	}
	for _, end := range closers {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	if rest, _ := os.ReadDir(temp); len(rest) > 0 {
		t.Errorf("%d entries are left, first %s", len(rest), rest[0].Name())
	}
}

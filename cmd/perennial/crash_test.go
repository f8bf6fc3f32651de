package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// shopFile writes the invoice lines of every eighth customer of the shipped data as CSV.
func shopFile(t *testing.T, name string) {
	t.Helper()
	raw, err := demoFiles.ReadFile("demo/online_retail.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(unzipped).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const customer = 6
	kept := lines[:1]
	for _, line := range lines[1:] {
		if id := line[customer]; id != "" && id[len(id)-1] == '7' {
			kept = append(kept, line)
		}
	}
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := csv.NewWriter(file).WriteAll(kept); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// killed starts a command in a process of its own and kills it after a while. It returns whether the command ended before.
func killed(t *testing.T, after time.Duration, args ...string) (ended bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		cmd.Wait()
	}()
	select {
	case <-over:
		return true
	case <-time.After(after):
		if err := cmd.Process.Kill(); err != nil {
			t.Logf("kill: %v", err)
		}
		<-over
		return false
	}
}

// untilDone kills a command after a while, starts it again and gives it 1.7 times as long, until it gets to its end. It returns how often
// it was killed.
func untilDone(t *testing.T, after time.Duration, args ...string) (kills int) {
	t.Helper()
	for after < 5*time.Minute {
		if killed(t, after, args...) {
			return kills
		}
		after, kills = after*17/10, kills+1
	}
	t.Fatalf("perennial %v does not end", args)
	return kills
}

// read returns a file's bytes.
func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestKill9 kills the import and the night again and again, each time a little later, and compares with a run that nobody disturbed: the
// stored events and the published scores have the same bytes.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	config := filepath.Join(dir, "perennial.yaml")
	write(t, config, "currency: GBP\nclock: 2011-12-10T00:00:00Z\n")
	shopFile(t, "shop.csv")
	outcome := func(name string, disturb bool) (events, scores []byte) {
		data := filepath.Join(dir, name)
		load := []string{"import", "events", "shop.csv", "--preset", "online-retail", "--data", data, "--config", config}
		night := []string{"nightly", "--as-of", "2011-11-01", "--data", data, "--config", config}
		kills := [2]int{}
		if disturb {
			kills[0] = untilDone(t, 40*time.Millisecond, load...)
			kills[1] = untilDone(t, 150*time.Millisecond, night...)
			if kills[0] < 2 || kills[1] < 2 {
				t.Errorf("the import was killed %d times and the night %d times: too fast to show anything", kills[0], kills[1])
			}
		}
		must(t, load...)
		must(t, night...)
		for _, what := range []string{"events", "scores"} {
			args := []string{"export", what, "--out", name + "-" + what + ".ndjson", "--data", data, "--config", config}
			if what == "scores" {
				args = append(args, "--as-of", "2011-11-01")
			}
			must(t, args...)
		}
		t.Logf("%s: killed %v times", name, kills)
		return read(t, name+"-events.ndjson"), read(t, name+"-scores.ndjson")
	}
	events, scores := outcome("calm", false)
	if n := bytes.Count(events, []byte("\n")); n < 1000 {
		t.Fatalf("%d events", n)
	}
	gotEvents, gotScores := outcome("killed", true)
	if !bytes.Equal(events, gotEvents) {
		t.Errorf("events differ after kill -9: %s", difference(events, gotEvents))
	}
	if !bytes.Equal(scores, gotScores) {
		t.Errorf("scores differ after kill -9: %s", difference(scores, gotScores))
	}
}

// difference tells the first line in which two texts differ.
func difference(want, got []byte) string {
	a, b := bytes.Split(want, []byte("\n")), bytes.Split(got, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("line %d is %.300s, want %.300s", i+1, b[i], a[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(b), len(a))
}

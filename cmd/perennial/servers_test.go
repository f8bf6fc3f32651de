package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"perennial/features/lake"
)

// A killed server holds the night, which says since when it is not heard and what can be done; retiring it seals what its journal holds. A journal that is gone is let go only
// when that is accepted, a server that is heard never, and one that comes back takes part again.
func TestRetireServer(t *testing.T) {
	db, dir, one, two := sharedLake(t)
	data := filepath.Join(dir, "data")
	client := one.key("client")
	one.start()
	two.start()
	n := 0
	send := func() {
		t.Helper()
		for range 5 {
			n++
			two.must(client, "POST", "/v1/events", fmt.Sprintf(`[{"event_id":"e%d","user_id":"u","event":"Page Viewed","ts":%q}]`, n, time.Now().UTC().Format(time.RFC3339)))
		}
	}
	// says runs a command on server one and returns its exit code and everything that it prints.
	says := func(args ...string) (int, string) {
		c := exec.Command(os.Args[0], append(args, one.args...)...)
		c.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
		out, _ := c.CombinedOutput()
		return c.ProcessState.ExitCode(), string(out)
	}
	expect := func(what string, code int, args []string, words ...string) {
		t.Helper()
		got, said := says(args...)
		for _, w := range words {
			if word, not := strings.CutPrefix(w, "!"); not == strings.Contains(said, word) {
				t.Errorf("%s: perennial %v says %s\nwant %q", what, args, said, w)
			}
		}
		if got != code && code >= 0 {
			t.Errorf("%s: perennial %v = exit %d, want %d: %s", what, args, got, code, said)
		}
	}
	list := func(want string) {
		t.Helper()
		var doc struct{ Servers []lake.ServerJournal }
		if err := json.Unmarshal(one.program("servers", "list", "--json"), &doc); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, s := range doc.Servers {
			text += s.Server + " " + s.Status + " "
		}
		if strings.TrimSpace(text) != want {
			t.Errorf("servers: %s; want %s", text, want)
		}
	}
	control, err := sqlx.Open("pgx", db.Address("shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	twoDays := func() { // pass by for what is known of server two
		t.Helper()
		if _, err := control.Exec(`UPDATE lake.journals SET seen_us = seen_us - 172800000000, sealed_us = greatest(0, sealed_us - 172800000000) WHERE name = 'two'`); err != nil {
			t.Fatal(err)
		}
	}
	night := []string{"nightly", "--wait", "1s", "--as-of", time.Now().UTC().Format(time.DateOnly)}
	journal, away := filepath.Join(data, "servers", "two", "journal"), filepath.Join(dir, "away")

	send()
	two.kill()
	list("one running two running")
	expect("just killed", 1, []string{"servers", "retire", "two"}, "server two is running")
	twoDays()
	list("one running two silent")
	expect("a silent server", 1, night, "incomplete: two: ", "two: not heard since ", "sealed up to nothing yet", "--without two", "perennial servers retire two", "!one:")
	expect("a silent server", 0, []string{"doctor"}, "two: not heard since ", "one: running", "perennial servers retire two")
	expect("an unknown server", 1, []string{"servers", "retire", "three"}, `"three"`)
	expect("the server itself", 1, []string{"servers", "retire", "one"}, "server one is running")
	if err := os.Rename(journal, away); err != nil {
		t.Fatal(err)
	}
	expect("a journal that is not there", 1, []string{"servers", "retire", "two"}, "it would be lost", "--accept-loss", journal)
	list("one running two silent")
	if err := os.Rename(away, journal); err != nil {
		t.Fatal(err)
	}
	expect("a journal that is there", 0, []string{"servers", "retire", "two"}, "two: stopped, sealed up to 2", "is retired; everything that it acknowledged is sealed")
	list("one running two retired")
	if got := strings.Count(string(one.program("export", "events")), "\n"); got != n {
		t.Errorf("%d events come out after the retirement, %d were acknowledged", got, n)
	}
	expect("without it", -1, night, "!incomplete")
	expect("without it", 0, []string{"doctor"}, "!two:", "one: running")

	two.start()
	list("one running two running")
	send()
	two.kill()
	if err := os.RemoveAll(journal); err != nil {
		t.Fatal(err)
	}
	twoDays()
	two.start() // with a new journal
	list("one running two silent two running")
	expect("a lost journal of a server that runs", 1, night, "incomplete: two: ")
	expect("a lost journal of a server that runs", 1, []string{"servers", "retire", "two"}, "it would be lost")
	expect("a lost journal of a server that runs", 0, []string{"servers", "retire", "two", "--accept-loss"}, "two: not heard since ", "is lost")
	list("one running two retired two running")
	expect("the rest", -1, night, "!incomplete")
	if got := strings.Count(string(one.program("export", "events")), "\n"); got != n-5 {
		t.Errorf("%d events come out, want the %d that were not in the lost journal", got, n-5)
	}

	twoDays()
	soon(t, "a heartbeat of server two", 20*time.Second, func() bool { return strings.Contains(string(one.program("servers", "list")), "two     running") })

	alone := []string{"--data", filepath.Join(dir, "alone")}
	if code, _, said := call(t, append([]string{"servers", "list"}, alone...)...); code != 0 || !strings.Contains(said, "one server") {
		t.Errorf("servers list of one server = exit %d, %s", code, said)
	}
	if code, _, said := call(t, append([]string{"servers", "retire", "two"}, alone...)...); code != 2 || !strings.Contains(said, "one server") {
		t.Errorf("servers retire of one server = exit %d, %s", code, said)
	}
}

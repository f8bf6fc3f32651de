package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// exportedAs is what a data directory holds, without when it was received, of the events whose id begins with a prefix.
func exportedAs(t *testing.T, ndjson, prefix string) string {
	t.Helper()
	var kept strings.Builder
	for line := range strings.Lines(ndjson) {
		if strings.Contains(line, `"event_id":"`+prefix) {
			kept.WriteString(line)
		}
	}
	return withoutReceived(t, kept.String())
}

// The commands beside a running server give the same counts and the same events as without one, while events arrive over HTTP; the same again is all
// duplicates. The server is killed in the end, and everything that it had answered for is there.
func TestImportBesideRunningServer(t *testing.T) {
	dir := t.TempDir()
	orders, members, ads := filepath.Join(dir, "orders.csv"), filepath.Join(dir, "members.csv"), filepath.Join(dir, "ads.csv")
	var text strings.Builder
	text.WriteString("event_id,user_id,ts,value,order_id\n")
	for i := range 4_000 {
		fmt.Fprintf(&text, "file-%d,u%d,2026-0%d-%02dT10:00:00Z,%d.25,o%d\n", i, i%97, i%9+1, i%28+1, i%50, i)
	}
	text.WriteString("file-x,u1,2026-02-30,1,o\n")
	write(t, orders, text.String())
	write(t, members, "user_id,city\nu1,Köln\nu2,<Rom>\n")
	write(t, ads, "day,channel,cost\n2026-01-02,ads,10.5\n2026-01-03,ads,11\n")
	config := filepath.Join(dir, "perennial.yaml")
	write(t, config, "currency: CNY\n")
	alone := &process{t: t, args: []string{"--data", filepath.Join(dir, "alone"), "--config", config}}
	beside := &process{t: t, args: []string{"--data", filepath.Join(dir, "beside"), "--config", config}}
	client := beside.key("client")
	beside.start()
	var stop atomic.Bool
	var live sync.WaitGroup
	acknowledged := 0
	live.Go(func() {
		for ; !stop.Load(); acknowledged++ {
			beside.must(client, "POST", "/v1/events", fmt.Sprintf(`[{"event_id":"live-%d","user_id":"v","event":"Page Viewed","ts":%q}]`, acknowledged, time.Now().UTC().Format(time.RFC3339)))
		}
	})
	imported := func(p *process, args ...string) (said importResult) {
		t.Helper()
		if err := json.Unmarshal(p.program(append(append([]string{"import"}, args...), "--json")...), &said); err != nil {
			t.Fatal(err)
		}
		if said.RejectsFile != nil {
			if raw, err := os.ReadFile(*said.RejectsFile); err != nil || !strings.Contains(string(raw), `"line":4002,"field":"ts"`) {
				t.Errorf("rejects %s, %v", raw, err)
			}
		}
		said.RejectsFile = nil
		return said
	}
	text.Reset()
	for _, args := range [][]string{{"events", orders, "--lag", "26h"}, {"events", orders, "--lag", "26h"}, {"users", members}, {"users", members}, {"costs", ads}, {"costs", ads}} {
		a, b := fmt.Sprintf("%+v", asJSON(t, imported(alone, args...))), fmt.Sprintf("%+v", asJSON(t, imported(beside, args...)))
		if a != b {
			t.Errorf("import %v says beside the server\n%s\nwithout\n%s", args, b, a)
		}
		text.WriteString(b + "\n")
	}
	const want = `"rows":4001,"events":4000,"duplicate":0,"rejected":1`
	if !strings.Contains(text.String(), want) || !strings.Contains(text.String(), `"rows":4001,"events":0,"duplicate":4000,"rejected":1`) {
		t.Errorf("the imports say\n%swant first %s and then duplicates", text.String(), want)
	}
	stop.Store(true)
	live.Wait()
	beside.kill()
	got, expected := string(beside.program("export", "events")), string(alone.program("export", "events"))
	if a, b := exportedAs(t, got, "file-"), exportedAs(t, expected, "file-"); a != b || strings.Count(a, "\n") != 4_000 {
		t.Errorf("%d imported events come out beside the server, %d without, or other ones", strings.Count(a, "\n"), strings.Count(b, "\n"))
	}
	if n := strings.Count(exportedAs(t, got, "live-"), "\n"); n != acknowledged || n < 20 {
		t.Errorf("%d live events come out, %d were acknowledged during the imports", n, acknowledged)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

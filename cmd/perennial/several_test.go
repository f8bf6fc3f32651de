package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perennial/experiments/sqlstore/postgrestest"
)

// process is `perennial serve` in a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	args []string // --data and --config
}

// program runs a command of the binary to its end and returns its output.
func (p *process) program(args ...string) []byte {
	p.t.Helper()
	c := exec.Command(os.Args[0], append(args, p.args...)...)
	c.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("perennial %v: %v", args, err)
	}
	return out
}

// start serves on a free port and returns when events can be taken.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], append([]string{"serve", "--addr", "127.0.0.1:0"}, p.args...)...)
	p.cmd.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
	said, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.kill)
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "ready on "); ok {
			p.base, _, _ = strings.Cut(rest, " ")
			go io.Copy(io.Discard, said)
			return
		}
	}
	p.t.Fatal("the server ended before it was ready")
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// ask sends a request and returns its status and JSON.
func (p *process) ask(key, method, path, body string) (int, map[string]any) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var doc map[string]any
	json.Unmarshal(bytes.TrimSpace(raw), &doc)
	return answer.StatusCode, doc
}

// must is ask for a request that has to succeed.
func (p *process) must(key, method, path, body string) map[string]any {
	p.t.Helper()
	status, doc := p.ask(key, method, path, body)
	if status < 200 || status > 299 {
		p.t.Fatalf("%s %s = %d %v", method, path, status, doc)
	}
	return doc
}

// key makes a key of a role.
func (p *process) key(role string) string {
	p.t.Helper()
	var made struct{ Key string }
	if err := json.Unmarshal(p.program("keys", "create", "--role", role, "--json"), &made); err != nil {
		p.t.Fatal(err)
	}
	return made.Key
}

// assigned returns variant and payload of a unit in the experiment coupon.
func (p *process) assigned(key, unit string) (variant, payload string) {
	p.t.Helper()
	doc := p.must(key, "POST", "/v1/assignments", fmt.Sprintf(`{"unit_id":%q,"experiments":["coupon"],"expose":false}`, unit))
	x := doc["assignments"].([]any)[0].(map[string]any)
	variant, _ = x["variant"].(string)
	if worth, ok := x["payload"].(map[string]any); ok {
		payload, _ = worth["value"].(string)
	}
	return variant, payload
}

// soon waits for a condition and returns how long it took.
func soon(t *testing.T, what string, within time.Duration, holds func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// twoServers starts two servers, each with its own data, on one PostgreSQL, which is returned with keys of a marketer and an app.
func twoServers(t *testing.T) (one, two *process, db *postgrestest.Server, marketer, client string) {
	t.Helper()
	db, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Create("control"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "perennial.yaml")
	write(t, config, "database: "+db.Address("control")+"\n")
	one = &process{t: t, args: []string{"--data", filepath.Join(dir, "one"), "--config", config}}
	two = &process{t: t, args: []string{"--data", filepath.Join(dir, "two"), "--config", config}}
	marketer, client = one.key("marketer"), one.key("client") // before they start: a running server needs a moment to know a new key
	one.start()
	two.start()
	return one, two, db, marketer, client
}

const severalForm = `{"key":"coupon","name":"Coupon","control":"a","coverage":1,"variants":[{"key":"a","weight":1,"payload":{"type":"string","value":"a-%[1]d"}},{"key":"b","weight":1,"payload":{"type":"string","value":"b-%[1]d"}}]}`

// Two servers share one PostgreSQL. A change of one is seen by the other within a second, and whole; while the database is down both answer from the
// last good definitions, and they go on by themselves when it is back.
func TestTwoServersShareOnePostgreSQL(t *testing.T) {
	one, two, db, marketer, client := twoServers(t)
	one.must(marketer, "POST", "/v1/experiments", fmt.Sprintf(severalForm, 0))
	one.must(marketer, "POST", "/v1/experiments/coupon/start", `{}`)
	seen := soon(t, "an experiment of server one on server two", 10*time.Second, func() bool { v, _ := two.assigned(client, "u"); return v != "" })
	t.Logf("server two sees a new experiment after %v", seen)

	// Variants and payloads change together: no answer may mix two revisions, on either server.
	var stop atomic.Bool
	var mixed, answers atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			doc := two.must(client, "POST", "/v1/assignments/batch", `{"experiments":["coupon"],"units":[{"unit_id":"u1"},{"unit_id":"u2"},{"unit_id":"u3"},{"unit_id":"u4"},{"unit_id":"u5"},{"unit_id":"u6"}]}`)
			revisions := map[string]bool{}
			for _, r := range doc["results"].([]any) {
				value := r.(map[string]any)["assignments"].([]any)[0].(map[string]any)["payload"].(map[string]any)["value"].(string)
				revisions[value[2:]] = true
			}
			if len(revisions) != 1 {
				mixed.Add(1)
			}
			answers.Add(1)
		}
	}()
	slowest := time.Duration(0)
	for i := 1; i <= 8; i++ {
		one.must(marketer, "PATCH", "/v1/experiments/coupon", fmt.Sprintf(`{"variants":[{"key":"a","weight":1,"payload":{"type":"string","value":"a-%[1]d"}},{"key":"b","weight":1,"payload":{"type":"string","value":"b-%[1]d"}}]}`, i))
		want := fmt.Sprint(i)
		slowest = max(slowest, soon(t, "a change", 10*time.Second, func() bool { _, p := two.assigned(client, "u1"); return strings.HasSuffix(p, "-"+want) }))
	}
	stop.Store(true)
	<-done
	if mixed.Load() > 0 || answers.Load() == 0 {
		t.Errorf("%d of %d answers mixed two revisions", mixed.Load(), answers.Load())
	}
	t.Logf("a change is seen after %v at most (bar 1 s on a quiet machine)", slowest)
	if slowest > 3*time.Second {
		t.Errorf("a change took %v to the other server", slowest)
	}

	if err := db.Control("stop"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{one, two} {
		for i := range 20 {
			if v, worth := p.assigned(client, fmt.Sprint("while-down-", i)); v == "" || !strings.HasSuffix(worth, "-8") {
				t.Fatalf("while the database is down a server answers %q %q, want the last good definitions", v, worth)
			}
		}
	}
	if status, _ := one.ask(marketer, "POST", "/v1/experiments/coupon/ramp", `{"coverage":0.5}`); status < 500 {
		t.Errorf("a change while the database is down = %d, want an error of the server", status)
	}
	if err := db.Control("start"); err != nil {
		t.Fatal(err)
	}
	soon(t, "a change after the outage", 20*time.Second, func() bool {
		status, _ := two.ask(marketer, "POST", "/v1/experiments/coupon/stop", `{}`)
		return status == 200
	})
	soon(t, "the change of server two on server one", 20*time.Second, func() bool { v, _ := one.assigned(client, "u"); return v == "" })
}

// sharedLake starts a PostgreSQL and returns its database `shared`, a folder, and two servers that share the folder's data and the database; they are not
// started.
func sharedLake(t *testing.T) (db *postgrestest.Server, dir string, one, two *process) {
	t.Helper()
	db, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Create("shared"); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	server := func(name string) *process {
		config := filepath.Join(dir, name+".yaml")
		write(t, config, "database: "+db.Address("shared")+"\nserver: "+name+"\n")
		return &process{t: t, args: []string{"--data", filepath.Join(dir, "data"), "--config", config}}
	}
	return db, dir, server("one"), server("two")
}

// Two servers share a data directory and a PostgreSQL: 16 writers at both, resends at the other one, seals beside them, kill -9 of one. Nothing acknowledged is lost and nothing
// doubled; the night waits for every journal and names the server whose journal is not sealed; first answers and links are one.
func TestTwoServersShareOneLake(t *testing.T) {
	_, _, one, two := sharedLake(t)
	marketer, client := one.key("marketer"), one.key("client")
	one.start()
	two.start()

	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := map[string]bool{}
	send := func(p *process, ids []string) bool {
		var lines []string
		for _, id := range ids {
			lines = append(lines, fmt.Sprintf(`{"event_id":%q,"user_id":"u%s","event":"Order Completed","ts":%q,"value":1,"order_id":%q}`, id, id[len(id)-1:], time.Now().UTC().Format(time.RFC3339), id))
		}
		r, err := http.NewRequest("POST", p.base+"/v1/events", strings.NewReader("["+strings.Join(lines, ",")+"]"))
		if err != nil {
			return false
		}
		r.Header.Set("Authorization", "Bearer "+client)
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		return answer.StatusCode == http.StatusAccepted
	}
	var stop, sealing atomic.Bool
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; !stop.Load() && n < 4000; n++ {
				to, other := one, two
				if (w+n)%2 == 1 {
					to, other = two, one
				}
				ids := []string{fmt.Sprintf("w%d-%d-a", w, n), fmt.Sprintf("w%d-%d-b", w, n)}
				if send(to, ids) {
					mu.Lock()
					acked[ids[0]], acked[ids[1]] = true, true
					mu.Unlock()
				}
				if n%20 == 7 { // a client that did not hear the answer asks the other server
					send(other, ids)
				}
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for !sealing.Load() {
			one.program("export", "events") // asks server one for a seal, beside the own ones of two
			time.Sleep(50 * time.Millisecond)
		}
	}()
	time.Sleep(2 * time.Second)
	two.kill()
	time.Sleep(300 * time.Millisecond)
	stop.Store(true)
	sealing.Store(true)
	wg.Wait()
	if len(acked) < 100 {
		t.Fatalf("only %d events were acknowledged", len(acked))
	}

	nightly := func() (string, error) {
		c := exec.Command(os.Args[0], append([]string{"nightly", "--wait", "2s", "--as-of", time.Now().UTC().Format(time.DateOnly)}, one.args...)...)
		c.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	said, err := nightly()
	if err == nil || !strings.Contains(said, "incomplete: two") {
		t.Errorf("the night beside a killed server: %v, %s; want `incomplete: two`", err, said)
	}
	two.start()
	if said, _ = nightly(); strings.Contains(said, "incomplete") {
		t.Errorf("the night after the restart: %s", said)
	}
	found := map[string]int{}
	for _, line := range bytes.Split(bytes.TrimSpace(one.program("export", "events")), []byte("\n")) {
		var e struct {
			ID string `json:"event_id"`
		}
		if json.Unmarshal(line, &e) == nil {
			found[e.ID]++
		}
	}
	lost, doubled := 0, 0
	for id := range acked {
		if found[id] == 0 {
			lost++
		}
	}
	for _, n := range found {
		if n > 1 {
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		t.Errorf("of %d acknowledged events %d are lost and %d stored twice", len(acked), lost, doubled)
	}
	t.Logf("%d events acknowledged by two servers", len(acked))

	one.must(marketer, "POST", "/v1/experiments", strings.Replace(fmt.Sprintf(severalForm, 0), `"coverage"`, `"sticky":true,"coverage"`, 1))
	one.must(marketer, "POST", "/v1/experiments/coupon/start", `{}`)
	first := map[string]string{}
	soon(t, "an experiment on both servers", 10*time.Second, func() bool {
		a, _ := one.assigned(client, "probe")
		b, _ := two.assigned(client, "probe")
		return a != "" && b != ""
	})
	for i := range 40 {
		unit := fmt.Sprint("unit-", i)
		first[unit], _ = one.assigned(client, unit)
	}
	one.must(marketer, "PATCH", "/v1/experiments/coupon", `{"variants":[{"key":"a","weight":1},{"key":"b","weight":999}]}`)
	soon(t, "new weights on server two", 10*time.Second, func() bool {
		for i := range 20 {
			if v, _ := two.assigned(client, fmt.Sprint("fresh-", time.Now().UnixNano(), i)); v == "a" {
				return false
			}
		}
		return true
	})
	for unit, was := range first {
		if now, _ := two.assigned(client, unit); now != was {
			t.Errorf("%s is %s on server two, %s was its first answer on server one", unit, now, was)
		}
	}
}

// kill -9 loses no exposure that was waited for and at most the last 5 ms of the others; what is lost the next evaluation writes, and nothing is doubled.
func TestKilledServerKeepsExposures(t *testing.T) {
	p := &process{t: t, args: []string{"--data", filepath.Join(t.TempDir(), "data")}}
	marketer, client := p.key("marketer"), p.key("client")
	p.start()
	p.must(marketer, "POST", "/v1/experiments", fmt.Sprintf(severalForm, 0))
	p.must(marketer, "POST", "/v1/experiments/coupon/start", `{}`)
	meet := func(unit, expose string) {
		t.Helper()
		p.must(client, "POST", "/v1/assignments", fmt.Sprintf(`{"unit_id":%q,"experiments":["coupon"],"expose":%s}`, unit, expose))
	}
	const units = 60
	stored := func() map[string]int {
		t.Helper()
		found := map[string]int{}
		for _, line := range bytes.Split(bytes.TrimSpace(p.program("export", "events")), []byte("\n")) {
			var e struct {
				User  string `json:"user_id"`
				Event string `json:"event"`
			}
			if json.Unmarshal(line, &e) == nil && e.Event == "Experiment Viewed" {
				found[e.User]++
			}
		}
		return found
	}
	for i := range units {
		meet(fmt.Sprint("synced-", i), `"sync"`)
	}
	for i := range units {
		meet(fmt.Sprint("early-", i), "true")
	}
	time.Sleep(200 * time.Millisecond) // far beyond the 5 ms
	for i := range units {
		meet(fmt.Sprint("late-", i), "true")
	}
	p.kill()
	found := stored()
	for i := range units {
		for _, kind := range []string{"synced-", "early-"} {
			if n := found[fmt.Sprint(kind, i)]; n != 1 {
				t.Errorf("%s%d is stored %d times after kill -9, want once", kind, i, n)
			}
		}
	}
	p.start()
	for _, kind := range []string{"synced-", "early-", "late-"} {
		for i := range units {
			meet(fmt.Sprint(kind, i), "true")
		}
	}
	meet("last", `"sync"`)
	found = stored()
	if len(found) != 3*units+1 {
		t.Errorf("%d units are stored after the next evaluation, want %d", len(found), 3*units+1)
	}
	for unit, n := range found {
		if n != 1 {
			t.Errorf("%s is stored %d times, want once", unit, n)
		}
	}
}

// Today's orders and carts take part within a second of their 202, on the real server.
func TestTodayOverHTTP(t *testing.T) {
	p := &process{t: t, args: []string{"--data", filepath.Join(t.TempDir(), "data")}}
	marketer, client := p.key("marketer"), p.key("client")
	p.start()
	for key, rule := range map[string]string{"buyers": `{"attribute":"orders_today","operator":"NUM_GTE","values":["1"]}`, "carts": `{"attribute":"cart_today","operator":"NUM_GTE","values":["2"]}`,
		"fresh": `{"attribute":"days_since_last_order","operator":"NUM_EQ","values":["0"]}`} {
		p.must(marketer, "POST", "/v1/experiments", fmt.Sprintf(`{"key":%q,"name":"x","control":"a","sticky":false,"variants":[{"key":"a","weight":1},{"key":"b","weight":1}],"targeting":[%s]}`, key, rule))
		p.must(marketer, "POST", "/v1/experiments/"+key+"/start", `{}`)
	}
	enrolled := func() (list []string, overlay any) {
		doc := p.must(client, "POST", "/v1/assignments", `{"unit_id":"u","expose":false}`)
		for _, x := range doc["assignments"].([]any) {
			if a := x.(map[string]any); a["enrolled"] == true {
				list = append(list, a["experiment"].(string))
			}
		}
		return list, doc["overlay_at"]
	}
	if list, at := enrolled(); len(list) != 0 || at == nil {
		t.Fatalf("before any event: enrolled in %v, overlay_at %v", list, at)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	p.must(client, "POST", "/v1/events", fmt.Sprintf(`[{"event_id":"o","user_id":"u","event":"Order Completed","ts":%[1]q,"value":1,"order_id":"o"},{"event_id":"c1","user_id":"u","event":"Product Added","ts":%[1]q},{"event_id":"c2","user_id":"u","event":"Product Added","ts":%[1]q}]`, now))
	took := soon(t, "today's counts", 10*time.Second, func() bool { list, _ := enrolled(); return len(list) == 3 })
	if took > time.Second {
		t.Errorf("today's counts took %v after the 202, want 1 s at most", took)
	}
}

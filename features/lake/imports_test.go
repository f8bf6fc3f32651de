package lake_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perennial/features"
	"perennial/features/lake"
)

// history is n events of an import with a lag, with every kind of optional field, and a link and a refusal.
func history(n int) []features.Event {
	events := make([]features.Event, n, n+2)
	for i := range events {
		e := order(fmt.Sprint("h", i), fmt.Sprint("u", i%37), start.Add(-time.Duration(i)*12*time.Minute), int64(i)*1_000_001)
		e.AvailableAt = e.TS.Add(time.Duration(i%5) * 13 * time.Hour)
		switch i % 4 {
		case 1:
			e.Margin, e.Discount, e.Commission, e.Channel = features.AmountOf(-1), features.AmountOf(0), features.AmountOf(3), "wechat"
		case 2:
			e.Name, e.OrderID, e.Value, e.AnonymousID, e.SessionID, e.SentAt = "Page Viewed", "", features.Amount{}, "a", "s", e.TS.Add(time.Second)
		case 3:
			e.Properties, e.AvailableAt = []byte(`{"k":"<ü>"}`), time.Time{}
		}
		events[i] = e
	}
	return append(events,
		features.Event{EventID: "link", UserID: "u1", AnonymousID: "visitor", Name: features.IdentityLinked, TS: start.Add(-time.Hour)},
		features.Event{EventID: "no", UserID: "u2", Name: features.ConsentUpdated, TS: start.Add(-2 * time.Hour), Properties: []byte(`{"analytics":false}`)})
}

// everything is every column of every stored row but the number of the import.
func everything(t *testing.T, l *lake.Lake) []string {
	t.Helper()
	s, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return query(t, s, `to_json(struct_pack(event_id, user_id, anonymous_id, event, ts, sent_at, received_at, available_at, id_day, biz_day, known_day, value_micros, margin_micros,
		discount_micros, platform_discount_micros, commission_micros, cost_micros, currency, order_id, product_id, category, channel, coupon_id, session_id, properties, user_bucket, ingest_seq))`)
}

// An import beside a server stores the same rows as one without, to the last column, with the same counts, while live events go on; and the server knows at
// once what came: links, refusals, today's orders.
func TestImportBesideServerIsTheSame(t *testing.T) {
	alone, dir := open(t, t.TempDir()), t.TempDir()
	server := serve(t, dir)
	beside := open(t, dir)
	events := history(3_000)
	given := slices.Clone(events)
	for _, l := range []*lake.Lake{alone, beside} {
		if a, d, err := l.Load(t.Context(), events[:2_000]); a != 2_000 || d != 0 || err != nil {
			t.Fatalf("Load = %d, %d, %v; want 2000 new", a, d, err)
		}
		if a, d, err := l.Load(t.Context(), events[1_000:]); a != len(events)-2_000 || d != 1_000 || err != nil {
			t.Fatalf("the overlapping load = %d, %d, %v; want %d new and 1000 duplicates", a, d, err, len(events)-2_000)
		}
		if a, d, err := l.Load(t.Context(), events); a != 0 || d != len(events) || err != nil {
			t.Fatalf("the same again = %d, %d, %v; want duplicates", a, d, err)
		}
		if _, _, err := l.Load(t.Context(), []features.Event{{EventID: "x", Name: "y", TS: start}}); err == nil || !strings.Contains(err.Error(), "user_id: missing") {
			t.Errorf("an event without user: %v, want its fault", err)
		}
	}
	if fmt.Sprint(events) != fmt.Sprint(given) {
		t.Error("Load changed the caller's events")
	}
	want, got := everything(t, alone), everything(t, beside)
	if len(want) != len(events) || !slices.Equal(got, want) {
		t.Errorf("%d rows beside the server, %d without, or other ones; first %v want %v", len(got), len(want), got[:1], want[:1])
	}
	if p := server.Person("visitor"); len(p) != 2 || p[0] != "u1" {
		t.Errorf("right after the import the server knows of the visitor %v", p)
	}
	if refused, err := server.Refused(t.Context(), "analytics", 1<<30); err != nil || !refused["u2"] {
		t.Errorf("refused %v, %v; want u2", refused, err)
	}
	// What became known today counts as it does after a restart.
	count := func(l *lake.Lake) string {
		orders, carts, last, ok := l.Recent("u0")
		return fmt.Sprint(orders, carts, last, ok)
	}
	now := count(server)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if again := count(serve(t, dir)); again != now || strings.HasPrefix(now, "0 ") {
		t.Errorf("today of u0: %s after the import, %s after a restart, want orders", now, again)
	}
}

// Imports and live events at the same time, with ids in common: each is stored once, and none is lost.
func TestImportsBesideLiveEvents(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, dir, func(o *lake.Options) { o.Now, o.SealEvery, o.Burst = time.Now, 5*time.Millisecond, 1<<30 })
	var stop atomic.Bool
	var live sync.WaitGroup
	sent := map[string]bool{}
	live.Go(func() {
		for i := 0; !stop.Load(); i++ {
			lot := []features.Event{order(fmt.Sprint("live", i), "u", time.Now().Add(-time.Second), 1), order(fmt.Sprint("h", i%2_000), "u", start.Add(-time.Duration(i%2_000)*12*time.Minute), 1)}
			if _, err := server.Append(t.Context(), lot); err != nil {
				t.Error(err)
				return
			}
			sent[lot[0].EventID] = true
		}
	})
	events := history(6_000)
	var imports sync.WaitGroup
	var accepted, duplicate atomic.Int64
	for range 2 { // two imports of the same at once
		imports.Go(func() {
			l := open(t, dir)
			for part := range slices.Chunk(events, 1_500) {
				a, d, err := l.Load(t.Context(), part)
				if err != nil {
					t.Error(err)
				}
				accepted.Add(int64(a))
				duplicate.Add(int64(d))
			}
		})
	}
	imports.Wait()
	stop.Store(true)
	live.Wait()
	if err := server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := stored(t, server)
	for i := range events {
		sent[events[i].EventID] = true
	}
	for id := range sent {
		if got[id] != 1 {
			t.Fatalf("%s is stored %d times", id, got[id])
		}
	}
	if a, d := int(accepted.Load()), int(duplicate.Load()); len(got) != len(sent) || a+d != 2*len(events) || a > len(events) || a < len(events)-2_000 {
		t.Errorf("%d ids stored, %d sent; %d accepted and %d duplicates of twice %d", len(got), len(sent), a, d, len(events))
	}
}

// More than a lot holds goes in several, in bytes and in rows.
func TestImportInLots(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, dir)
	beside := open(t, dir)
	properties := []byte(`{"k":"` + strings.Repeat("x", 16_000) + `"}`)
	var events []features.Event
	for i := range 3_400 { // 54 MB
		e := order(fmt.Sprint("big", i), "u", start.Add(-time.Hour), 1)
		e.Properties = properties
		events = append(events, e)
	}
	if a, d, err := beside.Load(t.Context(), events); a != 3_400 || d != 0 || err != nil {
		t.Fatalf("Load = %d, %d, %v", a, d, err)
	}
	s, err := beside.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Segments) != 2 || s.Segments[0].Rows+s.Segments[1].Rows != 3_400 {
		t.Errorf("54 MB are stored as %d segments, want two lots", len(s.Segments))
	}
	var traits []features.Traits
	var costs []features.Cost
	for i := range 11_000 {
		traits = append(traits, features.Traits{User: fmt.Sprint("u", i), Values: map[string]json.RawMessage{"city": []byte(`"<Köln>"`), "n": []byte(fmt.Sprint(i))}})
		costs = append(costs, features.Cost{Day: features.Day(i), Channel: "ads", Micros: features.Micros(i), KnownDay: 20_000})
	}
	for i, want := range []int{11_000, 0} {
		if n, err := beside.PutTraits(t.Context(), traits); n != want || err != nil {
			t.Errorf("users %d: %d, %v; want %d", i, n, err, want)
		}
		if n, err := beside.PutCosts(t.Context(), costs); n != want || err != nil {
			t.Errorf("costs %d: %d, %v; want %d", i, n, err, want)
		}
	}
	alone := open(t, t.TempDir())
	if _, err := alone.PutTraits(t.Context(), traits); err != nil {
		t.Fatal(err)
	}
	want, err := alone.Traits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := server.Traits(t.Context()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("users beside a server differ, %v", err)
	}
	if got, err := server.Costs(t.Context(), 0, 20_000, 30_000); err != nil || fmt.Sprint(got) != fmt.Sprint(costs) {
		t.Errorf("costs beside a server differ, %v", err)
	}
}

// A server that is killed while it writes an import: the error names the next step, what was answered is stored, and the same import again, without the server,
// takes the rest and nothing twice. The kill also shows that it is the server that writes.
func TestServerKilledInAnImport(t *testing.T) {
	for _, step := range []string{"segment: written", "segment: renamed", "manifest: to commit"} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			c := child("importer's server", dir, "")
			c.Env = append(c.Env, "LAKE_TEST_STEP="+map[string]string{"segment: written": "3 ", "segment: renamed": "3 ", "manifest: to commit": "2 "}[step]+step)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Process.Kill(); c.Wait() })
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
				t.Fatalf("child: %q, %v", line, err)
			}
			go io.Copy(io.Discard, out)
			l := open(t, dir, func(o *lake.Options) { o.Shop = features.Shop{Currency: "CNY"} })
			var events []features.Event
			for i := range 600 { // of two days: two segments a load
				events = append(events, order(fmt.Sprint("e", i), "u", start.AddDate(0, 0, -i%2), 1))
			}
			if a, d, err := l.Load(t.Context(), events[:300]); a != 300 || d != 0 || err != nil {
				t.Fatalf("the first load = %d, %d, %v", a, d, err)
			}
			if _, _, err := l.Load(t.Context(), events[300:]); err == nil || !strings.Contains(err.Error(), "run the same import again") {
				t.Fatalf("the load in which the server dies: %v, want what to do", err)
			}
			a, d, err := l.Load(t.Context(), events)
			if a != 300 || d != 300 || err != nil {
				t.Errorf("the same again = %d, %d, %v; want 300 new and 300 there", a, d, err)
			}
			got := stored(t, l)
			if len(got) != 600 {
				t.Errorf("%d ids stored, want 600", len(got))
			}
			for id, n := range got {
				if n != 1 {
					t.Errorf("%s is stored %d times", id, n)
				}
			}
		})
	}
}

// A server that is stopped does not wait for an import that sends nothing.
func TestServerStopsInAnImport(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, dir)
	conn := dial(t, dir)
	defer conn.Close()
	in := bufio.NewReader(conn)
	fmt.Fprintln(conn, "import events 10")
	if line, err := in.ReadString('\n'); line != "go\n" || err != nil {
		t.Fatalf("the server answers %q, %v", line, err)
	}
	began := time.Now()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "error it is stopping") {
		t.Errorf("the import is told %q, %v", line, err)
	}
}

// A server that was started before an upgrade does not know imports: that is said, and nothing is written beside it.
func TestImportBesideAnEarlierServer(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	lock, err := os.Create(filepath.Join(dir, "serve.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "serve.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadString('\n')
			fmt.Fprintln(c, "error unknown request")
			c.Close()
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "serve.json"), []byte(`{"socket":"`+path+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Load(t.Context(), history(3)); err == nil || !strings.Contains(err.Error(), "restart it") {
		t.Errorf("Load = %v, want what to do", err)
	}
	if n := len(stored(t, l)); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

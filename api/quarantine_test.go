package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perennial/api"
	"perennial/features/lake"
)

// TestForeignLines: 神策 lines and GrowthBook rows become events with derived ids, a resend is a duplicate, and bad lines take no good ones with them.
func TestForeignLines(t *testing.T) {
	s := newShop(t)
	line := `{"distinct_id":"u1","time":1795310100000,"type":"track","event":"PayOrder","properties":{"order_id":"o1","order_actual_amount":12.5,"$lib":"js"}}`
	body := "[" + line + `,{"distinct_id":"u1","time":1795310100000,"type":"profile_set","event":"x"},{"distinct_id":7,"time":1795310100000,"type":"track","event":"x"}]`
	a := s.good("client", "POST", "/v1/events/sensors", body)
	if a["accepted"] != 1.0 || fmt.Sprint(a["rejected"]) != "[map[field:type index:1 reason:not track: profiles and sign-ups are not events] map[field:user_id index:2 reason:not a JSON string]]" {
		t.Errorf("神策: %v", a)
	}
	if a := s.good("client", "POST", "/v1/events/sensors", line); a["duplicate"] != 1.0 {
		t.Errorf("the same line again: %v", a)
	}
	rows := `{"timestamp":"2026-11-22 20:15:00","user_id":"u1","experiment_id":"coupon","variation_id":"1"}` + "\n" + `{"timestamp":"2026-11-22 20:15:00","user_id":"u2","variation_id":"1"}`
	if a := s.good("client", "POST", "/v1/events/growthbook", rows); a["accepted"] != 1.0 || len(a["rejected"].([]any)) != 1 {
		t.Errorf("GrowthBook: %v", a)
	}
	for body, want := range map[string]int{"": 400, "[": 400, "hello": 400} {
		if a := s.do("client", "POST", "/v1/events/sensors", body); a.status != want {
			t.Errorf("%q = %d, want %d", body, a.status, want)
		}
	}
	if a := s.do("frontend", "POST", "/v1/events/sensors", line); a.status != 403 {
		t.Errorf("a frontend key = %d, want 403: orders come this way", a.status)
	}
}

// TestQuarantine: what a door refuses is kept with its reason, counted and listed, newest first.
func TestQuarantine(t *testing.T) {
	s := newShop(t)
	for i := range 3 {
		s.good("client", "POST", "/v1/events", fmt.Sprintf(`[{"event_id":"q%d","user_id":"u","event":"x","ts":"yesterday"},{"event_id":"q%d","user_id":"u","event":"x","ts":"2036-11-22T20:15:00Z"}]`, i, i))
	}
	s.good("client", "POST", "/v1/track", `{"messageId":"m","userId":"u"}`)
	a := s.good("analyst", "GET", "/v1/quarantine?limit=2", "")
	events := a["events"].([]any)
	if len(events) != 2 || events[0].(map[string]any)["door"] != "/v1/track" || !strings.Contains(events[1].(map[string]any)["row"].(string), "2036") {
		t.Errorf("events = %v", events)
	}
	counts := ""
	for _, r := range a["reasons"].([]any) {
		r := r.(map[string]any)
		counts += fmt.Sprintf("%v %v %v; ", r["field"], r["reason"], r["count"])
	}
	if !strings.HasPrefix(counts, "ts not RFC 3339 3; ts in the future 3; ") {
		t.Errorf("reasons = %s", counts)
	}
	if a := s.do("client", "GET", "/v1/quarantine", ""); a.status != 403 {
		t.Errorf("a client reads the quarantine: %d", a.status)
	}
}

// TestConsent: an explicit refusal keeps a user out of experiments from the next assignment on, until she withdraws it; the bits have a history.
func TestConsent(t *testing.T) {
	s := newShop(t)
	s.run("coupon", "")
	reason := func() any {
		a := s.good("client", "POST", "/v1/assignments", `{"unit_id":"u1","experiments":["coupon"],"expose":false}`)
		return a["assignments"].([]any)[0].(map[string]any)["reason"]
	}
	send := func(id, at, bits string) {
		a := s.good("client", "POST", "/v1/events", `[{"event_id":"`+id+`","user_id":"u1","event":"Consent Updated","ts":"`+at+`","properties":`+bits+`}]`)
		if a["accepted"] != 1.0 {
			t.Fatalf("consent: %v", a)
		}
		s.must(s.lake.Seal(t.Context()))
	}
	if got := reason(); got != "split" {
		t.Fatalf("unknown consent: reason %v, want split", got)
	}
	send("c1", "2026-11-22T10:00:00Z", `{"personalised_marketing":false,"analytics":false}`)
	if got := reason(); got != "opted_out" {
		t.Errorf("after a refusal: reason %v, want opted_out", got)
	}
	send("c0", "2026-11-21T10:00:00Z", `{"personalised_marketing":true}`)
	if got := reason(); got != "opted_out" {
		t.Errorf("after an older grant that came late: reason %v, want opted_out", got)
	}
	send("c2", "2026-11-23T10:00:00Z", `{"personalised_marketing":true}`)
	if got := reason(); got != "split" {
		t.Errorf("after the withdrawal of the refusal: reason %v, want split", got)
	}
	a := s.good("analyst", "GET", "/v1/users/u1/consent", "")
	if h := a["history"].([]any); len(h) != 4 || a["opted_out"] != false || h[0].(map[string]any)["granted"] != true {
		t.Errorf("history = %v", a)
	}
}

// TestPseudonyms: with a key nothing that is stored or logged holds an id as it was sent; buckets still hash it, and every lookup finds its user.
func TestPseudonyms(t *testing.T) {
	var dir string
	plain := newShop(t)
	s := newShop(t, func(o *api.Options) { o.Shop.PseudonymKey = "a key of more than sixteen letters" })
	dir = s.dir
	definition := `{"salt":"pseudo","sticky":true}`
	plain.run("coupon", definition)
	s.run("coupon", definition)
	for i := range 50 {
		unit := fmt.Sprintf("customer-%d@example.com", i)
		ask := `{"unit_id":"` + unit + `","experiments":["coupon"]}`
		got := s.good("client", "POST", "/v1/assignments", ask)["assignments"].([]any)[0].(map[string]any)
		want := plain.good("client", "POST", "/v1/assignments", ask)["assignments"].([]any)[0].(map[string]any)
		if got["variant"] != want["variant"] {
			t.Fatalf("%s: variant %v, want %v as without pseudonyms", unit, got["variant"], want["variant"])
		}
		s.good("client", "POST", "/v1/events", `[{"event_id":"e`+fmt.Sprint(i)+`","user_id":"`+unit+`","anonymous_id":"phone-`+fmt.Sprint(i)+`@example.com","event":"Order Completed","ts":"2026-11-22T20:15:00Z","value":1},
			{"event_id":"bad","user_id":"`+unit+`","event":"x","ts":"yesterday"}]`)
	}
	s.good("client", "POST", "/v1/users/customer-1@example.com/opt-out", "")
	if a := s.good("client", "POST", "/v1/assignments", `{"unit_id":"customer-1@example.com","experiments":["coupon"]}`); !strings.Contains(fmt.Sprint(a), "opted_out") {
		t.Errorf("an opted out customer: %v", a)
	}
	s.must(s.lake.Seal(t.Context()))
	if p, err := s.lake.Erase(t.Context(), "customer-2@example.com"); err != nil || !p.Complete || p.Rows < 2 {
		t.Errorf("Erase by the id as it was sent = %+v, %v; want her order and exposure gone", p, err)
	}
	s.must(s.lake.Close())
	s.must(s.store.Close())
	for _, text := range append(decompressed(t, dir), s.log.String()) {
		if i := strings.Index(text, "example.com"); i >= 0 {
			t.Fatalf("an id is stored: …%.200q", text[max(0, i-100):])
		}
	}
}

// decompressed returns the bytes of every file, and the texts of every Parquet file's columns.
func decompressed(t *testing.T, dir string) (texts []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		texts = append(texts, string(raw))
		if strings.HasSuffix(path, ".parquet") {
			texts = append(texts, parquetText(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// parquetText returns every cell of a Parquet file.
func parquetText(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	err := lake.ReadParquet(t.Context(), path, t.TempDir(), 1<<28, func([]string) error { return nil }, func(cells [][]byte) error {
		for _, c := range cells {
			all.Write(c)
			all.WriteByte(10)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

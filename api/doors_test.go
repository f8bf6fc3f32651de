package api_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perennial/features"
)

// TestEvents counts what is accepted, there already and refused, in the order of the body.
func TestEvents(t *testing.T) {
	s := newShop(t)
	order := func(id string) string {
		return `{"event_id":"` + id + `","user_id":"u1","event":"Order Completed","ts":"2026-11-22T20:15:00+08:00","value":128.5,"order_id":"o-` + id + `"}`
	}
	lines := strings.Join([]string{order("e1"), `{"event_id":"e2","user_id":7,"event":"X","ts":"2026-11-22T20:15:00Z"}`, order("e3"), order("e1"),
		`{"event_id":"e5","user_id":"u","event":"X","ts":"yesterday"}`}, "\n")
	a := s.good("client", "POST", "/v1/events", lines)
	if a["accepted"] != 2.0 || a["duplicate"] != 1.0 || fmt.Sprint(a["rejected"]) != "[map[field:user_id index:1 reason:not a JSON string] map[field:ts index:4 reason:not RFC 3339]]" {
		t.Errorf("NDJSON: %v", a)
	}
	a = s.good("client", "POST", "/v1/events", zipped(t, "["+order("e1")+","+order("e9")+"]"), "Content-Encoding", "gzip")
	if a["accepted"] != 1.0 || a["duplicate"] != 1.0 {
		t.Errorf("gzip: %v", a)
	}
	if got := s.do("client", "POST", "/v1/events", order("e10")); got.status != 202 {
		t.Errorf("one event: %d, want 202", got.status)
	}
}

// TestFrontendKeys are public: they send what a page sees and nothing that makes or costs money.
func TestFrontendKeys(t *testing.T) {
	s := newShop(t)
	for name, ok := range map[string]bool{features.ProductViewed: true, features.ProductAdded: true, features.SessionStarted: true, features.PromotionViewed: true,
		features.ExperimentViewed: true, features.OrderCompleted: false, features.OrderRefunded: false, features.MessageSent: false, features.IdentityLinked: false, "Anything": false} {
		a := s.good("frontend", "POST", "/v1/events", `[{"event_id":"f-`+name+`","user_id":"u","event":"`+name+`","ts":"2026-11-22T20:15:00Z","value":1}]`)
		if (a["accepted"] == 1.0) != ok {
			t.Errorf("%s from a frontend key: %v", name, a)
		}
	}
	a := s.good("frontend", "POST", "/v1/identify", `{"messageId":"m1","userId":"u","anonymousId":"x","timestamp":"2026-11-22T20:15:00Z"}`)
	if a["accepted"] != 0.0 {
		t.Errorf("identify from a frontend key: %v", a)
	}
}

// TestSegment answers 200 whatever single messages hold, and maps each kind on the same rows.
func TestSegment(t *testing.T) {
	s := newShop(t)
	batch := `{"batch":[
	 {"type":"track","messageId":"node-next-1795418030563-bf09e2db-5a2f-4d5e-8f6f-0c1d2e3f4a5b","userId":"u1","anonymousId":null,"event":"Order Completed","timestamp":"2026-11-22T20:15:00.123Z",
	  "properties":{"revenue":12.5,"order_id":"o1","currency":"CNY","products":[{"sku":1}]},"integrations":{},"context":{"library":{"name":"x"}},"_metadata":{}},
	 {"type":"track","messageId":"m2","anonymousId":"a1","event":"Product Viewed","timestamp":"2026-11-22T20:15:00+00:00","properties":{"product_id":42}},
	 {"type":"identify","messageId":"m3","userId":"u1","anonymousId":"a1","timestamp":"2026-11-22T20:16:00Z","traits":{"plan":"gold"}},
	 {"type":"alias","messageId":"m4","userId":"u1","previousId":"a0","timestamp":"2026-11-22T20:16:00Z"},
	 {"type":"page","messageId":"m5","userId":"u1","name":"Home","timestamp":"2026-11-22T20:16:00Z"},
	 {"type":"track","messageId":"m6","userId":"u1","event":"Order Completed","timestamp":"2026-11-22T20:15:00Z","properties":{"revenue":"12.5"}},
	 {"type":"dance","messageId":"m7","userId":"u1"},
	 7],"sentAt":"2026-11-25T08:00:00Z","writeKey":"ignored"}`
	a := s.do("client", "POST", "/v1/batch", zipped(t, batch), "Content-Encoding", "gzip")
	got := a.json(t)
	if a.status != 200 || got["success"] != true || got["accepted"] != 5.0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	fields := ""
	for _, r := range got["rejected"].([]any) {
		r := r.(map[string]any)
		fields += fmt.Sprintf("%v:%v ", r["index"], r["field"])
	}
	if fields != "5:value 6:type 7:body " {
		t.Errorf("rejected %s", fields)
	}
	for _, broken := range []string{"{", `{"batch":7}`, `[]`} {
		if a := s.do("client", "POST", "/v1/batch", broken); a.status != 200 {
			t.Errorf("%s: %d, want 200", broken, a.status)
		}
	}
	if a := s.do("client", "POST", "/v1/track", `{"messageId":"t1","userId":"u1","event":"X"}`); a.status != 200 || a.json(t)["accepted"] != 1.0 {
		t.Errorf("track: %d %s", a.status, a.body)
	}
	if a := s.do("", "POST", "/v1/batch", batch); a.status != 401 {
		t.Errorf("no key: %d", a.status)
	}
}

// TestUnleash serves an SDK's start: features with ETag, register, metrics, and the frontend's context in both spellings.
func TestUnleash(t *testing.T) {
	s := newShop(t)
	s.run("plain", "")
	s.run("country", `{"targeting":[{"attribute":"country","operator":"IN","values":["CN"]}]}`)
	s.run("score", `{"targeting":[{"attribute":"churn_risk","operator":"NUM_GT","values":["0.5"]}]}`)
	bare := []string{"Authorization", s.keys["client"], "Unleash-Client-Spec", "4.3.1"}
	f := s.do("", "GET", "/api/client/features", "", bare...)
	if f.status != 200 || strings.Contains(f.body, `"score"`) || !strings.Contains(f.body, `"plain"`) {
		t.Fatalf("features: %d %s", f.status, f.body)
	}
	if again := s.do("", "GET", "/api/client/features", "", append(bare, "If-None-Match", f.header.Get("ETag"))...); again.status != 304 {
		t.Errorf("If-None-Match: %d", again.status)
	}
	for path, body := range map[string]string{"register": `{"appName":"x"}`, "metrics": `{"bucket":{"toggles":{"plain":{"yes":3,"no":1,"variants":{"a":2,"zzz":1}},"strange":{"yes":1}}}}`,
		"metrics/bulk": `{"metrics":[{"featureName":"plain","yes":1,"variants":{"b":1}}]}`} {
		if a := s.do("", "POST", "/api/client/"+path, body, bare...); a.status != 202 || a.body != "" {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
	}
	if m := s.do("analyst", "GET", "/metrics", ""); !strings.Contains(m.body, `perennial_unleash_evaluations_total{experiment="plain",variant="a"} 2`) || strings.Contains(m.body, "zzz") || strings.Contains(m.body, "strange") {
		t.Errorf("metrics do not count, or count what an SDK made up")
	}
	get := s.do("frontend", "GET", "/api/frontend?userId=u1&properties%5Bcountry%5D=CN", "")
	post := s.do("frontend", "POST", "/api/frontend", `{"context":{"userId":"u1","country":"CN"}}`)
	if get.body != post.body || !strings.Contains(get.body, `"country"`) || get.header.Get("ETag") == "" {
		t.Errorf("GET %s\nPOST %s", get.body, post.body)
	}
	if other := s.do("frontend", "GET", "/api/frontend?userId=u2&properties%5Bcountry%5D=CN", "", "If-None-Match", get.header.Get("ETag")); other.status != 200 {
		t.Errorf("another user got 304 on the first one's ETag")
	}
	if off := s.do("frontend", "GET", "/api/frontend?userId=u1", ""); strings.Contains(off.body, `"country"`) {
		t.Errorf("a flag whose constraint fails is on: %s", off.body)
	}
}

// TestOpenAPI compares the description with the golden file, which is read in review.
func TestOpenAPI(t *testing.T) {
	s := newShop(t)
	got := []byte(s.do("", "GET", "/openapi.json", "").body)
	golden := filepath.Join("testdata", "openapi.json")
	if *rewrite {
		s.must(os.MkdirAll("testdata", 0o755))
		s.must(os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	s.must(err)
	if !bytes.Equal(got, want) {
		t.Errorf("the API description has changed: `go test ./api -run OpenAPI -rewrite` writes %s again", golden)
	}
}

// TestPages without a key: exactly these.
func TestOpenDoors(t *testing.T) {
	s := newShop(t)
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/docs.js", "/signin"} {
		if a := s.do("", "GET", path, ""); a.status != 200 {
			t.Errorf("GET %s without a key: %d", path, a.status)
		}
	}
	if a := s.do("", "GET", "/docs", ""); strings.Contains(a.body, "http://") || strings.Contains(a.body, "https://") || a.header.Get("Content-Security-Policy") == "" {
		t.Error("the documentation page loads from elsewhere, or has no policy")
	}
}

package api_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"perennial/api"
)

const flags = "/ofrep/v1/evaluate/flags"

// TestOFREP checks the rules that the strictest provider of each language needs.
func TestOFREP(t *testing.T) {
	s := newShop(t)
	s.run("rate", `{"forced":{"qa":"b"},"variants":[{"key":"a","weight":1,"payload":{"type":"number","value":1.0}},{"key":"b","weight":1,"payload":{"type":"number","value":2.50}}]}`)
	s.run("bare", `{"coverage":0,"variants":[{"key":"a","weight":1},{"key":"b","weight":1}]}`)
	s.run("over", "")
	s.good("marketer", "POST", "/v1/experiments/over/stop", "{}")
	for _, c := range []struct {
		name, key, body, want string
		status                int
	}{
		{"forced keeps its spelling", "rate", `{"context":{"targetingKey":"qa"}}`, `{"key":"rate","value":2.50,"reason":"TARGETING_MATCH","variant":"b","metadata":{"reason":"forced","allocation_revision":1}}`, 200},
		{"nobody is in", "bare", `{"context":{"targetingKey":"u"}}`, `{"key":"bare","value":"a","reason":"DEFAULT","variant":"not_enrolled","metadata":{"reason":"not_enrolled","allocation_revision":1}}`, 200},
		{"stopped", "over", `{"context":{"targetingKey":"u"}}`, `{"key":"over","value":"show-a","reason":"DISABLED","variant":"not_enrolled","metadata":{"reason":"stopped","allocation_revision":1}}`, 200},
		{"unknown", "none", `{"context":{"targetingKey":"u"}}`, `{"key":"none","errorCode":"FLAG_NOT_FOUND","errorDetails":"no such experiment","metadata":{}}`, 404},
		{"no context", "rate", `{}`, "TARGETING_KEY_MISSING", 400}, {"null context", "rate", `{"context":null}`, "TARGETING_KEY_MISSING", 400},
		{"null key", "rate", `{"context":{"targetingKey":null}}`, "TARGETING_KEY_MISSING", 400},
		{"number as key", "rate", `{"context":{"targetingKey":7}}`, "INVALID_CONTEXT", 400}, {"list", "rate", `{"context":[1]}`, "INVALID_CONTEXT", 400},
		{"no JSON", "rate", `{]`, "PARSE_ERROR", 400}, {"empty", "rate", ``, "PARSE_ERROR", 400}, {"text", "rate", `"x"`, "PARSE_ERROR", 400},
		{"too large", "rate", `{"context":"` + strings.Repeat("x", 1<<20) + `"}`, "GENERAL", 413},
	} {
		got := s.do("client", "POST", flags+"/"+c.key, c.body)
		if got.status != c.status || c.want[0] == '{' && got.body != c.want {
			t.Errorf("%s: %d %s\nwant %d %s", c.name, got.status, got.body, c.status, c.want)
		}
		if got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: Content-Type %q", c.name, got.header.Get("Content-Type"))
		}
		if e := got.json(t); c.status >= 400 && (e["key"] != c.key || e["errorDetails"] == "" || !reflect.DeepEqual(e["metadata"], map[string]any{}) || c.want[0] != '{' && e["errorCode"] != c.want) {
			t.Errorf("%s: %v, want %s", c.name, e, c.want)
		}
	}
	for role, want := range map[string]int{"": 401, "frontend": 403, "analyst": 403, "admin": 200} {
		got := s.do(role, "POST", flags+"/rate", `{"context":{"targetingKey":"u"}}`)
		if e := got.json(t); got.status != want || want != 200 && (e["key"] != "rate" || e["errorCode"] != "GENERAL") {
			t.Errorf("role %q: %d %s, want %d", role, got.status, got.body, want)
		}
	}
}

// TestOFREPBulk has only flags at the top (the Kotlin SDK fails on more) and an ETag that moves with everything that an answer depends on.
func TestOFREPBulk(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	s.run("soon", `{"start_at":"2026-11-25T09:00:00Z"}`)
	s.good("marketer", "POST", "/v1/experiments", `{"key":"draft","name":"d","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}]}`)
	ask := func(context, tag string) answer {
		return s.do("frontend", "POST", flags, `{"context":`+context+`}`, "If-None-Match", tag)
	}
	const u1 = `{"targetingKey":"u1","plan":"gold"}`
	first := ask(u1, "")
	var typed api.OFREPBulk
	if err := json.Unmarshal([]byte(first.body), &typed); err != nil || len(first.json(t)) != 1 || len(typed.Flags) != 2 {
		t.Fatalf("%v %s", err, first.body)
	}
	for _, f := range typed.Flags {
		if !slices.Contains([]string{"SPLIT", "DEFAULT"}, f.Reason) || f.Metadata == nil || f.Variant == "" || f.Value == nil {
			t.Errorf("flag %+v", f)
		}
	}
	tag := first.header.Get("ETag")
	if got := ask(u1, tag); got.status != 304 || got.body != "" || got.header.Get("ETag") != tag {
		t.Errorf("same question: %d %q", got.status, got.body)
	}
	changed := func(what string) {
		t.Helper()
		got := ask(u1, tag)
		if got.status != 200 || got.header.Get("ETag") == tag {
			t.Errorf("after %s: %d, ETag %s", what, got.status, got.header.Get("ETag"))
		}
		tag = got.header.Get("ETag")
	}
	for _, other := range []string{`{"targetingKey":"u2","plan":"gold"}`, `{"targetingKey":"u1","plan":"silver"}`, `{"targetingKey":"u1"}`} {
		if got := ask(other, tag); got.status != 200 {
			t.Errorf("context %s has the ETag of another", other)
		}
	}
	s.good("marketer", "POST", "/v1/experiments/split/ramp", `{"coverage":0.5}`)
	changed("a ramp")
	later := s.now.Load().Add(2 * time.Hour)
	s.now.Store(&later)
	changed("the schedule's turn")
	s.score(map[string][3]any{"u9": {"new", 0.5, 5.0}})
	changed("a night")
	s.good("client", "POST", "/v1/users/u1/opt-out", "")
	changed("a refusal")
	s.good("client", "POST", "/v1/events", `[{"event_id":"e1","user_id":"u1","event":"Order Completed","ts":"2026-11-25T09:30:00Z","value":10,"order_id":"o1"}]`)
	changed("an order")
	if e, _ := s.snapshot.Load().Experiment("split"); s.lake.Exposed("u1", "split", e.AllocationRevision) {
		t.Error("a bulk evaluation was counted as exposure")
	}
}

// TestCORS answers preflights of configured origins and never allows credentials.
func TestCORS(t *testing.T) {
	s := newShop(t, func(o *api.Options) { o.CORSOrigins = []string{"https://shop.example"} })
	for _, path := range []string{flags, flags + "/x", "/api/frontend", "/api/frontend/client/metrics", "/v1/events", "/v1/track", "/v1/batch"} {
		for origin, want := range map[string]string{"https://shop.example": "https://shop.example", "https://evil.example": ""} {
			got := s.do("", "OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,if-none-match,unleash-connection-id")
			if got.status != 204 || got.header.Get("Access-Control-Allow-Origin") != want || got.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %s: %d %v", path, origin, got.status, got.header)
			}
			if headers := got.header.Get("Access-Control-Allow-Headers"); want != "" && (!strings.Contains(headers, "if-none-match") || !strings.Contains(headers, "unleash-connection-id") || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "ETag")) {
				t.Errorf("%s: headers %q", path, headers)
			}
		}
	}
	if got := s.do("", "POST", flags, `{}`, "Origin", "https://shop.example"); got.status != 401 || got.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a refusal hides itself from the page: %d %v", got.status, got.header)
	}
	if got := s.do("", "OPTIONS", "/v1/experiments", "", "Origin", "https://shop.example"); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("management answers preflights")
	}
}

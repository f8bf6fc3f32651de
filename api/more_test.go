package api_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"perennial/api"
	"perennial/features"
)

// TestExplain shows the evidence of every step, and asking leaves no trace.
func TestExplain(t *testing.T) {
	s := newShop(t)
	s.good("marketer", "POST", "/v1/holdouts", `{"key":"all","salt":"h","share":0.05,"experiments":null}`)
	s.run("gold", `{"salt":"s2","coverage":0.5,"targeting":[{"attribute":"ltv_decile","operator":"NUM_GTE","values":["9"]},{"attribute":"country","operator":"IN","values":["CN"]}]}`)
	s.score(map[string][3]any{"rich": {"loyal", 0.1, 10.0}})
	a := s.good("analyst", "POST", "/v1/assignments/explain", `{"unit_id":"rich","experiment":"gold","attributes":{"country":"JP","ltv_decile":1}}`)
	rules := a["targeting"].([]any)
	first, second := rules[0].(map[string]any), rules[1].(map[string]any)
	if first["value"] != 10.0 || first["holds"] != true || second["value"] != "JP" || second["holds"] != false {
		t.Errorf("targeting = %v", rules)
	}
	if len(a["holdouts"].([]any)) != 1 || a["salt"] != "s2" || a["text"].(map[string]any)["zh"] == "" || a["text"].(map[string]any)["en"] == "" {
		t.Errorf("explanation = %v", a)
	}
	if a["step"] != "targeting" && a["step"] != "holdout" {
		t.Errorf("step = %v", a["step"])
	}
	s.good("client", "POST", "/v1/assignments/explain", `{"unit_id":"rich","experiment":"gold","attributes":{"country":"CN"}}`)
	if _, kept := s.lake.Sticky("gold", "rich"); kept || s.lake.Stats().WaitingViews+s.lake.Stats().Exposures > 0 {
		t.Error("asking why has left a trace")
	}
	if got := s.do("analyst", "POST", "/v1/assignments/explain", `{"unit_id":"u","experiment":"none"}`); got.status != 404 {
		t.Errorf("unknown experiment: %d", got.status)
	}
}

// TestStream answers a line for a line and goes on after bad ones.
func TestStream(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	s.run("other", "")
	body := `{"unit_id":"u1"}` + "\n\n" + `{"unit_id":""}` + "\n{\n" + `{"unit_id":"` + strings.Repeat("x", 70_000) + `"}` + "\n" + `{"unit_id":"u2"}`
	got := s.do("client", "POST", "/v1/assignments/stream?experiments=split", body)
	lines := strings.Split(strings.TrimSpace(got.body), "\n")
	if got.status != 200 || len(lines) != 5 {
		t.Fatalf("%d, %d lines:\n%s", got.status, len(lines), got.body)
	}
	for i, want := range []string{`{"unit_id":"u1","assignments":[{"experiment":"split"`, `{"line":3,"error":{"type"`, `{"line":4,"error":{"type"`, `{"line":5,"error":{"type"`, `{"unit_id":"u2","assignments":[{"experiment":"split"`} {
		if !strings.HasPrefix(lines[i], want) || strings.Contains(lines[i], `"other"`) {
			t.Errorf("line %d = %s, want %s", i, lines[i], want)
		}
	}
}

// TestExposures counts an exposure once, whoever reports it, and none that the server would not give.
func TestExposures(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	variant := s.one("u1", "split", `,"expose":false`)["variant"].(string)
	other := map[string]string{"a": "b", "b": "a"}[variant]
	body := fmt.Sprintf(`[{"unit_id":"u1","experiment":"split","variant":%q},
	 {"eventType":"getVariant","eventId":"x","context":{"userId":"u1","properties":{}},"enabled":true,"featureName":"split","variant":%q,"impressionData":true},
	 {"unit_id":"u1","experiment":"split","variant":%q},{"unit_id":"u1","experiment":"none","variant":"a"},7]`, variant, variant, other)
	a := s.good("frontend", "POST", "/v1/exposures", body)
	if a["accepted"] != 1.0 || a["duplicate"] != 1.0 || len(a["rejected"].([]any)) != 3 {
		t.Errorf("%v", a)
	}
	e, _ := s.snapshot.Load().Experiment("split")
	if !s.lake.Exposed("u1", "split", e.AllocationRevision) {
		t.Error("the exposure is not there")
	}
}

// TestSignedUnits keeps a public key from asking about other people.
func TestSignedUnits(t *testing.T) {
	key := []byte("shop's secret")
	s := newShop(t, func(o *api.Options) { o.UnitKey = key })
	s.run("split", "")
	sign := api.Sign(key, "u1")
	for _, c := range []struct {
		name, role, method, path, body string
		headers                        []string
		status                         int
	}{
		{"unsigned", "frontend", "POST", flags, `{"context":{"targetingKey":"u1"}}`, nil, 403},
		{"signed for another", "frontend", "POST", flags, `{"context":{"targetingKey":"u2","unitSignature":"` + sign + `"}}`, nil, 403},
		{"signed in the context", "frontend", "POST", flags, `{"context":{"targetingKey":"u1","unitSignature":"` + sign + `"}}`, nil, 200},
		{"signed in the header", "frontend", "POST", flags, `{"context":{"targetingKey":"u1"}}`, []string{"X-Unit-Signature", sign}, 200},
		{"a server's key needs none", "client", "POST", flags, `{"context":{"targetingKey":"u1"}}`, nil, 200},
		{"Unleash, unsigned", "frontend", "GET", "/api/frontend?userId=u1", "", nil, 403},
		{"Unleash, signed", "frontend", "GET", "/api/frontend?userId=u1&properties[unitSignature]=" + sign, "", nil, 200},
	} {
		if got := s.do(c.role, c.method, c.path, c.body, c.headers...); got.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, got.status, c.status, got.body)
		}
	}
}

// TestErasure leaves nothing of a customer at any door.
func TestErasure(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	s.good("client", "POST", "/v1/events", `[{"event_id":"e1","user_id":"gone","event":"Order Completed","ts":"2026-11-22T20:15:00Z","value":10,"order_id":"o1"},{"event_id":"e2","user_id":"stays","event":"X","ts":"2026-11-22T20:15:00Z"}]`)
	s.good("client", "POST", "/v1/users/gone/opt-out", "")
	a := s.good("admin", "DELETE", "/v1/users/gone", "")
	if a["complete"] != true || a["rows"] != 1.0 || a["left"] != 0.0 {
		t.Errorf("proof = %v", a)
	}
	if got := s.one("gone", "split", `,"expose":false`); got["reason"] != "split" {
		t.Errorf("a customer who comes back is new: %v", got)
	}
	if got := s.do("marketer", "DELETE", "/v1/users/stays", ""); got.status != 403 {
		t.Errorf("a marketer erases: %d", got.status)
	}
	if strings.Contains(s.log.String(), "gone") {
		t.Error("the erased id stands in the log")
	}
}

// TestCustomers pages through scores, counts stages and shows one profile.
func TestCustomers(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	rows := map[string][3]any{}
	for i := range 25 {
		rows[fmt.Sprintf("u%02d", i)] = [3]any{[]string{"loyal", "lapsed"}[i%2], float64(i) / 25, float64(i%10 + 1)}
	}
	s.score(rows)
	var seen []string
	cursor := ""
	for {
		a := s.good("analyst", "GET", "/v1/scores?sort=-churn_risk&limit=10&cursor="+cursor, "")
		if a["total"] != 25.0 || a["score_version"] != "v-1" || a["as_of"] != "2026-11-25" {
			t.Fatalf("page = %v", a)
		}
		for _, r := range a["scores"].([]any) {
			seen = append(seen, r.(map[string]any)["user_id"].(string))
		}
		if a["next_cursor"] == nil {
			break
		}
		cursor = a["next_cursor"].(string)
	}
	if len(seen) != 25 || seen[0] != "u24" || seen[24] != "u00" {
		t.Errorf("order %v", seen)
	}
	if a := s.good("analyst", "GET", "/v1/scores?stage=lapsed&q=u1", ""); a["total"] != 5.0 {
		t.Errorf("lapsed with u1: %v", a["total"])
	}
	if a := s.good("analyst", "GET", "/v1/lifecycle", ""); a["users"] != 25.0 || a["stages"].([]any)[0].(map[string]any)["stage"] != "loyal" || a["stages"].([]any)[0].(map[string]any)["users"] != 13.0 {
		t.Errorf("lifecycle = %v", a)
	}
	u := s.good("analyst", "GET", "/v1/users/u03", "")
	if u["stage"] != "lapsed" || u["scores"].(map[string]any)["churn_risk"] != 0.12 || len(u["assignments"].([]any)) != 1 || len(u["reasons"].([]any)) != 1 {
		t.Errorf("profile = %v", u)
	}
	if s.lake.Exposed("u03", "split", 1) {
		t.Error("looking at a profile is no exposure")
	}
	s.profiles.Store(features.NewProfiles("v-2", &features.Table{}, nil))
	if got := s.do("analyst", "GET", "/v1/scores?cursor="+cursor, ""); got.status != 409 {
		t.Errorf("a cursor of older scores: %d, want 409", got.status)
	}
	if got := s.do("analyst", "GET", "/v1/scores?cursor=nonsense", ""); got.status != 422 {
		t.Errorf("a cursor that is none: %d, want 422", got.status)
	}
}

// TestQuota closes an experiment when its offer is used up, and takes the offer from nobody who was shown it.
func TestQuota(t *testing.T) {
	var given atomic.Int64
	s := newShop(t, func(o *api.Options) {
		o.Given = func(string) { given.Add(1) }
		o.OfferOut = func(string) bool { return given.Load() >= 3 }
	})
	s.good("marketer", "POST", "/v1/offers", `{"key":"few","kind":"gift","terms":{},"quota":3,"rules":{"zh":"赠品","en":"A gift"}}`)
	s.run("gift", `{"variants":[{"key":"a","weight":1},{"key":"b","weight":1,"offer":"few"}]}`)
	first := map[string]any{}
	for i := range 40 {
		u := fmt.Sprintf("u%d", i)
		if a := s.one(u, "gift", ""); a["enrolled"] == true {
			first[u] = a["variant"]
		} else if a["reason"] != "offer_exhausted" {
			t.Fatalf("%s: %v", u, a)
		}
	}
	if given.Load() != 3 || len(first) == 40 {
		t.Errorf("%d offers given to %d units, want 3", given.Load(), len(first))
	}
	for u, variant := range first {
		if a := s.one(u, "gift", ""); a["variant"] != variant {
			t.Errorf("%s had %v and now gets %v", u, variant, a)
		}
	}
}

// A patch over HTTP keeps payloads as the raw JSON that they came as, and null takes a field away.
func TestPatchKeepsSpelling(t *testing.T) {
	s := newShop(t)
	const arm = `{"variants":[{"key":"a","weight":1,"payload":{"type":"number","value":%s}},{"key":"b","weight":0,"payload":{"type":"json","value":{"big":12345678901234567891,"text":"<i>"}}}]%s}`
	s.good("marketer", "POST", "/v1/experiments", fmt.Sprintf(arm, "1", `,"key":"e","name":"x","control":"a","end_at":"2027-01-01T00:00:00Z"`))
	patched := s.do("marketer", "PATCH", "/v1/experiments/e", fmt.Sprintf(arm, "3.0", `,"end_at":null`))
	for _, part := range []string{`"value":3.0`, `"big":12345678901234567891`, `"<i>"`} {
		if patched.status != 200 || !strings.Contains(patched.body, part) {
			t.Errorf("the patched experiment lacks %s: %d %s", part, patched.status, patched.body)
		}
	}
	if strings.Contains(patched.body, "end_at") {
		t.Errorf("null did not take end_at away: %s", patched.body)
	}
	s.good("marketer", "POST", "/v1/experiments/e/start", "")
	if a := s.do("client", "POST", "/ofrep/v1/evaluate/flags/e", `{"context":{"targetingKey":"u"}}`); !strings.Contains(a.body, `"value":3.0`) {
		t.Errorf("OFREP lost the spelling: %s", a.body)
	}
	for _, empty := range []string{"", "{}", "null"} {
		if a := s.do("marketer", "PATCH", "/v1/experiments/e", empty); a.status != 422 && a.status != 400 {
			t.Errorf("PATCH with %q: %d %s", empty, a.status, a.body)
		}
	}
}

// TestCatalogueIfMatch: an object of the catalogue is replaced only while it is what was read.
func TestCatalogueIfMatch(t *testing.T) {
	s := newShop(t)
	for path, docs := range map[string][2]string{
		"/v1/layers":   {`{"key":"x"}`, `{"key":"x","allocation":[]}`},
		"/v1/holdouts": {`{"key":"x","share":0.1}`, `{"key":"x","share":0.2}`},
		"/v1/offers":   {`{"key":"x","kind":"gift","unit_cost":5,"rules":{"zh":"规则","en":"Rules"}}`, `{"key":"x","kind":"gift","unit_cost":6,"rules":{"zh":"规则","en":"Rules"}}`},
		"/v1/metrics":  {`{"key":"x","kind":"proportion","event":"Order Completed"}`, `{"key":"x","kind":"proportion","event":"Product Added"}`},
	} {
		if a := s.do("marketer", "POST", path, docs[0], "If-Match", "*"); a.status != 412 {
			t.Errorf("%s: If-Match: * of an object that is not there = %d %s, want 412", path, a.status, a.body)
		}
		first := s.do("marketer", "POST", path, docs[0])
		read := s.do("marketer", "GET", path+"/x", "")
		tag := read.header.Get("ETag")
		if first.status != 201 || read.status != 200 || tag == "" || tag != first.header.Get("ETag") || read.body != first.body {
			t.Fatalf("%s: created %d %s %s, read %d %s %s", path, first.status, first.header.Get("ETag"), first.body, read.status, tag, read.body)
		}
		if a := s.do("marketer", "POST", path, docs[1], "If-Match", `"other"`); a.status != 412 {
			t.Errorf("%s: a stale write = %d %s, want 412", path, a.status, a.body)
		}
		if a := s.do("marketer", "POST", path, docs[1], "If-Match", tag); a.status != 201 {
			t.Errorf("%s: a fresh write = %d %s", path, a.status, a.body)
		}
		if a := s.do("marketer", "GET", path+"/none", ""); a.status != 404 {
			t.Errorf("%s/none = %d, want 404", path, a.status)
		}
	}
}

package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// zipped is the gzip of a text, as a body.
func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRefusals is the table of what every kind of wrong request is answered with: always a problem document that names the field.
func TestRefusals(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	ask := `{"unit_id":"u1","experiments":["split"]}`
	base := `"key":"bad","name":"bad","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}]`
	for _, c := range []struct {
		name, role, method, path, body string
		headers                        []string
		status                         int
		field                          string
	}{
		{name: "no key", method: "POST", path: "/v1/assignments", body: ask, status: 401},
		{name: "wrong key", method: "POST", path: "/v1/assignments", body: ask, headers: []string{"Authorization", "Bearer nonsense"}, status: 401},
		{name: "broken basic", method: "POST", path: "/v1/track", body: `{}`, headers: []string{"Authorization", "Basic %%%"}, status: 401},
		{name: "frontend asks natively", role: "frontend", method: "POST", path: "/v1/assignments", body: ask, status: 403},
		{name: "analyst assigns", role: "analyst", method: "POST", path: "/v1/assignments", body: ask, status: 403},
		{name: "client creates", role: "client", method: "POST", path: "/v1/experiments", body: "{" + base + "}", status: 403},
		{name: "analyst stops", role: "analyst", method: "POST", path: "/v1/experiments/split/stop", body: "{}", status: 403},
		{name: "marketer makes keys", role: "marketer", method: "POST", path: "/v1/keys", body: `{"role":"admin"}`, status: 403},
		{name: "frontend reads scores", role: "frontend", method: "GET", path: "/v1/scores", status: 403},
		{name: "metrics need a key", method: "GET", path: "/metrics", status: 401},
		{name: "empty body", role: "client", method: "POST", path: "/v1/assignments", status: 400},
		{name: "no JSON", role: "client", method: "POST", path: "/v1/assignments", body: "{", status: 400},
		{name: "a list", role: "client", method: "POST", path: "/v1/assignments", body: "[]", status: 400},
		{name: "empty unit", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":""}`, status: 422, field: "unit_id"},
		{name: "unit is a number", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":1.38E+10}`, status: 422, field: "unit_id"},
		{name: "unit too long", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"` + strings.Repeat("u", 257) + `"}`, status: 422, field: "unit_id"},
		{name: "unit is no UTF-8", role: "client", method: "POST", path: "/v1/assignments", body: "{\"unit_id\":\"\xff\"}", status: 422, field: "unit_id"},
		{name: "unknown member", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"u","experiment":"x"}`, status: 422, field: "experiment"},
		{name: "experiments no list", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"u","experiments":"split"}`, status: 422, field: "experiments"},
		{name: "experiment no text", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"u","experiments":["a",1]}`, status: 422, field: "experiments[1]"},
		{name: "expose", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"u","expose":"maybe"}`, status: 422, field: "expose"},
		{name: "batch without units", role: "client", method: "POST", path: "/v1/assignments/batch", body: `{}`, status: 422, field: "units"},
		{name: "batch with a bad unit", role: "client", method: "POST", path: "/v1/assignments/batch", body: `{"units":[{"unit_id":"u"},{"unit_id":""}]}`, status: 422, field: "units[1].unit_id"},
		{name: "batch too long", role: "client", method: "POST", path: "/v1/assignments/batch", body: `{"units":[` + strings.Repeat(`{"unit_id":"u"},`, 1000) + `{"unit_id":"u"}]}`, status: 422, field: "units"},
		{name: "assignment too large", role: "client", method: "POST", path: "/v1/assignments", body: `{"unit_id":"` + strings.Repeat("u", 1<<20) + `"}`, status: 413},
		{name: "events too large", role: "client", method: "POST", path: "/v1/events", body: "[" + strings.Repeat(" ", 10<<20) + "]", status: 413},
		{name: "events bomb", role: "client", method: "POST", path: "/v1/events", body: zipped(t, "["+strings.Repeat(" ", 11<<20)+"]"), headers: []string{"Content-Encoding", "gzip"}, status: 413},
		{name: "assignment bomb", role: "client", method: "POST", path: "/v1/assignments", body: zipped(t, strings.Repeat(" ", 2<<20)), headers: []string{"Content-Encoding", "gzip"}, status: 413},
		{name: "management bomb", role: "marketer", method: "POST", path: "/v1/experiments", body: zipped(t, strings.Repeat(" ", 2<<20)), headers: []string{"Content-Encoding", "gzip"}, status: 413},
		{name: "no gzip", role: "client", method: "POST", path: "/v1/events", body: "[]", headers: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "cut gzip", role: "client", method: "POST", path: "/v1/events", body: zipped(t, "[]")[:12], headers: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "brotli", role: "client", method: "POST", path: "/v1/events", body: "[]", headers: []string{"Content-Encoding", "br"}, status: 415},
		{name: "events no JSON", role: "client", method: "POST", path: "/v1/events", body: "nothing", status: 400},
		{name: "too many events", role: "client", method: "POST", path: "/v1/events", body: "[" + strings.Repeat("{},", 10_000) + "{}]", status: 413},
		{name: "no such experiment", role: "admin", method: "GET", path: "/v1/experiments/none", status: 404},
		{name: "start no such", role: "admin", method: "POST", path: "/v1/experiments/none/start", body: "{}", status: 404},
		{name: "key taken", role: "marketer", method: "POST", path: "/v1/experiments", body: `{"key":"split","name":"x","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}]}`, status: 409},
		{name: "stale If-Match", role: "marketer", method: "POST", path: "/v1/experiments/split/stop", body: "{}", headers: []string{"If-Match", `"stale"`}, status: 412},
		{name: "older If-Match", role: "marketer", method: "POST", path: "/v1/experiments/split/stop", body: "{}", headers: []string{"If-Match", `"1"`}, status: 412},
		{name: "unreadable definition", role: "marketer", method: "POST", path: "/v1/experiments", body: "{", status: 400},
		{name: "form instead of JSON", role: "marketer", method: "POST", path: "/v1/experiments", body: "key=x", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415},
		{name: "weight", role: "marketer", method: "POST", path: "/v1/experiments", body: `{"key":"bad","name":"x","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":-1}]}`, status: 422, field: "variants[1].weight"},
		{name: "weight is a text", role: "marketer", method: "POST", path: "/v1/experiments", body: `{"key":"bad","name":"x","control":"a","variants":[{"key":"a","weight":"1"},{"key":"b","weight":1}]}`, status: 422, field: "variants[0].weight"},
		{name: "coverage", role: "marketer", method: "POST", path: "/v1/experiments", body: "{" + base + `,"coverage":1.5}`, status: 422, field: "coverage"},
		{name: "salt", role: "marketer", method: "POST", path: "/v1/experiments", body: "{" + base + `,"salt":"a:b"}`, status: 422, field: "salt"},
		{name: "misspelt member", role: "marketer", method: "POST", path: "/v1/experiments", body: "{" + base + `,"coverge":1}`, status: 422, field: "coverge"},
		{name: "operator", role: "marketer", method: "POST", path: "/v1/experiments", body: "{" + base + `,"targeting":[{"attribute":"x","operator":"NO_SUCH","values":["1"]}]}`, status: 422, field: "targeting[0].operator"},
		{name: "ramp without coverage", role: "marketer", method: "POST", path: "/v1/experiments/split/ramp", body: "{}", status: 422, field: "coverage"},
		{name: "limit", role: "analyst", method: "GET", path: "/v1/scores?limit=0", status: 422, field: "limit"},
		{name: "no scores yet", role: "analyst", method: "GET", path: "/v1/scores", status: 404},
		{name: "no lifecycle yet", role: "analyst", method: "GET", path: "/v1/lifecycle", status: 404},
		{name: "role of a key", role: "admin", method: "POST", path: "/v1/keys", body: `{"role":"king"}`, status: 422, field: "role"},
		{name: "no such path", method: "GET", path: "/v1/nothing", status: 404},
		{name: "wrong method", method: "DELETE", path: "/v1/assignments", status: 405},
		{name: "results without statistics", role: "analyst", method: "GET", path: "/v1/experiments/split/results", status: 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := s.do(c.role, c.method, c.path, c.body, c.headers...)
			if got.status != c.status {
				t.Fatalf("%s %s = %d, want %d: %.300s", c.method, c.path, got.status, c.status, got.body)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("Content-Type = %q, want application/problem+json", kind)
			}
			p := got.json(t)
			if p["status"] != float64(c.status) || p["title"] != http.StatusText(c.status) || p["type"] != "about:blank" || p["detail"] == "" {
				t.Errorf("problem = %v", p)
			}
			if c.field == "" {
				return
			}
			for _, e := range p["errors"].([]any) {
				if e := e.(map[string]any); e["field"] == c.field && e["reason"] != "" {
					return
				}
			}
			t.Errorf("errors = %v, want field %s", p["errors"], c.field)
		})
	}
	if strings.Contains(s.log.String(), "nonsense") || strings.Contains(s.log.String(), s.keys["client"]) {
		t.Error("a key stands in the log")
	}
}

// TestKeysInEveryPlace reads the same key from every header that clients use.
func TestKeysInEveryPlace(t *testing.T) {
	s := newShop(t)
	key := s.keys["client"]
	for name, header := range map[string][2]string{"bearer": {"Authorization", "Bearer " + key}, "lower-case bearer": {"Authorization", "bearer " + key}, "bare, as Unleash": {"Authorization", key},
		"X-API-Key": {"X-API-Key", key}, "basic, as Segment": {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))}} {
		if got := s.do("", "POST", "/v1/assignments", `{"unit_id":"u"}`, header[0], header[1]); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// TestRevokedKey ends at once on the server that revokes.
func TestRevokedKey(t *testing.T) {
	s := newShop(t)
	made := s.good("admin", "POST", "/v1/keys", `{"role":"client","name":"short"}`)
	s.keys["short"] = made["key"].(string)
	if got := s.do("short", "POST", "/v1/assignments", `{"unit_id":"u"}`); got.status != 200 {
		t.Fatalf("new key: %d %s", got.status, got.body)
	}
	if got := s.do("admin", "DELETE", "/v1/keys/"+made["id"].(string), ""); got.status != 204 {
		t.Fatalf("revoke: %d %s", got.status, got.body)
	}
	if got := s.do("short", "POST", "/v1/assignments", `{"unit_id":"u"}`); got.status != 401 {
		t.Errorf("revoked key: %d, want 401", got.status)
	}
	if list := s.do("admin", "GET", "/v1/keys", ""); strings.Contains(list.body, "hash") || strings.Contains(list.body, s.keys["short"]) {
		t.Errorf("the list of keys shows secrets: %s", list.body)
	}
}

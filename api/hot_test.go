package api_test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perennial/api"
	"perennial/api/front"
)

// TestHotDoorsEqualRoutes: what is answered before net/http has the status, the fields and the bytes of the route, and everything else is left to it.
func TestHotDoorsEqualRoutes(t *testing.T) {
	for name, origins := range map[string][]string{"no origins": nil, "origins": {"https://shop.example"}} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, func(o *api.Options) { o.CORSOrigins = origins })
			s.run("split", "")
			s.run("scored", `{"targeting":[{"attribute":"orders_today","operator":"NUM_EQ","values":["0"]}]}`)
			s.run("over", "")
			s.good("marketer", "POST", "/v1/experiments/over/stop", "{}")
			question, bulk := `{"context":{"targetingKey":"u","country":"DE"}}`, "/ofrep/v1/evaluate/flags"
			tag := s.do("client", "POST", bulk, question).header.Get("Etag")
			fronted := 0
			for _, c := range []struct {
				path, body, match string
				hot               bool
			}{
				{bulk + "/split", question, "", true}, {bulk + "/over", question, "", true}, {bulk + "/split", `{"context":{"targetingKey":"ü"}}`, "", true},
				{bulk, question, "", true}, {bulk, question, tag, true}, {bulk, question, `"another"`, true},
				{"/v1/assignments", `{"unit_id":"u"}`, "", true}, {"/v1/assignments", `{"unit_id":"u","experiments":["scored","none"],"expose":"sync"}`, "", true},
				{bulk + "/none", question, "", false}, {bulk + "/split", `{]`, "", false}, {bulk + "/split", "", "", false}, {bulk, `{}`, "", false},
				{"/v1/assignments", `{"unit_id":7}`, "", false}, {"/v1/assignments", `{"unit_id":"u","more":1}`, "", false},
			} {
				for _, role := range []string{"client", "admin", "frontend", "analyst", ""} {
					r := httptest.NewRequest("POST", c.path, strings.NewReader(c.body))
					r.Header.Set("Content-Type", "application/json")
					ask := front.Request{Path: c.path, Body: []byte(c.body), IfNoneMatch: c.match}
					if role != "" {
						ask.Authorization = "Bearer " + s.keys[role]
						r.Header.Set("Authorization", ask.Authorization)
					}
					if c.match != "" {
						r.Header.Set("If-None-Match", c.match)
					}
					raw, ok := s.server.Answer(nil, &ask)
					if want := c.hot && (role == "client" || role == "admin"); ok != want {
						t.Errorf("%s %s as %q: answered in front: %t, want %t", c.path, c.body, role, ok, want)
					}
					if !ok {
						continue
					}
					fronted++
					w := httptest.NewRecorder()
					s.server.Handler().ServeHTTP(w, r)
					got, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(got.Body)
					if err != nil {
						t.Fatal(err)
					}
					got.Header.Del("Date")
					got.Header.Del("Content-Length")
					want := w.Result().Header
					want.Del("Content-Length")
					if got.StatusCode != w.Code || !maps.EqualFunc(got.Header, want, func(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }) {
						t.Errorf("%s %s as %s:\n%d %v\nwant %d %v", c.path, c.body, role, got.StatusCode, got.Header, w.Code, want)
					}
					if a, b := string(body), w.Body.String(); a != b {
						t.Errorf("%s %s as %s:\n%s\nwant %s", c.path, c.body, role, a, b)
					}
				}
			}
			if fronted != 16 {
				t.Errorf("%d requests were answered in front, want 16", fronted)
			}
			if s.server.Wants(&front.Request{Path: bulk, Origin: "https://shop.example"}) || s.server.Wants(&front.Request{Path: "/v1/events"}) || s.server.Wants(&front.Request{Path: bulk + "/a/b"}) {
				t.Error("a browser or another path is wanted")
			}
		})
	}
}

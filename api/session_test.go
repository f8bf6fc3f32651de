package api_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"perennial/api"
)

// cookieOf returns the session cookie of an answer as a Cookie header.
func cookieOf(t *testing.T, a answer) string {
	t.Helper()
	set := a.header.Get("Set-Cookie")
	pair, _, _ := strings.Cut(set, ";")
	if !strings.HasPrefix(pair, "perennial_session=") || !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") {
		t.Fatalf("Set-Cookie = %q", set)
	}
	return pair
}

// TestSession follows a person: link, page, write, sign-out.
func TestSession(t *testing.T) {
	s := newShop(t, func(o *api.Options) {
		o.Web = fstest.MapFS{"index.html": {Data: []byte("<!doctype html>page")}, "assets/a.js": {Data: []byte("1")}}
	})
	s.run("split", "")
	html := []string{"Accept", "text/html"}
	if a := s.do("", "GET", "/experiments/split", "", html...); a.status != 303 || a.header.Get("Location") != "/signin?to=%2Fexperiments%2Fsplit" {
		t.Fatalf("page without a session: %d %s", a.status, a.header.Get("Location"))
	}
	if a := s.do("", "GET", "/assets/a.js", ""); a.status != 401 {
		t.Errorf("asset without a session: %d, want 401", a.status)
	}
	token, err := s.store.CreateSignIn(context.Background(), "marketer", "Wang Fang", time.Hour)
	s.must(err)
	link := "/signin?token=" + url.QueryEscape(token) + "&to=/experiments/split"
	in := s.do("", "GET", link, "")
	if in.status != 303 || in.header.Get("Location") != "/experiments/split" {
		t.Fatalf("link: %d %s", in.status, in.header.Get("Location"))
	}
	cookie := cookieOf(t, in)
	if again := s.do("", "GET", link, ""); again.status != 401 {
		t.Errorf("the link a second time: %d, want 401", again.status)
	}
	page := s.do("", "GET", "/experiments/split", "", "Cookie", cookie, "Accept", "text/html")
	if page.status != 200 || !strings.Contains(page.body, "page") || !strings.Contains(page.header.Get("Content-Security-Policy"), "script-src 'self';") {
		t.Errorf("page: %d %s %v", page.status, page.body, page.header)
	}
	if a := s.do("", "GET", "/assets/a.js", "", "Cookie", cookie); a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
		t.Errorf("asset: %d %v", a.status, a.header)
	}
	me := s.do("", "GET", "/v1/me", "", "Cookie", cookie)
	if m := me.json(t); m["role"] != "marketer" || m["name"] != "Wang Fang" || m["timezone"] != "UTC" {
		t.Errorf("me = %v", m)
	}
	if a := s.do("", "POST", "/v1/experiments/split/stop", "{}", "Cookie", cookie); a.status != 403 {
		t.Errorf("write without X-Requested-With: %d, want 403", a.status)
	}
	if a := s.do("", "POST", "/v1/experiments/split/stop", "{}", "Cookie", cookie, "X-Requested-With", "perennial"); a.status != 200 {
		t.Errorf("write: %d %s", a.status, a.body)
	}
	if a := s.do("", "GET", "/v1/keys", "", "Cookie", cookie); a.status != 403 {
		t.Errorf("a marketer's session reads keys: %d, want 403", a.status)
	}
	for _, path := range []string{"/v1/assignments", "/v1/events", "/ofrep/v1/evaluate/flags"} {
		if a := s.do("", "POST", path, `{"unit_id":"u"}`, "Cookie", cookie, "X-Requested-With", "perennial"); a.status != 401 {
			t.Errorf("a cookie on %s: %d, want 401", path, a.status)
		}
	}
	if a := s.do("", "POST", "/signout", "", "Cookie", cookie); a.status != 204 {
		t.Errorf("sign out: %d", a.status)
	}
	if a := s.do("", "GET", "/v1/me", "", "Cookie", cookie); a.status != 401 {
		t.Errorf("after signing out: %d, want 401", a.status)
	}
}

// TestSignInForm takes a person's key and nothing else, and sends nobody to another site.
func TestSignInForm(t *testing.T) {
	s := newShop(t)
	form := func(key, to string) string { return url.Values{"key": {key}, "to": {to}}.Encode() }
	const kind = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, key, to, location string
		status                  int
	}{
		{"analyst", s.keys["analyst"], "/customers", "/customers", 303}, {"no place", s.keys["admin"], "", "/", 303},
		{"another site", s.keys["admin"], "//evil.example", "/", 303}, {"another site by backslash", s.keys["admin"], `/\evil.example`, "/", 303},
		{"a whole address", s.keys["admin"], "https://evil.example/", "/", 303}, {"an app's key", s.keys["client"], "/", "", 403}, {"no key", "nonsense", "/", "", 401},
	} {
		a := s.do("", "POST", "/signin", form(c.key, c.to), "Content-Type", kind)
		if a.status != c.status || a.header.Get("Location") != c.location {
			t.Errorf("%s: %d to %q, want %d to %q", c.name, a.status, a.header.Get("Location"), c.status, c.location)
		}
	}
	if a := s.do("", "POST", "/signin", form(s.keys["admin"], "/"), "Content-Type", kind, "Origin", "https://evil.example"); a.status != 403 {
		t.Errorf("a foreign page's form: %d, want 403", a.status)
	}
	if a := s.do("", "POST", "/signin", `{"key":"`+s.keys["marketer"]+`"}`, "Content-Type", "application/json"); a.status != 200 || a.json(t)["role"] != "marketer" {
		t.Errorf("JSON: %d %s", a.status, a.body)
	}
	if a := s.do("", "GET", "/signin", ""); a.status != http.StatusOK || !strings.Contains(a.body, `name="key"`) {
		t.Errorf("form: %d", a.status)
	}
}

// TestWithoutPage says how to build it.
func TestWithoutPage(t *testing.T) {
	s := newShop(t)
	cookie := cookieOf(t, s.do("", "POST", "/signin", `{"key":"`+s.keys["analyst"]+`"}`, "Content-Type", "application/json"))
	if a := s.do("", "GET", "/", "", "Cookie", cookie); a.status != 200 || !strings.Contains(a.body, "make web") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

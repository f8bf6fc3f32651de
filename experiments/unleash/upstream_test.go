package unleash_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/unleash"
	"perennial/experiments/unleash/flags"
)

// server is an Unleash server whose answer can be changed while it runs.
type server struct {
	*httptest.Server
	body   atomic.Pointer[string]
	status atomic.Int32
	served atomic.Int32
}

func newServer(t *testing.T, body string) *server {
	s := &server{}
	s.body.Store(&body)
	s.status.Store(200)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/client/features" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		if r.Header.Get("Authorization") != "*:default.secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(int(s.status.Load()))
		fmt.Fprint(w, *s.body.Load())
		s.served.Add(1)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) say(body string) { s.body.Store(&body) }

func oneFlag(name string, enabled bool) string {
	return fmt.Sprintf(`{"name":%q,"enabled":%v,"strategies":[{"name":"default"}],"variants":[{"name":"a","weight":1},{"name":"b","weight":1}]}`, name, enabled)
}

func features(flags ...string) string {
	return `{"version":2,"features":[` + strings.Join(flags, ",") + `]}`
}

func watch(t *testing.T, o unleash.UpstreamOptions) *unleash.Upstream {
	t.Helper()
	o.Token, o.Refresh = "*:default.secret", 5*time.Millisecond
	u, err := unleash.NewUpstream(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("%s: not within five seconds", what)
		}
	}
}

func TestUpstreamFollowsAndOutlives(t *testing.T) {
	s := newServer(t, features(oneFlag("on", true), oneFlag("off", false)))
	file := filepath.Join(t.TempDir(), "unleash.json")
	u := watch(t, unleash.UpstreamOptions{URL: s.URL + "/api", LastGood: file})
	until(t, "first answer", func() bool { return u.Flags() != nil })
	if !u.On("on") || u.On("off") || u.On("unknown") {
		t.Errorf("On = %v %v %v, want true false false", u.On("on"), u.On("off"), u.On("unknown"))
	}
	if f := u.Flags(); len(f) != 2 || !slices.Equal(f[0].Variants, []string{"a", "b"}) {
		t.Errorf("Flags = %+v, want two with variants a b", f)
	}
	s.say(features(oneFlag("on", false), oneFlag("off", true)))
	until(t, "a change", func() bool { return !u.On("on") && u.On("off") })

	s.status.Store(500)
	until(t, "the outage shows", func() bool { return u.Fault() != "" })
	if u.On("on") || !u.On("off") {
		t.Error("an outage changed the flags")
	}
	u.Close()
	u.Close()
	if u.On("on") || !u.On("off") {
		t.Error("the last good answers are gone after Close")
	}
	later := watch(t, unleash.UpstreamOptions{URL: s.URL + "/api", LastGood: file})
	if later.On("on") || !later.On("off") {
		t.Error("the last good answers are gone after a restart while the server is down")
	}
	for name, d := range map[string]*unleash.Document{"after Close": u.Document(), "after a restart": later.Document()} {
		if d == nil || d.Evaluate("on", &flags.Context{UserID: "u"}).Enabled || !d.Evaluate("off", &flags.Context{UserID: "u"}).Enabled {
			t.Errorf("%s the document is not the last good one", name)
		}
	}
}

// Documents that make the SDK panic, fail, or enable every unknown flag leave what was good.
func TestUpstreamBrokenDocuments(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"missing stickiness panics", features(oneFlag("good", true), `{"name":"bad","enabled":true,"strategies":[{"name":"flexibleRollout","parameters":{"rollout":"50","groupId":"g"}}]}`)},
		{"zero weights", features(oneFlag("good", true), `{"name":"bad","enabled":false,"strategies":[{"name":"default"}],"variants":[{"name":"x","weight":0}]}`)},
		{"a string id fails the whole payload", features(oneFlag("good", false), `{"name":"bad","enabled":true,"strategies":[{"id":"uuid","name":"default"}]}`)},
		{"not JSON", `{"features":`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, features(oneFlag("good", true)))
			u := watch(t, unleash.UpstreamOptions{URL: s.URL + "/api"})
			until(t, "first answer", func() bool { return u.Flags() != nil })
			s.say(c.body)
			seen := s.served.Load()
			until(t, "three more fetches", func() bool { return s.served.Load() >= seen+3 })
			if !u.On("good") || u.On("unknown") || u.On("bad") {
				t.Errorf("On(good, unknown, bad) = %v %v %v, want true false false", u.On("good"), u.On("unknown"), u.On("bad"))
			}
			if d := u.Document(); d == nil || d.Evaluate("unknown", &flags.Context{UserID: "u"}).Enabled {
				t.Error("our own evaluator has no document, or enables an unknown flag")
			}
		})
	}
}

// A server that accepts and stays silent blocks the SDK's constructor for ever; ours returns, every flag is on, and Close ends all goroutines.
func TestUpstreamSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := runtime.NumGoroutine()
	transport := &http.Transport{}
	start := time.Now()
	u := watch(t, unleash.UpstreamOptions{URL: "http://" + l.Addr().String() + "/api", Timeout: 50 * time.Millisecond, Transport: transport})
	if d := time.Since(start); d > time.Second {
		t.Errorf("NewUpstream took %v", d)
	}
	if !u.On("anything") {
		t.Error("a flag is off before the first answer")
	}
	until(t, "the time-out shows", func() bool { return u.Fault() != "" })
	u.Close()
	transport.CloseIdleConnections()
	until(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestUpstreamRefusesAddress(t *testing.T) {
	for _, address := range []string{"", "unleash.example.com", "ftp://x/api", "http://"} {
		if _, err := unleash.NewUpstream(unleash.UpstreamOptions{URL: address}); err == nil {
			t.Errorf("NewUpstream(%q) = nil, want an error", address)
		}
	}
}

// Our own export is a document that the SDK reads: a stopped experiment is an upstream flag that is off.
func TestUpstreamReadsOurFeatures(t *testing.T) {
	running, stopped := experiment(t, "running"), experiment(t, "stopped")
	stopped.Status = experiments.Stopped
	body, _ := unleash.EncodeFeatures(compile(t, experiments.Source{Experiments: []*experiments.Experiment{&running, &stopped}}), "4.3.1")
	s := newServer(t, string(body))
	u := watch(t, unleash.UpstreamOptions{URL: s.URL + "/api"})
	until(t, "first answer", func() bool { return u.Flags() != nil })
	f := u.Flags()
	if len(f) != 2 || f[1].Enabled || !slices.Equal(f[0].Variants, []string{"a", "b"}) {
		t.Errorf("Flags = %+v, want two, stopped off", f)
	}
}

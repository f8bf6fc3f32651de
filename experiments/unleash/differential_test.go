package unleash_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	sdk "github.com/Unleash/unleash-client-go/v4"
	"github.com/Unleash/unleash-client-go/v4/api"
	"github.com/Unleash/unleash-client-go/v4/context"

	"perennial/experiments"
	"perennial/experiments/unleash"
	"perennial/experiments/unleash/flags"
)

var pairs = flag.Int("pairs", 40_000, "random (experiment, unit) pairs that the differential test compares")

// shop is a random set of definitions as a store would keep them.
type shop struct {
	rng    *rand.Rand
	source experiments.Source
}

func (s *shop) chance(p float64) bool { return s.rng.Float64() < p }

func pick[T any](s *shop, list ...T) T { return list[s.rng.IntN(len(list))] }

var attributeValues = map[string][]string{
	"country": {"", "CN", "cn", "DE", "用户"}, "app_version": {"", "1.2.3", "1.10.0", "2.0.0-rc.1", "2.0.0", "v2"},
	"spend": {"", "0", "3", "2.5", "-1", "1e3", "abc"}, "signup_at": {"", "2026-03-01T00:00:00Z", "2026-03-01T02:00:00+02:00", "2027-01-01T00:00:00Z", "soon"},
	"mail": {"", "a@Example.com", "b@example.org", "É@x"}, "address": {"", "10.1.2.3", "192.168.0.1", "2001:db8::7", "somewhere"},
}

func (s *shop) constraint() experiments.Constraint {
	c := experiments.Constraint{Inverted: s.chance(0.3), CaseInsensitive: s.chance(0.3)}
	filled := func(name string, n int) (values []string) {
		for range n {
			values = append(values, pick(s, attributeValues[name][1:]...))
		}
		return values
	}
	switch s.rng.IntN(8) {
	case 0:
		c.Attribute, c.Operator, c.Values = "country", pick(s, "IN", "NOT_IN"), filled("country", 1+s.rng.IntN(12))
		if s.chance(0.1) { // one SDK trims it, so it must stay on the server
			c.Values = append(c.Values, " DE ")
		}
	case 1:
		c.Attribute, c.Operator, c.Values = "mail", pick(s, "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH"), []string{pick(s, "example", "a@", ".org", "É", "É@X")}
	case 2:
		c.Attribute, c.Operator, c.Values = "spend", pick(s, "NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"), []string{pick(s, "0", "2.5", "3", "1000")}
	case 3:
		c.Attribute, c.Operator, c.Values = "app_version", pick(s, "SEMVER_EQ", "SEMVER_GT", "SEMVER_LT", "SEMVER_GT", "SEMVER_LT", "SEMVER_GTE", "SEMVER_LTE"), []string{pick(s, "1.2.3", "2.0.0", "2.0.0-rc.1")}
	case 4:
		c.Attribute, c.Operator, c.Values = "signup_at", pick(s, "DATE_AFTER", "DATE_BEFORE"), []string{"2026-03-01T00:00:00Z"}
	case 5: // of client-specification 6.1: kept from SDKs that do not announce it
		c.Attribute, c.Operator, c.Values = "mail", "REGEX", []string{pick(s, "^[a-z]@", "(?i)EXAMPLE", "\\.org$", "É|x$")}
	case 6:
		c.Attribute, c.Operator, c.Values = "address", "IN_CIDR", []string{pick(s, "10.0.0.0/8", "192.168.0.1", "2001:db8::/32")}
	default:
		c.Attribute, c.Operator, c.Values = pick(s, "userId", "unit_id"), pick(s, "STR_ENDS_WITH", "STR_CONTAINS"), []string{strconv.Itoa(s.rng.IntN(10))}
	}
	return c
}

func (s *shop) experiment(t testing.TB, i int) experiments.Experiment {
	key := fmt.Sprintf("exp-%d", i)
	d := experiments.Definition{Key: key, Salt: fmt.Sprintf("s%d-%d", i, s.rng.IntN(1e6)), Control: "v0"}
	for v := range 1 + s.rng.IntN(4) {
		d.Variants = append(d.Variants, experiments.Variant{Key: fmt.Sprintf("v%d", v), Weight: pick(s, 1, 1, 0.1, 3, 0) + float64(1-min(v, 1)),
			Payload: pick(s, nil, &experiments.Payload{Type: "number", Value: json.RawMessage("2.0")}, &experiments.Payload{Type: "boolean", Value: json.RawMessage("false")},
				&experiments.Payload{Type: "json", Value: json.RawMessage(`{"a":[1.0]}`)}, &experiments.Payload{Type: "string", Value: json.RawMessage(`"<满减>"`)})})
	}
	if s.chance(0.7) {
		c := pick(s, 0, 0.001, 0.1, 0.5, 0.9)
		d.Coverage = &c
	}
	for range s.rng.IntN(3) {
		d.Targeting = append(d.Targeting, s.constraint())
	}
	if s.chance(0.3) {
		d.Forced = map[string]string{"unit-1": "v0", "unit-2": d.Variants[len(d.Variants)-1].Key}
	}
	if s.chance(0.2) {
		at := now.Add(time.Duration(s.rng.IntN(3)-1) * time.Millisecond)
		d.StartAt = &at
	}
	if s.chance(0.2) {
		at := now.Add(time.Duration(s.rng.IntN(4)) * time.Millisecond)
		d.EndAt = &at
	}
	if i > 0 && s.chance(0.2) {
		parent := s.source.Experiments[s.rng.IntN(i)]
		d.Prerequisite = &experiments.Prerequisite{Experiment: parent.Key, Variants: []string{parent.Variants[s.rng.IntN(len(parent.Variants))].Key}}
	}
	if d.StartAt != nil && d.EndAt != nil && !d.StartAt.Before(*d.EndAt) {
		d.EndAt = nil
	}
	e, err := experiments.NewExperiment(d, now)
	if err != nil {
		t.Fatal(err)
	}
	e.Status = pick(s, experiments.Running, experiments.Running, experiments.Running, experiments.Running, experiments.Stopped, experiments.Draft, experiments.Archived)
	if s.chance(0.3) { // a history of new weights leaves scattered ranges
		for i := range e.Variants {
			e.Variants[i].Weight += s.rng.Float64()
		}
		e.Allocation = experiments.Reallocate(e.Allocation, e.Variants, s.rng.Float64())
	}
	return *e
}

func newShop(t testing.TB, seed uint64, n int) *shop {
	s := &shop{rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range n {
		s.source.Experiments = append(s.source.Experiments, new(s.experiment(t, i)))
	}
	for l := range 2 {
		layer := experiments.Layer{Key: fmt.Sprintf("l%d", l), Salt: fmt.Sprintf("layer-%d-%d", l, seed)}
		for i := l; i < n; i += 7 {
			layer.Allocation, _ = experiments.TakeFree(layer.Allocation, s.source.Experiments[i].Key, 10_000+s.rng.IntN(30_000))
		}
		s.source.Layers = append(s.source.Layers, layer)
	}
	s.source.Holdouts = []experiments.Holdout{{Key: "some", Salt: fmt.Sprintf("h-%d", seed), Allocation: []experiments.HoldoutRange{{Start: 5_000, End: 15_000}, {Start: 90_000, End: 95_000}},
		Experiments: []string{"exp-1", "exp-2", "exp-3", "exp-5"}}}
	if s.chance(0.3) {
		s.source.Holdouts = append(s.source.Holdouts, experiments.Holdout{Key: "global", Salt: fmt.Sprintf("g-%d", seed), Allocation: experiments.HoldoutShare(0.05)})
	}
	return s
}

type sent map[string]string

func (m sent) Attribute(name string) experiments.Value {
	if v := m[name]; v != "" {
		return experiments.Value{Kind: experiments.Text_, Text: v}
	}
	return experiments.Value{}
}

func (s *shop) unit() (*experiments.Unit, sent) {
	properties := sent{}
	for name, values := range attributeValues {
		if v := pick(s, values...); v != "" {
			properties[name] = v
		}
	}
	return &experiments.Unit{ID: pick(s, "unit-1", "unit-2", fmt.Sprintf("unit-%d", s.rng.IntN(1e6)), fmt.Sprintf("%x-%d", s.rng.Uint64(), s.rng.IntN(10))), Sent: properties, Now: now}, properties
}

// seen is what an SDK must say for an assignment.
func seen(a experiments.Assignment) (name string, payload *unleash.Payload) {
	if t, on := unleash.NewToggle(a); on {
		return t.Variant.Name, t.Variant.Payload
	}
	return flags.Disabled, nil
}

// inProcess feeds an SDK with our document without a socket.
type inProcess struct{ body []byte }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(p.body)), Request: r}
	if r.Method == http.MethodPost {
		w.StatusCode, w.Body = http.StatusAccepted, http.NoBody
	}
	return w, nil
}

type ready chan struct{}

func (r ready) OnReady()        { close(r) }
func (r ready) OnUpdate()       {}
func (r ready) OnError(error)   {}
func (r ready) OnWarning(error) {}

// The server, the Go SDK and our own evaluator of feature documents must give every (ASCII) unit the same variant and payload.
func TestSDKsAgreeWithServer(t *testing.T) {
	const size = 40
	compared := 0
	for seed := uint64(1); compared < *pairs; seed++ {
		s := newShop(t, seed, size)
		snapshot := compile(t, s.source)
		body, _ := unleash.EncodeFeatures(snapshot, "4.3.1")
		document, err := flags.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		loaded := make(ready)
		client, err := sdk.NewClient(sdk.WithUrl("http://in.process/api"), sdk.WithAppName("differential"), sdk.WithListener(loaded), sdk.WithDisableMetrics(true),
			sdk.WithHttpClient(&http.Client{Transport: inProcess{body}}), sdk.WithBackupPath(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-loaded:
		case <-time.After(5 * time.Second):
			t.Fatal("the SDK does not read our document")
		}
		exported := 0
		for _, key := range snapshot.Keys() {
			if document.Has(key) {
				exported++
			}
		}
		if exported < size/8 {
			t.Fatalf("seed %d: only %d of %d experiments are exported", seed, exported, size)
		}
		for range 100 {
			u, properties := s.unit()
			local := &flags.Context{UserID: u.ID, Properties: properties, CurrentTime: now.Format(time.RFC3339Nano)}
			remote := context.Context{UserId: u.ID, Properties: properties, CurrentTime: now.Format(time.RFC3339Nano)}
			for _, key := range snapshot.Keys() {
				if !document.Has(key) {
					continue
				}
				compared++
				want, payload := seen(snapshot.Assign(u, key))
				r := document.Evaluate(key, local)
				got := flags.Disabled
				if r.Variant != nil {
					got = r.Variant.Name
				}
				v := client.GetVariant(key, sdk.WithVariantContext(remote))
				if got != want || v.Name != want {
					t.Fatalf("seed %d: %s for %q %v: server %q, our evaluator %q, Go SDK %q", seed, key, u.ID, properties, want, got, v.Name)
				}
				if want != flags.Disabled && payload != nil && v.Payload != (api.Payload{Type: payload.Type, Value: payload.Value}) {
					t.Fatalf("seed %d: %s for %q: payload %+v, want %+v", seed, key, u.ID, v.Payload, *payload)
				}
			}
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d pairs", compared)
}

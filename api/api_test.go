package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
)

var rewrite = flag.Bool("rewrite", false, "write golden files again")

// shop is a whole server on a real store and a real lake, with one key per role.
type shop struct {
	t        testing.TB
	store    *sqlstore.Store
	lake     *lake.Lake
	server   *api.Server
	snapshot atomic.Pointer[experiments.Snapshot]
	profiles atomic.Pointer[features.Profiles]
	keys     map[string]string
	now      atomic.Pointer[time.Time]
	log      *bytes.Buffer
	dir      string
}

func newShop(t testing.TB, change ...func(*api.Options)) *shop {
	t.Helper()
	s := &shop{t: t, keys: map[string]string{}, log: &bytes.Buffer{}}
	now := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	s.now.Store(&now)
	clock := func() time.Time { return *s.now.Load() }
	dir, ctx := t.TempDir(), context.Background()
	s.dir = dir
	db, err := sqlstore.OpenSQLite(filepath.Join(dir, "control.db"))
	s.must(err)
	s.store, err = sqlstore.New(ctx, db, clock)
	s.must(err)
	t.Cleanup(func() { s.store.Close() })
	o := api.Options{Shop: features.Shop{Currency: "CNY", MarginRate: 0.3}, Now: clock, Store: s.store, Snapshot: s.snapshot.Load, Reload: s.reload,
		Profiles: s.profiles.Load, Version: "test", Logger: slog.New(slog.NewJSONHandler(s.log, nil))}
	for _, f := range change {
		f(&o)
	}
	s.lake, err = lake.Open(ctx, lake.Options{Dir: dir, Shop: o.Shop, Now: clock})
	s.must(err)
	t.Cleanup(func() { s.lake.Close() })
	s.must(s.lake.Serve(ctx, time.Second))
	o.Lake = s.lake
	s.must(s.reload(ctx))
	for _, role := range sqlstore.Roles {
		_, secret, err := s.store.CreateKey(ctx, role, "test "+role)
		s.must(err)
		s.keys[role] = secret
	}
	s.server, err = api.New(o)
	s.must(err)
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) reload(ctx context.Context) error {
	source, err := s.store.Source(ctx)
	if err != nil {
		return err
	}
	snapshot, err := experiments.Compile(source)
	if err == nil {
		s.snapshot.Store(snapshot)
	}
	return err
}

// answer is a recorded response.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; role "" sends no key, and headers are pairs.
func (s *shop) do(role, method, path, body string, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	}
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+s.keys[role])
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	raw, err := io.ReadAll(w.Result().Body)
	s.must(err)
	return answer{w.Code, w.Header(), string(raw)}
}

// good is do for a request that must succeed with JSON or nothing.
func (s *shop) good(role, method, path, body string, headers ...string) map[string]any {
	s.t.Helper()
	a := s.do(role, method, path, body, headers...)
	if a.status < 200 || a.status > 299 {
		s.t.Fatalf("%s %s = %d %s", method, path, a.status, a.body)
	}
	return a.json(s.t)
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	out := map[string]any{}
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Fatalf("not JSON: %.200s", a.body)
		}
	}
	return out
}

// run creates an experiment with the arms a (control) and b and starts it; more is merged into the definition.
func (s *shop) run(key string, more string) {
	s.t.Helper()
	doc := map[string]json.RawMessage{}
	s.must(json.Unmarshal([]byte(`{"name":"`+key+`","control":"a","variants":[{"key":"a","weight":1,"payload":{"type":"string","value":"show-a"}},{"key":"b","weight":1,"payload":{"type":"string","value":"show-b"}}]}`), &doc))
	if more != "" {
		s.must(json.Unmarshal([]byte(more), &doc))
	}
	doc["key"] = json.RawMessage(`"` + key + `"`)
	raw, err := json.Marshal(doc)
	s.must(err)
	s.good("marketer", "POST", "/v1/experiments", string(raw))
	s.good("marketer", "POST", "/v1/experiments/"+key+"/start", "{}")
}

// score publishes profiles in memory: user → stage, churn risk, LTV decile.
func (s *shop) score(rows map[string][3]any) {
	s.t.Helper()
	users := []string{}
	for u := range rows {
		users = append(users, u)
	}
	slices.Sort(users)
	day, err := features.ParseDay("2026-11-25")
	s.must(err)
	stage, risk, decile := features.Column{Name: "stage"}, features.Column{Name: "churn_risk"}, features.Column{Name: "ltv_decile", Integer: true}
	ltv, reasons := features.Column{Name: "ltv"}, features.Column{Name: "reasons"}
	for _, u := range users {
		stage.Texts = append(stage.Texts, rows[u][0].(string))
		risk.Numbers = append(risk.Numbers, rows[u][1].(float64))
		decile.Numbers = append(decile.Numbers, rows[u][2].(float64))
		ltv.Numbers = append(ltv.Numbers, rows[u][2].(float64)*10)
		reasons.Texts = append(reasons.Texts, `[{"feature":"recency_days","direction":"up","zh":"很久没来","en":"has not come for long"}]`)
	}
	orders := features.Column{Name: "orders_all", Integer: true, Numbers: make([]float64, len(users))}
	s.profiles.Store(features.NewProfiles("v-1", &features.Table{AsOf: day, Users: users, Columns: []features.Column{stage, risk, decile, ltv, reasons}},
		&features.Table{AsOf: day, Users: users, Columns: []features.Column{orders}}))
}

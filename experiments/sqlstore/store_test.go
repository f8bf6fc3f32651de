package sqlstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

var clock = time.Date(2026, 11, 25, 8, 0, 0, 123456789, time.UTC)

func fixed() time.Time { return clock }

func definition(key string) experiments.Definition {
	return experiments.Definition{Key: key, Name: experiments.Text{ZH: "优惠", EN: "Coupon"}, Control: "a",
		Variants: []experiments.Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1, Payload: &experiments.Payload{Type: "number", Value: json.RawMessage(`2.0`)}}}}
}

func field(err error) string {
	var invalid *experiments.InvalidError
	if !errors.As(err, &invalid) {
		return fmt.Sprint(err)
	}
	return invalid.Faults[0].Field
}

func TestExperimentLifecycle(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		e, err := s.Create(ctx, definition("coupon"), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if e.Status != experiments.Draft || e.Revision != 1 || e.AllocationRevision != 1 || e.Salt == "" || e.Plan.Looks != 14 || e.Metrics.Primary != "profit" {
			t.Errorf("Create = %+v, want a draft of revision 1 with a salt and its defaults written out", e)
		}
		if _, err := s.Create(ctx, definition("coupon"), "ann"); !errors.Is(err, experiments.ErrExists) {
			t.Errorf("Create of a taken key = %v, want ErrExists", err)
		}
		if _, err := s.Get(ctx, "nothing"); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("Get(nothing) = %v, want ErrNotFound", err)
		}
		if _, err := s.Change(ctx, "coupon", "start", nil, 7, "ann"); !errors.Is(err, experiments.ErrStale) {
			t.Errorf("Change at revision 7 = %v, want ErrStale", err)
		}
		started, err := s.Change(ctx, "coupon", "start", nil, 1, "ann")
		if err != nil || started.Status != experiments.Running || started.Revision != 2 || started.StartedAt == nil {
			t.Fatalf("start = %+v, %v, want running at revision 2", started, err)
		}
		if _, err := s.Change(ctx, "coupon", "patch", json.RawMessage(`{"salt":"other"}`), 0, "ann"); field(err) != "salt" {
			t.Errorf("another salt after the start = %v, want a fault of salt", err)
		}
		patched, err := s.Change(ctx, "coupon", "patch", json.RawMessage(`{"hypothesis":"满减 <更好>","coverage":0.5}`), 2, "bob")
		if err != nil || patched.AllocationRevision != 2 || experiments.Covered(patched.Allocation) != 50_000 {
			t.Fatalf("patch = %+v, %v, want allocation revision 2 over 50000 buckets", patched, err)
		}
		got, err := s.Get(ctx, "coupon")
		if err != nil || got.Hypothesis != "满减 <更好>" || string(got.Variants[1].Payload.Value) != "2.0" {
			t.Errorf("Get = %+v, %v: the hypothesis or the spelling of 2.0 is lost", got, err)
		}
		for _, step := range []struct{ action, doc string }{{"ramp", `{"coverage":1}`}, {"decide", `{"variant":"b","reason":"profit"}`}, {"stop", ``}, {"archive", ``}} {
			if _, err := s.Change(ctx, "coupon", step.action, json.RawMessage(step.doc), 0, "ann"); err != nil {
				t.Fatalf("%s: %v", step.action, err)
			}
		}
		if _, err := s.Change(ctx, "coupon", "start", nil, 0, "ann"); field(err) != "status" {
			t.Errorf("start of an archived experiment = %v, want a fault of status", err)
		}
		revisions, err := s.Revisions(ctx, "coupon")
		if err != nil || len(revisions) != 7 || revisions[2].Hypothesis == "" || revisions[6].Status != experiments.Archived || revisions[6].Decision.By != "ann" {
			t.Errorf("Revisions = %d, %v, want 7 with the decision in the last", len(revisions), err)
		}
		audit, err := s.Audit(ctx, "experiment/coupon", 3)
		if err != nil || len(audit) != 3 || audit[0].Action != "archive" || audit[2].By != "ann" || !audit[0].At.Equal(clock.Truncate(time.Microsecond)) {
			t.Errorf("Audit = %+v, %v, want the three newest", audit, err)
		}
		if list, err := s.List(ctx); err != nil || len(list) != 1 {
			t.Errorf("List = %d, %v, want 1", len(list), err)
		}
	})
}

func TestRefusals(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		first := definition("first")
		first.Salt = "S1"
		if _, err := s.Create(ctx, first, ""); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			field  string
			change func(d *experiments.Definition)
		}{
			{"salt", func(d *experiments.Definition) { d.Salt = "S1" }},
			{"salt", func(d *experiments.Definition) { d.Salt = "a:b" }},
			{"variants[0].offer", func(d *experiments.Definition) { d.Variants[0].Offer = "none" }},
			{"metrics.secondary[0]", func(d *experiments.Definition) { d.Metrics.Secondary = []string{"luck"} }},
			{"layer.key", func(d *experiments.Definition) { d.Layer = &experiments.LayerShare{Key: "none", Share: 0.5} }},
			{"prerequisite.experiment", func(d *experiments.Definition) {
				d.Prerequisite = &experiments.Prerequisite{Experiment: "none", Variants: []string{"a"}}
			}},
			{"prerequisite.variants[0]", func(d *experiments.Definition) {
				d.Prerequisite = &experiments.Prerequisite{Experiment: "first", Variants: []string{"z"}}
			}},
		} {
			d := definition("second")
			c.change(&d)
			if _, err := s.Create(ctx, d, ""); field(err) != c.field {
				t.Errorf("Create = %v, want a fault of %s", err, c.field)
			}
		}
		second := definition("second")
		second.Prerequisite = &experiments.Prerequisite{Experiment: "first", Variants: []string{"b"}}
		if _, err := s.Create(ctx, second, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Change(ctx, "first", "patch", json.RawMessage(`{"prerequisite":{"experiment":"second","variants":["b"]}}`), 0, ""); field(err) != "prerequisite.experiment" {
			t.Errorf("a circle of prerequisites = %v, want a fault of prerequisite.experiment", err)
		}
		source, err := s.Source(ctx)
		if err != nil || len(source.Experiments) != 2 {
			t.Fatalf("Source = %+v, %v", source, err)
		}
		if _, err := experiments.Compile(source); err != nil {
			t.Errorf("what the store accepted does not compile: %v", err)
		}
	})
}

func TestLayers(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		if _, err := s.PutLayer(ctx, experiments.Layer{Key: "promo", Allocation: []experiments.LayerRange{{Experiment: "third", Start: 90_000, End: 100_000}}}, "ann"); err != nil {
			t.Fatal(err)
		}
		join := func(key string, share float64) error {
			d := definition(key)
			d.Layer = &experiments.LayerShare{Key: "promo", Share: share}
			_, err := s.Create(ctx, d, "")
			return err
		}
		if err := errors.Join(join("first", 0.5), join("second", 0.3), join("third", 0.5)); err != nil {
			t.Fatal(err)
		}
		if err := join("fourth", 0.2); field(err) != "layer.share" || !strings.Contains(err.Error(), "0.1 of layer promo is free") {
			t.Errorf("a share of 0.2 where 0.1 is free = %v", err)
		}
		if _, err := s.Change(ctx, "first", "archive", nil, 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := join("fourth", 0.2); err != nil {
			t.Errorf("a share of 0.2 after the archive freed 0.5: %v", err)
		}
		if _, err := s.Change(ctx, "fourth", "patch", json.RawMessage(`{"layer":{"share":0.6}}`), 0, ""); err != nil {
			t.Errorf("a wider share: %v", err)
		}
		layers, err := s.Layers(ctx)
		if err != nil || len(layers) != 1 {
			t.Fatal(layers, err)
		}
		want := []experiments.LayerRange{{Experiment: "fourth", Start: 0, End: 50_000}, {Experiment: "second", Start: 50_000, End: 80_000}, {Experiment: "fourth", Start: 80_000, End: 90_000}, {Experiment: "third", Start: 90_000, End: 100_000}}
		if !slices.Equal(layers[0].Allocation, want) {
			t.Errorf("layer = %v, want %v", layers[0].Allocation, want)
		}
		_, err = s.PutLayer(ctx, experiments.Layer{Key: "promo", Allocation: []experiments.LayerRange{{Experiment: "third", Start: 75_000, End: 85_000}}}, "")
		if field(err) != "allocation[0].start" {
			t.Errorf("ranges over a running share = %v, want a fault of allocation[0].start", err)
		}
		if _, err := s.PutLayer(ctx, experiments.Layer{Key: "other", Allocation: []experiments.LayerRange{{Experiment: "second", Start: 0, End: 1}}}, ""); field(err) != "allocation[0].experiment" {
			t.Errorf("an experiment in two layers = %v", err)
		}
		if _, err := s.PutLayer(ctx, experiments.Layer{Key: "promo", Salt: "new"}, ""); field(err) != "salt" {
			t.Errorf("another salt of a layer in use = %v", err)
		}
	})
}

func TestCatalogue(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		h, err := s.PutHoldout(ctx, experiments.Holdout{Key: "global", Share: 0.05}, "ann")
		if err != nil || !slices.Equal(h.Allocation, []experiments.HoldoutRange{{Start: 0, End: 5000}}) || h.Salt == "" {
			t.Fatalf("PutHoldout = %+v, %v", h, err)
		}
		salt := h.Salt
		h.Share = 0.1 // a client that sends back what it read with another share
		if h, err = s.PutHoldout(ctx, *h, "ann"); err != nil || h.Salt != salt || h.Allocation[0].End != 10_000 {
			t.Errorf("a wider holdout = %+v, %v, want [0, 10000) of the same salt", h, err)
		}
		if _, err := s.PutOffer(ctx, experiments.Offer{Key: "s100-20", Kind: "spend_threshold", Terms: json.RawMessage(`{"threshold":100.0,"off":20}`)}, "ann"); err != nil {
			t.Fatal(err)
		}
		offers, err := s.Offers(ctx)
		if err != nil || len(offers) != 1 || string(offers[0].Terms) != `{"threshold":100.0,"off":20}` {
			t.Errorf("Offers = %s, %v", offers[0].Terms, err)
		}
		m := experiments.MetricDef{Key: "gifts", Kind: "mean", Event: "Gift"}
		for want := int64(1); want <= 2; want++ {
			got, err := s.PutMetric(ctx, m, "ann")
			if err != nil || got.Revision != want {
				t.Errorf("PutMetric = %+v, %v, want revision %d", got, err, want)
			}
			same, err := s.PutMetric(ctx, *got, "ann")
			if err != nil || same.Revision != want {
				t.Errorf("the same metric again = %+v, %v, want revision %d", same, err, want)
			}
			m.Event = "Gift Given"
		}
		kept, err := s.MetricRevisions(ctx, "gifts")
		if err != nil || len(kept) != 2 || kept[0].Event != "Gift" || kept[1].Revision != 2 {
			t.Fatalf("MetricRevisions = %+v, %v, want both, the first first", kept, err)
		}
		if back, err := s.PutMetric(ctx, kept[0], "ann"); err != nil || back.Revision != 3 || back.Event != "Gift" {
			t.Errorf("the first revision again = %+v, %v, want it as revision 3", back, err)
		}
		if _, err := s.MetricRevisions(ctx, "gift"); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("revisions of an unknown metric: %v, want not found", err)
		}
		if _, err := s.PutMetric(ctx, experiments.MetricDef{Key: "profit", Kind: "mean"}, ""); field(err) != "key" {
			t.Errorf("a metric named profit = %v, want a fault of key", err)
		}
	})
}

func TestKeysAndSessions(t *testing.T) {
	now := clock
	eachStore(t, func() time.Time { return now }, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		k, secret, err := s.CreateKey(ctx, "client", "shop")
		if err != nil || !strings.HasPrefix(secret, "pk_client_") || len(secret) < 60 {
			t.Fatalf("CreateKey = %+v, %d bytes, %v", k, len(secret), err)
		}
		keys, err := s.Keys(ctx)
		if err != nil || len(keys) != 1 || keys[0].RevokedAt != nil || !slices.Equal(keys[0].Hash, sqlstore.HashSecret(secret)) {
			t.Fatalf("Keys = %+v, %v", keys, err)
		}
		if err := errors.Join(s.RevokeKey(ctx, k.ID), s.RevokeKey(ctx, k.ID)); err != nil {
			t.Error(err)
		}
		if keys, _ = s.Keys(ctx); keys[0].RevokedAt == nil {
			t.Error("a revoked key has no revoked_at")
		}
		if err := s.RevokeKey(ctx, "none"); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("RevokeKey(none) = %v", err)
		}
		if _, _, err := s.CreateKey(ctx, "root", ""); field(err) != "role" {
			t.Errorf("a key of role root = %v", err)
		}

		token, err := s.CreateSignIn(ctx, "marketer", "ann", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if role, name, err := s.SignIn(ctx, token); role != "marketer" || name != "ann" || err != nil {
			t.Errorf("SignIn = %s %s %v", role, name, err)
		}
		if _, _, err := s.SignIn(ctx, token); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("the second SignIn = %v, want ErrNotFound", err)
		}
		late, _ := s.CreateSignIn(ctx, "marketer", "ann", time.Minute)
		session, err := s.CreateSession(ctx, "marketer", "ann", 2*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		if _, _, err := s.SignIn(ctx, late); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("SignIn after its time = %v, want ErrNotFound", err)
		}
		if role, _, err := s.Session(ctx, session); role != "marketer" || err != nil {
			t.Errorf("Session = %s %v", role, err)
		}
		if err := s.EndSession(ctx, session); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Session(ctx, session); !errors.Is(err, experiments.ErrNotFound) {
			t.Errorf("Session after its end = %v, want ErrNotFound", err)
		}
		if err := errors.Join(s.OptOut(ctx, "u1", true), s.OptOut(ctx, "u1", true), s.OptOut(ctx, "u2", true), s.OptOut(ctx, "u2", false)); err != nil {
			t.Error(err)
		}
		if out, err := s.OptedOut(ctx); err != nil || len(out) != 1 || !out["u1"] {
			t.Errorf("OptedOut = %v, %v, want u1", out, err)
		}
	})
}

func TestLooks(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		s, ctx := open(), t.Context()
		if _, err := s.Create(ctx, definition("coupon"), ""); err != nil {
			t.Fatal(err)
		}
		look := sqlstore.Look{Experiment: "coupon", Number: 1, At: clock, Matured: 12, Doc: json.RawMessage(`{"z":1.50}`)}
		if err := s.PutLook(ctx, look); err != nil {
			t.Fatal(err)
		}
		look.Doc = json.RawMessage(`{"z":2}`)
		if err := s.PutLook(ctx, look); !errors.Is(err, experiments.ErrExists) {
			t.Errorf("the same look again = %v, want ErrExists", err)
		}
		look.Number = 3
		if err := s.PutLook(ctx, look); field(err) != "look" {
			t.Errorf("look 3 after 1 = %v, want a fault of look", err)
		}
		got, err := s.Looks(ctx, "coupon")
		if err != nil || len(got) != 1 || string(got[0].Doc) != `{"z":1.50}` || got[0].Matured != 12 {
			t.Errorf("Looks = %+v, %v", got, err)
		}
	})
}

// Writers of two servers interleave: no update is lost, versions rise, and a layer is never given away twice.
func TestTwoServers(t *testing.T) {
	eachStore(t, fixed, func(t *testing.T, open func() *sqlstore.Store) {
		a, b := open(), open()
		ctx := t.Context()
		if _, err := a.PutLayer(ctx, experiments.Layer{Key: "promo"}, ""); err != nil {
			t.Fatal(err)
		}
		before, err := b.Version(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		errs := make([]error, 20)
		for i := range 20 {
			group.Add(1)
			go func() {
				defer group.Done()
				d := definition(fmt.Sprintf("e%d", i))
				d.Layer = &experiments.LayerShare{Key: "promo", Share: 0.1}
				_, errs[i] = []*sqlstore.Store{a, b}[i%2].Create(context.WithoutCancel(ctx), d, "")
			}()
		}
		group.Wait()
		in := 0
		for _, err := range errs {
			if err == nil {
				in++
			} else if field(err) != "layer.share" {
				t.Error(err)
			}
		}
		layers, err := b.Layers(ctx)
		if err != nil || in != 10 || len(layers[0].Allocation) != 10 || layers[0].Validate() != nil {
			t.Errorf("%d of 20 shares of 0.1 got in, layer %+v, %v; want exactly 10", in, layers, err)
		}
		if after, err := b.Version(ctx); err != nil || after != before+10 {
			t.Errorf("version %d → %d, %v, want ten more", before, after, err)
		}
	})
}

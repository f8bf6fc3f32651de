package warehouse_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// disguise gives two of three users an anonymous past: before the day on which she signs in, a user's rows carry an id of hers that is linked on that day.
// Every sixth user's alias is itself the end of a chain of two.
func disguise(events []features.Event, shop features.Shop, signsIn func(user string, i int) features.Day) (anonymous []features.Event, links []features.Link) {
	number := map[string]int{}
	for _, e := range events {
		if _, ok := number[e.UserID]; !ok && e.UserID != "" {
			number[e.UserID] = len(number)
		}
	}
	for user, i := range number {
		if i%3 == 0 {
			continue
		}
		at := shop.Midnight(signsIn(user, i)).Add(20 * time.Hour)
		links = append(links, features.Link{Alias: "anon-" + user, User: user, KnownAt: at})
		if i%6 == 1 {
			links = append(links, features.Link{Alias: "device-" + user, User: "anon-" + user, KnownAt: at.Add(-48 * time.Hour)})
		}
	}
	for k, e := range events {
		i, known := number[e.UserID]
		switch day := signsIn(e.UserID, i); {
		case !known || i%3 == 0 || e.BizDay > day:
		case i%6 == 1 && k%2 == 0:
			e.UserID = "device-" + e.UserID
		default:
			e.UserID = "anon-" + e.UserID
		}
		anonymous = append(anonymous, e)
	}
	return anonymous, links
}

// folded is the events under the ids that were known before an instant.
func folded(events []features.Event, links []features.Link, before time.Time) []features.Event {
	people := features.NewPeople(links, before)
	out := slices.Clone(events)
	for i := range out {
		out[i].UserID = people.Root(out[i].UserID)
	}
	return out
}

// What is built of rows with several ids a person is what is built of rows whose ids were folded by hand, by the links known before each cut: from events and
// from tiles, one cut and several, labels too.
func TestIdsOfAPersonAreFolded(t *testing.T) {
	plain := slices.DeleteFunc(synth.History(shanghai, 51, 24), func(e features.Event) bool { return e.BizDay >= day("2024-08-01") })
	events, links := disguise(plain, shanghai, func(_ string, i int) features.Day { return day("2024-02-20") + features.Day(i*3) })
	e, snap, dir, _ := tiled(t, nil, events)
	snap.Links = links
	tiles := filepath.Join(dir, "linked")
	if err := os.Mkdir(tiles, 0o700); err != nil {
		t.Fatal(err)
	}
	made, err := e.BuildTiles(t.Context(), snap, tiles, filepath.Join(dir, "tiles"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if made.Dirty != 0 {
		t.Errorf("links made %d days dirty: tiles keep ids as they were received", made.Dirty)
	}
	if e.PlanTiles(snap).Version() == e.PlanTiles(&lake.Snapshot{Segments: snap.Segments}).Version() {
		t.Error("links do not change the version of the tiles, so a night would not fold them")
	}
	cuts := []features.Day{day("2024-03-01"), day("2024-04-05"), day("2024-05-20")}
	many, err := e.FeaturesAt(t.Context(), snap, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	fromTiles, err := e.FeaturesFromTiles(t.Context(), tiles, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	build := warehouse.Build{Cuts: cuts, Labels: &warehouse.LabelWindow{HorizonDays: 60}, Passes: 3}
	if _, err := e.BuildParts(t.Context(), snap, tiles, build, filepath.Join(dir, "set"), nil); err != nil {
		t.Fatal(err)
	}
	now, nowSnap, _, _ := tiled(t, nil, folded(events, links, time.Time{}))
	for i, cut := range cuts {
		hand, handSnap, _, _ := tiled(t, nil, folded(events, links, shanghai.Midnight(cut)))
		table, err := hand.Features(t.Context(), handSnap, cut)
		if err != nil {
			t.Fatal(err)
		}
		one, err := e.Features(t.Context(), snap, cut)
		if err != nil {
			t.Fatal(err)
		}
		want := csvOf(t, hand, table)
		for name, got := range map[string]*features.Table{"one cut": one, "many cuts": many[i], "tiles": fromTiles[i]} {
			if csvOf(t, e, got) != want {
				t.Errorf("%s at %s: features differ from those of ids folded by hand", name, cut)
			}
		}
		aliases := slices.ContainsFunc(table.Users, func(u string) bool { return len(u) > 5 && u[:5] == "anon-" })
		if last := i == len(cuts)-1; aliases == last && i != 1 {
			t.Errorf("at %s anonymous users are there: %v; the links of the test do not lie between the cuts", cut, aliases)
		}
		set := partsOf(t, e, filepath.Join(dir, "set"), cut)
		if !slices.Equal(set.Users, table.Users) {
			t.Fatalf("at %s the training set has %d users, want %d", cut, len(set.Users), len(table.Users))
		}
		people := features.NewPeople(links, time.Time{})
		roots := make([]string, len(table.Users))
		for k, u := range table.Users {
			roots[k] = people.Root(u)
		}
		wantLabels, err := now.Labels(t.Context(), nowSnap, roots, cut, 60, 0)
		if err != nil {
			t.Fatal(err)
		}
		gotLabels, err := e.Labels(t.Context(), snap, table.Users, cut, 60, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(gotLabels, wantLabels) {
			t.Errorf("labels at %s differ from those of ids folded by hand", cut)
		}
		for k := range table.Users {
			if g, w := set.Column("label_orders").Numbers[k], float64(wantLabels.Orders[k]); g != w {
				t.Errorf("%s at %s: label_orders = %v, want %v", table.Users[k], cut, g, w)
			}
		}
	}
}

// An experiment is judged by people: exposures and outcomes under several ids count once, and two variants of one person are seen.
func TestMeasureFoldsPeople(t *testing.T) {
	asOf := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	plain := synth.Trial(shop, 7, 300, asOf)
	shown := map[string]features.Day{}
	for _, e := range plain {
		if first, ok := shown[e.UserID]; e.Name == features.ExperimentViewed && (!ok || e.BizDay < first) {
			shown[e.UserID] = e.BizDay
		}
	}
	events, links := disguise(plain, shop, func(user string, _ int) features.Day { return min(shown[user], shop.DayOf(asOf)-1) })
	plan := warehouse.MetricPlan{Experiment: "promo", Start: asOf.Add(-30 * 24 * time.Hour), AsOf: asOf, HorizonDays: 9, Variants: []string{"a", "b", "c"},
		Metrics: []warehouse.Metric{{Key: "profit", Kind: "profit"}, {Key: "revenue", Kind: "mean", Field: "value"}, {Key: "order_rate", Kind: "proportion"}}}
	measure := func(events []features.Event, links []features.Link) *warehouse.Measured {
		t.Helper()
		engine, snap := world(t, shop, events)
		snap.Links = links
		m, err := engine.Measure(t.Context(), snap, plan)
		if err != nil {
			t.Fatal(err)
		}
		m.SQL = nil
		return m
	}
	want, got, apart := measure(plain, nil), measure(events, links), measure(events, nil)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("measured by people: %+v\nwant %+v", got, want)
	}
	if fmt.Sprint(apart.TwoArm) == fmt.Sprint(want.TwoArm) || apart.Exposed <= want.Exposed {
		t.Errorf("without links %d exposed and two arms %v, with them %d and %v: the test folds nothing", apart.Exposed, apart.TwoArm, want.Exposed, want.TwoArm)
	}
	late := slices.Clone(links)
	for i := range late {
		late[i].KnownAt = asOf.Add(time.Hour)
	}
	if got := measure(events, late); !reflect.DeepEqual(got, apart) {
		t.Error("links that became known after the day of the results are used")
	}
}

// The life of the customers counts people: what stages, cohorts and business numbers say of rows with several ids a person is what they say of rows folded by
// hand, by the links known before each cut.
func TestLifecycleFoldsPeople(t *testing.T) {
	plain := slices.DeleteFunc(synth.History(shanghai, 53, 60), func(e features.Event) bool { return e.BizDay >= day("2024-08-01") })
	events, links := disguise(plain, shanghai, func(_ string, i int) features.Day { return day("2024-02-20") + features.Day(i*3) })
	cuts := []features.Day{day("2024-03-01"), day("2024-03-21"), day("2024-04-05"), day("2024-05-20"), day("2024-06-01")}
	asOf := cuts[len(cuts)-1]
	cohorts := warehouse.CohortPlan{AsOf: asOf, From: day("2024-01-01"), To: asOf, UnitDays: 30, Born: "any", Activity: "order"}
	economics := warehouse.EconomicsPlan{AsOf: asOf, From: day("2024-01-01"), To: asOf, AcquiredFrom: day("2024-01-01"), AcquiredTo: day("2024-05-01"), HorizonDays: 30, RepeatDays: []int{30, 60}, ReturnDays: 30}
	e, snap := world(t, shanghai, events)
	alone := *snap
	snap.Links = links

	stocks := func(m warehouse.Moves, cut features.Day) map[features.Stage]int64 {
		n := map[features.Stage]int64{}
		for move, users := range m[cut] {
			n[move[1]] += users
		}
		return n
	}
	moves, err := e.StageMoves(t.Context(), snap, cuts)
	if err != nil {
		t.Fatal(err)
	}
	unlinked, err := e.StageMoves(t.Context(), &alone, cuts)
	if err != nil {
		t.Fatal(err)
	}
	different := false
	for i, cut := range cuts[1:] {
		hand, handSnap := world(t, shanghai, folded(events, links, shanghai.Midnight(cut)))
		want, err := hand.StageMoves(t.Context(), handSnap, []features.Day{cuts[i], cut})
		if err != nil {
			t.Fatal(err)
		}
		if g, w := stocks(moves, cut), stocks(want, cut); !reflect.DeepEqual(g, w) {
			t.Errorf("at %s stages hold %v people, want %v", cut, g, w)
		}
		different = different || !reflect.DeepEqual(stocks(moves, cut), stocks(unlinked, cut))
	}
	if !different {
		t.Error("stages are the same without links: the test folds nothing")
	}

	hand, handSnap := world(t, shanghai, folded(events, links, shanghai.Midnight(asOf)))
	for name, ask := range map[string]func(*warehouse.Engine, *lake.Snapshot) (any, error){
		"cohorts": func(e *warehouse.Engine, s *lake.Snapshot) (any, error) { return e.Returns(t.Context(), s, cohorts) },
		"business numbers": func(e *warehouse.Engine, s *lake.Snapshot) (any, error) {
			return e.Economics(t.Context(), s, economics)
		},
	} {
		got, err := ask(e, snap)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ask(hand, handSnap)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s of people: %+v\nwant %+v", name, got, want)
		}
		if without, err := ask(e, &alone); err != nil || reflect.DeepEqual(got, without) {
			t.Errorf("%s are the same without links (%v): the test folds nothing", name, err)
		}
	}
}

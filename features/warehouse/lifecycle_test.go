package warehouse_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// told makes an event at a local time of Shanghai, such as "2025-01-15 00:00:00".
func told(user, name, when string, more ...func(*features.Event)) features.Event {
	ts, err := time.ParseInLocation(time.DateTime, when, shanghai.Location)
	if err != nil {
		panic(err)
	}
	files++ // an id of its own
	e := features.Event{EventID: fmt.Sprintf("e%d", files), UserID: user, Name: name, TS: ts.UTC(), ReceivedAt: ts.UTC(), AvailableAt: ts.UTC()}
	for _, f := range more {
		f(&e)
	}
	e.BizDay, e.KnownDay, e.IDDay = shanghai.DayOf(e.TS), shanghai.DayOf(e.AvailableAt), features.Shop{}.DayOf(e.TS)
	return e
}

// learned says that an event became known only later.
func learned(when string) func(*features.Event) {
	return func(e *features.Event) {
		ts, err := time.ParseInLocation(time.DateTime, when, shanghai.Location)
		if err != nil {
			panic(err)
		}
		e.AvailableAt = ts.UTC()
	}
}

// order sets money in whole units; -1 leaves a margin out.
func order(value, margin, discount int64, id, channel string) func(*features.Event) {
	return func(e *features.Event) {
		e.Value, e.Discount, e.OrderID, e.Channel = features.AmountOf(features.Micros(value)*1e6), features.AmountOf(features.Micros(discount)*1e6), id, channel
		if margin >= 0 {
			e.Margin = features.AmountOf(features.Micros(margin) * 1e6)
		}
	}
}

// stageDates are the eight days, and stageTable what every one of the twelve users is on them, both written by hand from DESIGN §4.5; "-" is not known yet.
var stageDates = []string{"2025-01-15", "2025-02-01", "2025-03-15", "2025-05-01", "2025-08-01", "2025-10-01", "2026-01-01", "2026-02-01"}

var stageTable = []struct{ user, life, want string }{
	{"u01", "seen 01-04", "prospect prospect prospect prospect prospect prospect prospect prospect"},
	{"u02", "one order", "new new declining declining lapsed lapsed lapsed lapsed"},
	{"u03", "two orders", "new active active declining lapsed lapsed lapsed lapsed"},
	{"u04", "two orders, back after 250 days", "active active active declining lapsed reactivated declining declining"},
	{"u05", "five orders in two weeks", "loyal loyal declining declining lapsed lapsed lapsed lapsed"},
	{"u06", "every 30 days", "new active active active loyal loyal loyal loyal"},
	{"u07", "comes in April", "- - - new declining declining lapsed lapsed"},
	{"u08", "an order that is learned four weeks late", "prospect prospect declining declining lapsed lapsed lapsed lapsed"},
	{"u09", "orders at midnight and a second before it", "prospect new declining declining lapsed lapsed reactivated active"},
	{"u10", "a rhythm of 40 days", "new declining active active declining lapsed lapsed lapsed"},
	{"u11", "both sides of 30, 90 and 180", "new new declining declining reactivated active lapsed lapsed"},
	{"u12", "two orders on one day, one more after 200", "prospect active active declining lapsed active declining declining"},
}

func twelve() []features.Event {
	var all []features.Event
	at := func(day int) string { return (features.Day(20089) + features.Day(day)).String() } // day 0 is 2025-01-01
	buy := func(user string, days ...int) {
		for _, d := range days {
			all = append(all, told(user, features.OrderCompleted, at(d)+" 12:00:00", order(10, 3, 0, "", "")))
		}
	}
	see := func(user string, day int) {
		all = append(all, told(user, features.SessionStarted, at(day)+" 09:00:00"))
	}
	see("u01", 3)
	buy("u02", 10)
	buy("u03", 10, 20)
	buy("u04", 0, 10, 260)
	buy("u05", 0, 5, 8, 12, 13)
	for d := 0; d <= 390; d += 30 {
		buy("u06", d)
	}
	see("u07", 90)
	buy("u07", 100)
	see("u08", 1)
	all = append(all, told("u08", features.OrderCompleted, at(12)+" 12:00:00", order(10, 3, 0, "", ""), learned(at(40)+" 08:00:00")))
	see("u09", 5)
	all = append(all, told("u09", features.OrderCompleted, "2025-01-15 00:00:00", order(10, 3, 0, "", "")), told("u09", features.OrderCompleted, "2025-12-31 23:59:59", order(10, 3, 0, "", "")))
	buy("u10", 0, 40, 80)
	buy("u11", 1, 183)
	see("u12", 2)
	buy("u12", 20, 20, 220)
	return all
}

// TestTwelveLives compares the stage of every user on every date with the hand-written table, by the features and by the moves between the dates.
func TestTwelveLives(t *testing.T) {
	c, err := features.ParseCatalog([]byte("version: 1\npopulation: orders_all >= 0\n"))
	if err != nil {
		t.Fatal(err)
	}
	engine, snap := catalogWorld(t, c, twelve())
	var cuts []features.Day
	for _, d := range stageDates {
		cuts = append(cuts, day(d))
	}
	tables, err := engine.FeaturesAt(t.Context(), snap, cuts...)
	if err != nil {
		t.Fatal(err)
	}
	moves, err := engine.StageMoves(t.Context(), snap, cuts)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, table := range tables {
		stage := map[string]string{}
		for i, u := range table.Users {
			stage[u] = table.Column("stage").Texts[i]
		}
		for _, row := range stageTable {
			s := stage[row.user]
			if s == "" {
				s = "-"
			}
			got[row.user] = append(got[row.user], s)
		}
	}
	want := warehouse.Moves{}
	for _, row := range stageTable {
		if life := strings.Join(got[row.user], " "); life != row.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", row.user, row.life, life, row.want)
		}
		stages := strings.Fields(strings.ReplaceAll(row.want, "-", "none"))
		for i := 1; i < len(stages); i++ {
			if stages[i] == "none" {
				continue
			}
			if want[cuts[i]] == nil {
				want[cuts[i]] = map[[2]features.Stage]int64{}
			}
			want[cuts[i]][[2]features.Stage{features.Stage(strings.ReplaceAll(stages[i-1], "none", "")), features.Stage(stages[i])}]++
		}
	}
	if !reflect.DeepEqual(moves, want) {
		t.Errorf("moves:\n got %v\nwant %v", moves, want)
	}
}

// TestMovesSum: on every day the moves out of a stage are the users that stood in it the day before, a past day stays what it was when its future is
// deleted, and stages do not depend on how the history lies in files.
func TestMovesSum(t *testing.T) {
	events := synth.History(shanghai, 51, 60)
	var cuts []features.Day
	for d := day("2024-09-01"); d <= day("2024-10-10"); d++ {
		cuts = append(cuts, d)
	}
	last := cuts[len(cuts)-1]
	var past []features.Event
	for _, e := range events {
		if e.BizDay < last && e.KnownDay < last {
			past = append(past, e)
		}
	}
	c := features.DefaultCatalog()
	engine, snap := catalogWorld(t, c, events)
	moves, err := engine.StageMoves(t.Context(), snap, cuts)
	if err != nil {
		t.Fatal(err)
	}
	var before map[features.Stage]int64
	for _, d := range cuts[1:] {
		from, to := map[features.Stage]int64{}, map[features.Stage]int64{}
		for m, n := range moves[d] {
			to[m[1]] += n
			if m[0] != "" {
				from[m[0]] += n
			}
		}
		if before != nil && !reflect.DeepEqual(from, before) {
			t.Errorf("%s: moves out of %v, the day before had %v", d, from, before)
		}
		before = to
	}
	engine, snap = catalogWorld(t, c, past)
	again, err := engine.StageMoves(t.Context(), snap, cuts)
	if err != nil || !reflect.DeepEqual(again, moves) {
		t.Errorf("stages change when the future is deleted (%v)", err)
	}
}

// TestReturns is a cohort by hand: a midnight in Shanghai, a visit that is learned late, a message that is no visit, and days that are not over.
func TestReturns(t *testing.T) {
	engine, snap := catalogWorld(t, nil, []features.Event{
		told("a", features.OrderCompleted, "2025-03-01 23:59:59"), told("a", features.SessionStarted, "2025-03-02 00:00:00"),
		told("b", features.OrderCompleted, "2025-03-02 00:00:00"), told("b", features.SessionStarted, "2025-03-03 23:59:00"), told("b", features.SessionStarted, "2025-03-09 08:00:00"),
		told("c", features.OrderCompleted, "2025-03-01 10:00:00"), told("c", features.SessionStarted, "2025-03-08 10:00:00", learned("2025-03-20 10:00:00")),
		told("d", features.OrderCompleted, "2025-03-10 10:00:00"), told("d", features.SessionStarted, "2025-03-12 10:00:00"), told("d", features.MessageSent, "2025-03-11 10:00:00"),
		told("e", features.OrderCompleted, "2025-02-28 23:59:59"),
	})
	for _, c := range []struct {
		asOf                      string
		n                         int
		users, classic, unbounded int64
		mature                    bool
	}{
		{"2025-03-15", 1, 4, 2, 3, true},
		{"2025-03-15", 7, 3, 1, 1, false}, // d's seventh day is not over, c's visit is not known
		{"2025-03-15", 30, 0, 0, 0, false},
		{"2025-03-25", 7, 4, 2, 2, true},
		{"2025-03-11", 1, 3, 2, 2, false},
	} {
		r, err := engine.Returns(t.Context(), snap, warehouse.CohortPlan{AsOf: day(c.asOf), From: day("2025-03-01"), To: day("2025-03-11"), UnitDays: 1, Born: "order", Activity: "any"})
		if err != nil {
			t.Fatal(err)
		}
		classic := r.Cell(day("2025-03-01"), day("2025-03-11"), day(c.asOf), 1, c.n, false)
		later := r.Cell(day("2025-03-01"), day("2025-03-11"), day(c.asOf), 1, c.n, true)
		if classic.Users != c.users || classic.Retained != c.classic || later.Retained != c.unbounded || classic.Mature != c.mature || (classic.Rate == nil) != (c.users == 0) {
			t.Errorf("D%d as of %s = %+v and %d later, want %d of %d, %d later, mature %v", c.n, c.asOf, classic, later.Retained, c.classic, c.users, c.unbounded, c.mature)
		}
	}
	_, err := engine.Returns(t.Context(), snap, warehouse.CohortPlan{AsOf: day("2025-03-15"), From: day("2025-03-01"), To: day("2025-03-11"), UnitDays: 1, Born: "birth", Activity: "any"})
	if err == nil || !strings.Contains(err.Error(), "born") {
		t.Errorf("born: birth = %v, want an error that names born", err)
	}
}

// bazaar is a month with three paid channels, one of them a store, one channel that only costs, and customers that nobody paid for.
func bazaar() []features.Event {
	commission := func(units int64) func(*features.Event) {
		return func(e *features.Event) { e.Commission = features.AmountOf(features.Micros(units) * 1e6) }
	}
	coupon := func(e *features.Event) { e.CouponID = "c" }
	return []features.Event{
		told("w1", features.OrderCompleted, "2025-05-02 10:00:00", order(100, 40, 10, "1", "wechat")), told("w1", features.OrderCompleted, "2025-05-12 10:00:00", order(50, 20, 0, "2", "search")),
		told("w2", features.OrderCompleted, "2025-05-20 10:00:00", order(80, 30, 0, "3", "wechat"), commission(5)), told("w2", features.OrderRefunded, "2025-05-25 10:00:00", order(40, -1, 0, "3", "")),
		told("s1", features.OrderCompleted, "2025-05-15 10:00:00", order(300, 150, 0, "4", "search")),
		told("o1", features.OrderCompleted, "2025-05-31 23:59:59", order(400, 200, 20, "5", "offline_store")), told("o1", features.OrderCompleted, "2025-06-30 10:00:00", order(900, 330, 0, "6", "offline_store")),
		told("o1", features.OrderCompleted, "2025-07-01 00:00:00", order(900, 330, 0, "7", "offline_store")),
		told("g1", features.OrderCompleted, "2025-05-10 10:00:00", order(100, -1, 0, "8", "")),
		told("x", features.OrderCompleted, "2025-04-01 10:00:00", order(10, 1, 0, "9", "wechat")), told("x", features.OrderCompleted, "2025-05-05 10:00:00", order(200, 50, 0, "10", "wechat"), coupon),
		told("y", features.OrderCompleted, "2024-09-01 10:00:00", order(10, 1, 0, "11", "")), told("y", features.OrderCompleted, "2025-05-10 10:00:00", order(70, 10, 0, "12", "")),
		told("z", features.OrderCompleted, "2024-08-01 10:00:00", order(10, 1, 0, "13", "")), told("p", features.SessionStarted, "2025-05-07 10:00:00"),
	}
}

// TestEconomics compares the business numbers of that month with what was worked out on paper (reference: the formulas in features/lifecycle.md).
func TestEconomics(t *testing.T) {
	engine, snap := catalogWorld(t, nil, bazaar())
	cost := func(channel string, units int64) features.Cost {
		return features.Cost{Day: day("2025-05-03"), Channel: channel, Micros: features.Micros(units) * 1e6}
	}
	e, err := engine.Economics(t.Context(), snap, warehouse.EconomicsPlan{AsOf: day("2025-07-01"), From: day("2025-05-01"), To: day("2025-06-01"), AcquiredFrom: day("2025-05-01"), AcquiredTo: day("2025-06-01"), HorizonDays: 60, RepeatDays: []int{30, 60}, ReturnDays: 30,
		Costs: []features.Cost{cost("wechat", 100), cost("wechat", 200), cost("search", 120), cost("offline_store", 500), cost("tv", 50)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		got  *float64
		want float64
	}{
		{"active users", ptr(float64(e.ActiveUsers)), 8}, {"payers", ptr(float64(e.Payers)), 7}, {"repeaters", ptr(float64(e.Repeaters)), 1}, {"new customers", ptr(float64(e.NewCustomers)), 5},
		{"orders", ptr(float64(e.Orders)), 8}, {"revenue", &e.Revenue, 1300}, {"refunded", &e.Refunded, 40}, {"ARPU", e.ARPU, 162.5}, {"ARPPU", e.ARPPU, 1300.0 / 7}, {"AOV", e.AOV, 162.5},
		{"orders per payer", e.OrdersPerPayer, 8.0 / 7}, {"repurchase rate", e.RepurchaseRate, 1.0 / 7}, {"refund rate", e.RefundRate, 0.125}, {"refund share", e.RefundShare, 40.0 / 1300},
		{"coupon rate", e.CouponRate, 0.125}, {"reactivation rate", e.Reactivation.Rate, 0.5}, {"again within 30 days", e.RepeatWithin[0].Rate, 0.4},
	} {
		if c.got == nil || *c.got != c.want {
			t.Errorf("%s = %v, want %v", c.name, show(c.got), c.want)
		}
	}
	if r := e.RepeatWithin[1]; r.Users != 0 || r.Rate != nil {
		t.Errorf("again within 60 days = %+v: nobody has lived so long, so it is null", r)
	}
	type channel struct {
		customers                            int64
		media, promo, cac, ltv, ratio, payee float64 // -1 is null
		reason                               string
	}
	want := map[string]channel{
		"wechat":        {2, 300, 10, 155, 35, 35.0 / 155, -1, "not_paid_back"}, // margins 65 on day 0, −15 on day 5 (half the order came back), 20 on day 10
		"search":        {1, 120, 0, 120, 150, 1.25, 0, ""},
		"offline_store": {1, 500, 20, 520, 530, 530.0 / 520, 30, ""}, // the order of the 31st day counts, the one at the cut does not
		"":              {1, -1, 0, -1, 30, -1, -1, "no_costs"},      // margin estimated at the shop's rate of 0.3
		"tv":            {0, 50, 0, -1, -1, -1, -1, "no_new_customers"},
	}
	if len(e.Channels) != len(want) || e.Channels[0].Channel != "wechat" || e.Channels[0].LTVDays != 31 {
		t.Errorf("channels %+v, want %d, wechat first, over 31 days", e.Channels, len(want))
	}
	for _, c := range e.Channels {
		w := want[c.Channel]
		days := (*float64)(nil)
		if c.PaybackDays != nil {
			days = ptr(float64(*c.PaybackDays))
		}
		if c.NewCustomers != w.customers || c.PromoCost != w.promo || c.Reason != w.reason {
			t.Errorf("%q = %+v, want %+v", c.Channel, c, w)
		}
		for name, pair := range map[string]struct {
			got  *float64
			want float64
		}{"media cost": {c.MediaCost, w.media}, "CAC": {c.CAC, w.cac}, "LTV": {c.LTV, w.ltv}, "LTV:CAC": {c.LTVToCAC, w.ratio}, "payback": {days, w.payee}} {
			if pair.want < 0 != (pair.got == nil) || pair.got != nil && *pair.got != pair.want {
				t.Errorf("%q: %s = %v, want %v", c.Channel, name, show(pair.got), pair.want)
			}
		}
	}
}

func ptr(x float64) *float64 { return &x }

func show(x *float64) any {
	if x == nil {
		return nil
	}
	return *x
}

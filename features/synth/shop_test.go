package synth_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/synth"
)

func TestShopIsSeeded(t *testing.T) {
	c := synth.Config{Seed: 5, Users: 40, Start: 15000, Days: 200}
	collect := func(c synth.Config) (all []features.Event) {
		for e := range synth.Shop(c) {
			all = append(all, e)
		}
		return all
	}
	a := collect(c)
	if b := collect(c); !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives other events")
	}
	more := c
	more.Users = 41
	if b := collect(more); !reflect.DeepEqual(a, b[:len(a)]) || len(b) == len(a) {
		t.Error("one more customer changes the others")
	}
	ids, end := map[string]bool{}, c.Shop.Midnight(c.Start+200)
	for i, e := range a {
		if ids[e.EventID] {
			t.Fatalf("event id %s stands twice", e.EventID)
		}
		ids[e.EventID] = true
		if e.TS.Before(c.Shop.Midnight(c.Start)) || !e.TS.Before(end) {
			t.Errorf("event %d at %s is outside the history", i, e.TS)
		}
		if i > 0 && a[i-1].UserID == e.UserID && e.TS.Before(a[i-1].TS) {
			t.Errorf("event %d comes before the one before it", i)
		}
	}
}

// TestShopFollowsItsTruth compares the orders of customers with what their own rates and lives promise.
func TestShopFollowsItsTruth(t *testing.T) {
	c := synth.Config{Seed: 9, Users: 4000, Start: 15000, Days: 365}
	end := c.Shop.Midnight(c.Start + 365)
	var orders, want, late, total float64
	for i := range c.Users {
		truth := c.Truth(i)
		stop := truth.Died
		if end.Before(stop) {
			stop = end
		}
		want += 1 + truth.PerWeek*stop.Sub(truth.Born).Hours()/24/7
		for _, e := range c.Customer(i) {
			total++
			if e.KnownDay > e.BizDay {
				late++
			}
			if e.Name == features.OrderCompleted {
				orders++
				if e.TS.After(truth.Died.Add(time.Hour)) {
					t.Fatalf("customer %d orders at %s, after her end at %s", i, e.TS, truth.Died)
				}
			}
		}
	}
	if se := math.Sqrt(want); math.Abs(orders-want) > 4*se {
		t.Errorf("%v orders, want %v ± %v", orders, want, se)
	}
	if share := late / total; share < 0.008 || share > 0.012 {
		t.Errorf("%v of the events are late, want about 0.01", share)
	}
}

func BenchmarkShop(b *testing.B) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for range synth.Shop(synth.Config{Seed: 1, Users: 100}) {
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

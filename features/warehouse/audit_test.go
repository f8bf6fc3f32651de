package warehouse_test

import (
	"slices"
	"testing"

	"perennial/features/lake"
	"perennial/features/synth"
)

// The replay of every bucket finds what was built from tiles, and every user that was tampered with.
func TestAudit(t *testing.T) {
	e, snap, tiles, _ := tiled(t, nil, synth.History(shanghai, 61, 120))
	cut := day("2025-02-10")
	tables, err := e.FeaturesFromTiles(t.Context(), tiles+"/tiles", cut)
	if err != nil {
		t.Fatal(err)
	}
	made := tables[0]
	users, want := 0, 0
	for bucket := 3; bucket < lake.Buckets; bucket += 9 {
		for _, u := range made.Users {
			if int(lake.UserBucket(u)) == bucket {
				want++
			}
		}
		a, err := e.Audit(t.Context(), snap, made, bucket)
		if err != nil {
			t.Fatal(err)
		}
		if users += a.Users; a.Differences != 0 {
			t.Errorf("bucket %d: %d of %d users differ in %v", bucket, a.Differences, a.Users, a.Columns)
		}
	}
	if users != want || users == 0 {
		t.Errorf("%d users computed again, want %d", users, want)
	}
	bucket := int(lake.UserBucket(made.Users[5]))
	clean, err := e.Audit(t.Context(), snap, made, bucket)
	if err != nil {
		t.Fatal(err)
	}
	made.Column("orders_all").Numbers[5]++
	made.Users = append(made.Users, "")
	for made.Users[len(made.Users)-1] = "stranger"; int(lake.UserBucket(made.Users[len(made.Users)-1])) != bucket; {
		made.Users[len(made.Users)-1] += "x"
	}
	a, err := e.Audit(t.Context(), snap, made, bucket)
	if err != nil {
		t.Fatal(err)
	}
	if a.Differences != 2 || a.Users != clean.Users+1 || !slices.Equal(a.Columns, []string{"orders_all"}) {
		t.Errorf("audit of one changed and one invented user: %+v, want two differences in orders_all", a)
	}
}

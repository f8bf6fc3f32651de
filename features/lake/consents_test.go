package lake_test

import (
	"encoding/json"
	"testing"
	"time"

	"perennial/features"
)

// TestRefusedAsKnown: a refusal counts from the day on which it was known until a newer bit, for its purpose alone, and an erased user leaves none.
func TestRefusedAsKnown(t *testing.T) {
	l := serve(t, t.TempDir())
	at := func(days int) time.Time { return start.AddDate(0, 0, days) }
	bits := func(id, user string, days, lag int, properties string) features.Event {
		return features.Event{EventID: id, UserID: user, Name: features.ConsentUpdated, TS: at(days), AvailableAt: at(days + lag), Properties: json.RawMessage(properties)}
	}
	events := []features.Event{
		bits("1", "a", -10, 0, `{"analytics":false}`), bits("2", "a", -5, 0, `{"analytics":true}`),
		bits("3", "b", -10, 3, `{"analytics":false,"personalised_marketing":true,"newsletter":false}`),
		bits("4", "c", -10, 0, `{"personalised_marketing":false}`), bits("5", "c", -10, 0, `{"personalised_marketing":true}`), // at once: the refusal stands
		bits("6", "d", -9, 0, `{"analytics":"no"}`),
	}
	for range 2 { // again changes nothing
		if _, _, err := l.Load(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	day := func(days int) features.Day { return shanghai(t).DayOf(at(days)) }
	check := func(purpose string, known features.Day, want ...string) {
		t.Helper()
		got, err := l.Refused(t.Context(), purpose, known)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%s refused before %s by %v, want %v", purpose, known, got, want)
		}
		for _, u := range want {
			if !got[u] {
				t.Errorf("%s refused before %s by %v, want %v", purpose, known, got, want)
			}
		}
	}
	check(features.ConsentAnalytics, day(-10))
	check(features.ConsentAnalytics, day(-9), "a")
	check(features.ConsentAnalytics, day(-6), "a", "b")
	check(features.ConsentAnalytics, day(0), "b")
	check(features.ConsentMarketing, day(0), "c")
	if p, err := l.Erase(t.Context(), "b"); err != nil || !p.Complete {
		t.Fatalf("Erase = %+v, %v", p, err)
	}
	check(features.ConsentAnalytics, day(0))
}

package features_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"perennial/features"
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	shop = features.Shop{Currency: "CNY"}
)

func TestDecodeEventRefusals(t *testing.T) {
	base := map[string]string{"event_id": `"e1"`, "user_id": `"u1"`, "event": `"Order Completed"`, "ts": `"2026-11-22T20:15:00+08:00"`, "value": `128.5`}
	for _, c := range []struct{ name, field, value, want string }{
		{"good", "order_id", `"o9"`, ""},
		{"null is absent", "margin", `null`, ""},
		{"unknown field", "colour", `[1,{"a":null}]`, ""},
		{"own currency", "currency", `"CNY"`, ""},
		{"other currency", "currency", `"USD"`, "currency: not the shop's currency CNY"},
		{"number as user", "user_id", `138`, "user_id: not a JSON string"},
		{"rounded number as user", "user_id", `1.38E+10`, "user_id: not a JSON string"},
		{"empty user", "user_id", `""`, "user_id: missing"},
		{"null user", "user_id", `null`, "user_id: missing"},
		{"long user", "user_id", `"` + strings.Repeat("x", 257) + `"`, "user_id: longer than 256 bytes"},
		{"longest user", "user_id", `"` + strings.Repeat("x", 256) + `"`, ""},
		{"broken surrogate", "user_id", `"\ud800"`, "user_id: not a JSON string"},
		{"honest replacement character", "user_id", `"\ufffd\n"`, "user_id: holds a control character"},
		{"control character", "user_id", `"a\u0000"`, "user_id: holds a control character"},
		{"no event id", "event_id", `null`, "event_id: missing"},
		{"no zone", "ts", `"2026-11-22T20:15:00"`, "ts: not RFC 3339"},
		{"impossible date", "ts", `"2026-02-30T20:15:00Z"`, "ts: not RFC 3339"},
		{"epoch", "ts", `1763820900`, "ts: not a JSON string"},
		{"an hour ahead", "ts", `"2026-11-22T13:00:00Z"`, ""},
		{"more than an hour ahead", "ts", `"2026-11-22T13:00:00.000001Z"`, "ts: in the future"},
		{"quoted amount", "value", `"128.5"`, "value: not a decimal number"},
		{"boolean amount", "value", `true`, "value: not a decimal number"},
		{"huge amount", "value", `1e300`, "value: not a decimal number"},
		{"negative order", "value", `-1`, "value: negative"},
		{"order without value", "value", `null`, "value: missing"},
		{"negative margin", "margin", `-3.25`, ""},
		{"properties array", "properties", `[]`, "properties: not a JSON object"},
		{"properties too large", "properties", `{"a":"` + strings.Repeat("x", 16<<10) + `"}`, "properties: more than 16 KB"},
		{"broken nesting", "properties", `{"a":]}`, ": not valid JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("{")
			for k, v := range base {
				if k != c.field {
					b.WriteString(`"` + k + `": ` + v + ",")
				}
			}
			b.WriteString(`"` + c.field + `":` + c.value + "}")
			_, err := features.DecodeEvent([]byte(b.String()), shop, noon)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("DecodeEvent(%s=%.40s) = %q, want %q", c.field, c.value, got, c.want)
			}
		})
	}
}

func TestDecodeEventFields(t *testing.T) {
	raw := `{"event_id":"0192f1c2","user_id":"ü1","anonymous_id":"a","event":"Order Completed","ts":"2026-11-22T18:15:00.1234567+08:00","value":128.5,"currency":null,
	 "margin":-0.042,"discount":20,"platform_discount":0,"commission":3.2e0,"cost":0,"order_id":"o9","category":"f\u00f6od","properties":{ "a" : "b c" , "d": [1, 2] }}`
	e, err := features.DecodeEvent([]byte(raw), shop, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event_id":"0192f1c2","user_id":"\u00fc1","anonymous_id":"a","event":"Order Completed","ts":"2026-11-22T10:15:00.123456Z","value":128.5,"currency":"CNY","margin":-0.042,"discount":20,"platform_discount":0,"commission":3.2,"cost":0,"order_id":"o9","product_id":null,"category":"f\u00f6od","channel":null,"coupon_id":null,"session_id":null,"properties":{"a":"b c","d":[1,2]}}`
	want = strings.NewReplacer(`\u00fc`, "ü", `\u00f6`, "ö").Replace(want)
	if got := string(features.EncodeEvent(nil, &e)); got != want {
		t.Errorf("EncodeEvent = %s\nwant %s", got, want)
	}
	again, err := features.DecodeEvent(features.EncodeEvent(nil, &e), shop, noon)
	if err != nil || string(features.EncodeEvent(nil, &again)) != want {
		t.Errorf("decode of the encoded event = %v, %v", again, err)
	}
}

func TestDecodeEventClock(t *testing.T) {
	// A phone two hours ahead says that it sent at 14:00 what happened at 13:55; it is 12:00 here.
	e, err := features.DecodeEvent([]byte(`{"event_id":"1","user_id":"u","event":"x","ts":"2026-11-22T13:55:00Z","sent_at":"2026-11-22T14:00:00Z"}`), shop, noon)
	if err != nil || !e.TS.Equal(noon.Add(-5*time.Minute)) || e.IDDay.String() != "2026-11-22" {
		t.Errorf("skewed clock: ts %v, id_day %v, err %v; want 11:55 of the same day", e.TS, e.IDDay, err)
	}
	// A clock that is right is left alone; a late delivery is no skew.
	e, err = features.DecodeEvent([]byte(`{"event_id":"1","user_id":"u","event":"x","ts":"2026-11-20T09:00:00Z","sent_at":"2026-11-22T11:59:30Z"}`), shop, noon)
	if err != nil || e.TS.Day() != 20 {
		t.Errorf("late delivery: ts %v, err %v; want the 20th", e.TS, err)
	}
}

func TestDecodeEventDerivedIDs(t *testing.T) {
	order := `{"user_id":"u","event":"Order Completed","ts":"2026-11-22T10:00:00Z","value":1,"order_id":"o1"}`
	a, err := features.DecodeEvent([]byte(order), shop, noon)
	b, _ := features.DecodeEvent([]byte(strings.Replace(order, "10:00:00Z", "18:00:00+08:00", 1)), shop, noon)
	if err != nil || a.EventID == "" || a.EventID != b.EventID {
		t.Errorf("an order's derived id = %q and %q, err %v; want one", a.EventID, b.EventID, err)
	}
}

func TestDecodeBatch(t *testing.T) {
	good := `{"event_id":"1","user_id":"u","event":"x","ts":"2026-11-22T10:00:00Z"}`
	for _, c := range []struct {
		name, body      string
		limits          features.Limits
		events, rejects int
		err             error
	}{
		{"array", `[` + good + `, {"event_id":5} ,` + good + `]`, features.Limits{}, 2, 1, nil},
		{"empty array", ` [ ] `, features.Limits{}, 0, 0, nil},
		{"array of other things", `[1,"a",null]`, features.Limits{}, 0, 3, nil},
		{"ndjson", good + "\n\n" + good + "\r\n{broken\n", features.Limits{}, 2, 1, nil},
		{"ndjson without last newline", good + "\n" + good, features.Limits{}, 2, 0, nil},
		{"one event over lines", strings.ReplaceAll(good, ",", ",\n"), features.Limits{}, 1, 0, nil},
		{"byte order mark", "\xef\xbb\xbf[" + good + "]", features.Limits{}, 1, 0, nil},
		{"open array", `[` + good, features.Limits{}, 0, 0, features.ErrUnreadable},
		{"array and more", `[` + good + `] x`, features.Limits{}, 0, 0, features.ErrUnreadable},
		{"empty", " \n", features.Limits{}, 0, 0, features.ErrUnreadable},
		{"text", "hello\nworld\n", features.Limits{}, 0, 0, features.ErrUnreadable},
		{"too many", good + "\n" + good + "\n" + good, features.Limits{Events: 2}, 0, 0, features.ErrTooLarge},
		{"too many in an array", "[" + good + "," + good + "," + good + "]", features.Limits{Events: 2}, 0, 0, features.ErrTooLarge},
		{"too long", good, features.Limits{Bytes: 20}, 0, 0, features.ErrTooLarge},
		{"deep", "[" + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "]", features.Limits{}, 0, 0, features.ErrUnreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := features.DecodeBatch(strings.NewReader(c.body), shop, noon, c.limits)
			if !errors.Is(err, c.err) {
				t.Fatalf("DecodeBatch = %v, want %v", err, c.err)
			}
			if err == nil && (len(b.Events) != c.events || len(b.Rejected) != c.rejects || len(b.Index) != c.events) {
				t.Errorf("DecodeBatch = %d events, %d rejected %v, want %d and %d", len(b.Events), len(b.Rejected), b.Rejected, c.events, c.rejects)
			}
		})
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"event_id":"1","user_id":"u","event":"x","ts":"2026-11-22T10:00:00Z","value":1.5,"properties":{"a":[1,{"b":null}]}}`))
	f.Add([]byte(`[{"event_id":"\u00e9"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := features.DecodeEvent(raw, shop, noon)
		if err != nil {
			return
		}
		again, err := features.DecodeEvent(features.EncodeEvent(nil, &e), shop, noon)
		if err != nil && !strings.Contains(err.Error(), "sent_at") {
			t.Fatalf("an accepted event does not come back: %v", err)
		}
		again.SentAt, e.SentAt = time.Time{}, time.Time{}
		if e.UserID != again.UserID || e.Value != again.Value || string(e.Properties) != string(again.Properties) {
			t.Fatalf("round trip: %+v, want %+v", again, e)
		}
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	raw := []byte(`{"event_id":"0192f1c2-7d7e-7000-8000-000000000001","user_id":"u1","anonymous_id":null,"event":"Order Completed","ts":"2026-11-22T20:15:00+08:00","value":128.5,"currency":"CNY","margin":40.1,"discount":20,"order_id":"o9","category":"food","channel":"wechat","properties":{}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := features.DecodeEvent(raw, shop, noon); err != nil {
			b.Fatal(err)
		}
	}
}

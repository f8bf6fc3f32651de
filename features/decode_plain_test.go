package features

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// decodeFields is the plain version of reader: it reads the fields of CONTRACT §3 without judging them beyond their JSON type, field by field from scanned
// values.
func decodeFields(raw []byte) (Event, error) {
	var e Event
	if !utf8.Valid(raw) {
		return e, &InvalidError{"", "not valid UTF-8"}
	}
	s := scanner{data: raw}
	err := s.object(func(key string, value []byte) error {
		if string(value) == "null" {
			return nil
		}
		if text := e.text(key); text != nil {
			v, ok := unquote(value)
			if !ok {
				return &InvalidError{key, "not a JSON string"}
			}
			*text = v
			return nil
		}
		if amount := e.amount(key); amount != nil {
			m, err := ParseMicros(string(value))
			if err != nil || value[0] == '"' {
				return &InvalidError{key, "not a decimal number"}
			}
			*amount = AmountOf(m)
			return nil
		}
		switch key {
		case "ts", "sent_at":
			t, reason := parseTime(value)
			if reason != "" {
				return &InvalidError{key, reason}
			}
			if key == "ts" {
				e.TS = t
			} else {
				e.SentAt = t
			}
		case "properties":
			p, reason := compactObject(value)
			if reason != "" {
				return &InvalidError{key, reason}
			}
			e.Properties = p
		}
		return nil
	})
	return e, err
}

// plainEvent decodes the plain way.
func plainEvent(raw []byte) (Event, error) { return decodeFields(raw) }

// same compares what both ways say of a text.
func same(t *testing.T, raw []byte) {
	t.Helper()
	want, wantErr := plainEvent(raw)
	var got Event
	r := reader{s: string(raw)}
	fault := r.whole(&got)
	if (wantErr == nil) != (fault == nil) {
		t.Fatalf("%q: reader says %v, the plain way %v", raw, fault, wantErr)
	}
	if fault != nil {
		// Behind a field that has not its form the plain way reads no further, so that it may not see broken JSON.
		if fault.Error() != wantErr.Error() && fault != errSyntax {
			t.Fatalf("%q: reader says %v, the plain way %v", raw, fault, wantErr)
		}
		return
	}
	if !bytes.Equal(EncodeEvent(nil, &got), EncodeEvent(nil, &want)) {
		t.Fatalf("%q: reader reads %s, the plain way %s", raw, EncodeEvent(nil, &got), EncodeEvent(nil, &want))
	}
}

var decodeSeeds = []string{
	`{"event_id":"1","user_id":"u","event":"x","ts":"2026-11-22T10:00:00Z","value":1.5,"properties":{"a":[1,{"b":null}]}}`,
	`{"event_id":"\u00e9\n","user_id":"\ud83d\ude00","anonymous_id":"\ud800","event":null,"ts":"2024-02-29T23:59:59.123456789-11:30","sent_at":"2026-11-22T10:00:00+08:00"}`,
	` { "value" : -0.000001 , "margin":1e3,"cost":12345678901234567890,"discount":"1","commission":true,"platform_discount":[1], "properties" : { "a\"b" : " c  d\\" , "e" : [ 1 , 2 ] } } `,
	`{"ev\u0065nt":"x","\ud800":1,"unknown":{"a":{"b":[[],{}]}},"properties":{}}`,
	`{"ts":"2026-02-30T20:15:00Z","properties":[]}`, `{"ts":5,"user_id":1.38E+10}`, `[]`, `{}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{"user_id":"a`, `{"user_id":"a\`, "{\"user_id\":\"a\x01\"}", `nulL`, `{"x":01}`,
	`{"ts":"2026-11-22T24:00:00Z"}`, `{"ts":"2026-11-22T10:00:60Z"}`, `{"ts":"2026-11-22T10:00:00.Z"}`, `{"ts":"2026-11-22T10:00:00,5Z"}`, `{"ts":"2026-11-22T10:00:00+24:00"}`, `{"ts":"0000-01-01T00:00:00Z"}`,
}

// TestReaderEqualsPlain compares the fast decoder with the plain one on the seeds, on every prefix of them and on random changes.
func TestReaderEqualsPlain(t *testing.T) {
	const letters = `"\\{}[]:,0123456789.eE+- Ztunl`
	r := rand.New(rand.NewPCG(1, 2))
	for _, seed := range decodeSeeds {
		for n := range len(seed) + 1 {
			same(t, []byte(seed[:n]))
		}
		for range 3000 {
			raw := []byte(seed)
			for range 1 + r.IntN(3) {
				i := r.IntN(len(raw))
				switch r.IntN(3) {
				case 0:
					raw[i] = letters[r.IntN(len(letters))]
				case 1:
					raw = append(raw[:i:i], raw[i+1:]...)
				default:
					raw = append(append(raw[:i:i], raw[r.IntN(len(raw))]), raw[i:]...)
				}
				if len(raw) == 0 {
					break
				}
			}
			same(t, raw)
		}
	}
}

// TestPlainTimes: the fast reading of a time agrees with the standard library wherever it answers.
func TestPlainTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		at := time.Unix(r.Int64N(253402300800+62135596800)-62135596800, r.Int64N(1e9)).In(time.FixedZone("", (r.IntN(48)-24)*1800))
		text := at.Format([]string{time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000Z07:00"}[r.IntN(3)])
		want, err := time.Parse(time.RFC3339Nano, text)
		got, ok := plainRFC3339(text)
		if ok && (err != nil || !got.Equal(want.Truncate(time.Microsecond))) {
			t.Fatalf("plainRFC3339(%s) = %v, want %v (%v)", text, got, want, err)
		}
		if !ok && err == nil && strings.Index(text, "0000") != 0 {
			t.Fatalf("plainRFC3339(%s) does not answer", text)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range decodeSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { same(t, raw) })
}

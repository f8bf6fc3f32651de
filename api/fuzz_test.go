package api

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzWellFormed compares wellFormed with json.Valid, and the scanner's reading of accepted bodies with encoding/json's.
func FuzzWellFormed(f *testing.F) {
	for _, seed := range []string{`{"unit_id":"u1","experiments":["split"],"attributes":{"a":1}}`, `{"context":{"targetingKey":"u1","a":-1.5e+3,"b":null,"c":[1,{}]}}`, `[]`, `""`, `"\u00e9\n"`,
		`{"a":1,"a":"2"}`, " { } ", `01`, `-`, `1.`, `1e`, "\"\x01\"", `{"a"}`, `[1,]`, `nul`, `"\ud800"`, "\"\xff\"", `{"\\":"\""}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, want := wellFormed(body), json.Valid(body); got != want {
			t.Fatalf("wellFormed(%q) = %v, json.Valid says %v", body, got, want)
		}
		var want map[string]json.RawMessage
		if !wellFormed(body) || json.Unmarshal(body, &want) != nil || want == nil || !utf8.Valid(body) {
			return
		}
		got := map[string]json.RawMessage{}
		sc := scanner{b: body}
		sc.enter()
		for {
			name, ok := sc.next()
			if !ok {
				break
			}
			got[name] = append([]byte(nil), sc.raw()...)
		}
		if len(got) != len(want) {
			t.Fatalf("scanner found %d members of %q, want %d", len(got), body, len(want))
		}
		for name, raw := range want {
			if string(got[name]) != string(raw) {
				t.Fatalf("member %q of %q = %q, want %q", name, body, got[name], raw)
			}
			valueOf(raw)
		}
	})
}

// FuzzQuestions feeds every reader of a hot door with anything; none may panic.
func FuzzQuestions(f *testing.F) {
	for _, seed := range []string{`{"unit_id":"u1","experiments":["split"],"attributes":{"a":1},"expose":"sync"}`, `{"units":[{"unit_id":"u"}],"expose":false}`, `{"context":{"targetingKey":"u1","properties":{"x":"y"}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !wellFormed(body) {
			return
		}
		sc := scanner{b: body}
		if sc.peek() != '{' {
			return
		}
		a := &ask{}
		sc.enter()
		for {
			name, ok := sc.next()
			if !ok {
				break
			}
			switch at := sc.i; name {
			case "experiments":
				if a.readKeys(&sc) != nil {
					return
				}
			case "expose":
				_ = a.readExpose(sc.raw())
			default:
				v := sc.raw()
				if v[0] == '{' {
					a.readSent(v)
				}
				if sc.i <= at {
					t.Fatal("the scanner stands still")
				}
			}
		}
		for _, s := range a.sent.list {
			a.sent.Attribute(s.name)
		}
	})
}

package warehouse

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"perennial/features/vectors"
)

// What scan finds in a text is what json_extract_string finds, and it leaves little of what stands in events to DuckDB.
func TestScanEqualsJSON(t *testing.T) {
	db, err := vectors.Open("SET threads = 1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &properties{conn: conn, ctx: t.Context()}
	check := func(text string) (scanned bool) {
		t.Helper()
		var got, want asked
		if !got.scan([]byte(text)) {
			return false
		}
		if err := want.ask(p, text); err != nil {
			t.Errorf("%s: scanned as %q, by DuckDB %v", text, got.texts, err)
		} else if got != want {
			t.Errorf("%s: scanned as %q %v, by DuckDB %q %v", text, got.texts, got.has, want.texts, want.has)
		}
		return true
	}
	for text, scans := range map[string]bool{
		`{"experiment":"promo","variant":"a","allocation_revision":3,"p_assign":0.5}`:                                         true,
		` { "experiment" : "it's" , "variant" : null , "variant" : "b" } `:                                                    true,
		`{"experiment":"套餐","variant":"a\"b\\c\n\u00e9\u4f60","score_version":""}`:                                            true,
		`{"context":{"experiment":"inner","list":[1,{"variant":"}"}],"e":{}},"experiment":"outer","allocation_revision":"7"}`: true,
		`{"experiment":true,"variant":false,"allocation_revision":-12}`:                                                       true,
		`{"\u0065xperiment":"escaped key","variant":"a"}`:                                                                     true,
		`{}`: true, `[]`: true, `"experiment"`: true, `12`: true, `{"experiment":"","variant":"x"}`: true,
		`{"experiment":{"a":1},"variant":"a"}`: false, `{"allocation_revision":1.50}`: false, `{"allocation_revision":1e3}`: false,
		`{"experiment":"\ud83d\ude00"}`: false, `{"experiment":`: false, ``: false, `{"allocation_revision":-0}`: false, `{"a":1,}`: false,
	} {
		if check(text) != scans {
			t.Errorf("%s: scanned %v, want %v", text, !scans, scans)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	parts := append([]string{`{`, `}`, `[`, `]`, `,`, `:`, ` `, `"x"`, `"a,b:}"`, `"\""`, `"\\"`, `null`, `true`, `1`, `0`, `-3`, `0.25`, `""`}, askedKeys...)
	var value func(depth int) string
	value = func(depth int) string {
		switch n := r.IntN(8); {
		case n < 5 || depth > 3:
			return parts[7+r.IntN(11)]
		case n == 5:
			return "[" + value(depth+1) + "," + value(depth+1) + "]"
		}
		var keys []string
		for range r.IntN(5) {
			keys = append(keys, fmt.Sprintf(`%q:%s`, parts[18+r.IntN(4)], value(depth+1)))
		}
		return "{" + strings.Join(keys, ", ") + "}"
	}
	scanned := 0
	for i := range 4000 {
		text := value(0)
		if i%4 == 0 { // a part of it, or with something between
			at := r.IntN(len(text))
			text = text[:at] + parts[r.IntN(7)] + text[at:]
		}
		if check(text) {
			scanned++
		}
	}
	if scanned < 2000 {
		t.Errorf("%d of 4000 texts were scanned", scanned)
	}
}

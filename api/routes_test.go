package api

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// listAccess registers every door of an empty server and writes who may use it, one line a door.
func listAccess() []byte {
	s := &Server{count: newCounters(), access: map[string]role{}}
	s.route()
	var out bytes.Buffer
	var lines []string
	for _, r := range s.engine.Routes() {
		who, known := s.access[r.Method+" "+r.Path]
		text := who.names()
		switch {
		case !known:
			text = "NOT BEHIND A DOORWAY"
		case who == anyone:
			text = "anyone"
		case who&session != 0:
			text += ", session"
		}
		lines = append(lines, fmt.Sprintf("%-7s %-45s %s", r.Method, r.Path, text))
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Or(strings.Compare(a[8:], b[8:]), strings.Compare(a, b)) })
	for _, l := range lines {
		fmt.Fprintln(&out, l)
	}
	return out.Bytes()
}

// TestWhoMayEnter compares every door and its roles with testdata/routes.txt, which is read in review; -rewrite writes it again.
func TestWhoMayEnter(t *testing.T) {
	got := listAccess()
	if slices.Contains(os.Args, "-rewrite") || slices.Contains(os.Args, "-test.rewrite") || slices.Contains(os.Args, "-rewrite=true") {
		if err := os.WriteFile("testdata/routes.txt", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("doors have changed:\n%s", got)
	}
	if gin.Mode() != gin.ReleaseMode {
		t.Error("gin would print its routes")
	}
}

// TestEtags reads what clients send in If-Match.
func TestEtags(t *testing.T) {
	for in, want := range map[string]int64{"": 0, "*": 0, `"7"`: 7, `W/"7"`: 7, "7": 7, `"stale"`: -1, `"0"`: -1, `"-3"`: -1} {
		if got := revisionOf(in); got != want {
			t.Errorf("revisionOf(%q) = %d, want %d", in, got, want)
		}
	}
	if got := revisionOf(etagOf(42)); got != 42 {
		t.Errorf("revisionOf(etagOf(42)) = %d", got)
	}
}

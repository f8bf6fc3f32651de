package experiments

import (
	"cmp"
	"strings"
)

// version is a semantic version (semver.org 2.0.0, strict: three numbers, no leading "v"); build metadata does not take part in order.
type version struct {
	core [3]uint64
	pre  string
}

// parseVersion reads a version without allocating; ok is false for anything that semver.org §2 and §9 do not allow.
func parseVersion(s string) (v version, ok bool) {
	if i := strings.IndexByte(s, '+'); i >= 0 {
		if !identifiers(s[i+1:], false) {
			return v, false
		}
		s = s[:i]
	}
	if i := strings.IndexByte(s, '-'); i >= 0 {
		v.pre = s[i+1:]
		if !identifiers(v.pre, true) {
			return v, false
		}
		s = s[:i]
	}
	for i := range v.core {
		part := s
		if i < 2 {
			dot := strings.IndexByte(s, '.')
			if dot < 0 {
				return v, false
			}
			part, s = s[:dot], s[dot+1:]
		}
		if v.core[i], ok = digits(part); !ok || len(part) > 1 && part[0] == '0' {
			return v, false
		}
	}
	return v, true
}

// compareVersions orders by semver.org §11.
func compareVersions(a, b version) int {
	for i := range a.core {
		if c := cmp.Compare(a.core[i], b.core[i]); c != 0 {
			return c
		}
	}
	switch {
	case a.pre == b.pre:
		return 0
	case a.pre == "":
		return 1
	case b.pre == "":
		return -1
	}
	x, y := a.pre, b.pre
	for x != "" && y != "" {
		var p, q string
		p, x, _ = strings.Cut(x, ".")
		q, y, _ = strings.Cut(y, ".")
		m, pNumber := digits(p)
		n, qNumber := digits(q)
		var c int
		switch {
		case pNumber && qNumber:
			c = cmp.Compare(m, n)
		case pNumber:
			c = -1
		case qNumber:
			c = 1
		default:
			c = strings.Compare(p, q)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y)) // the one with more identifiers is greater; at most one is not empty
}

// identifiers tells whether s is a dotted list of non-empty [0-9A-Za-z-]+, without leading zeros in numbers when strict.
func identifiers(s string, strict bool) bool {
	for more := true; more; {
		var id string
		id, s, more = strings.Cut(s, ".")
		if id == "" {
			return false
		}
		for i := 0; i < len(id); i++ {
			c := id[i]
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
				return false
			}
		}
		if _, number := digits(id); strict && number && len(id) > 1 && id[0] == '0' {
			return false
		}
	}
	return true
}

// digits reads an unsigned number of at most 19 digits.
func digits(s string) (n uint64, ok bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, true
}

package experiments_test

import (
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"perennial/experiments"
)

// Attributes come as texts, numbers or booleans; the operators of client-specification 6.1 read each as its SDKs do. A missing number, time or version fails the
// constraint even when it is inverted; a missing text only fails to match.
func TestConstraints(t *testing.T) {
	type row struct {
		operator string
		value    any
		values   []string
		want     bool
		inverted bool // what the inverted constraint gives
	}
	one := func(operator string, value any, want, inverted bool, values ...string) row {
		return row{operator, value, values, want, inverted}
	}
	for _, c := range []row{
		one("IN", "CN", true, false, "CN", "JP"), one("IN", "cn", false, true, "CN"), one("IN", nil, false, true, "CN"), one("NOT_IN", nil, true, false, "CN"),
		one("IN", 5.0, true, false, "5"), one("IN", 5.0, false, true, "5.0"), one("IN", 0.5, true, false, "1", "0.5"), one("IN", true, true, false, "true"),
		one("IN", "j", true, false, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"), one("IN", "z", false, true, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"),
		one("STR_CONTAINS", "abc", true, false, "x", "b"), one("STR_STARTS_WITH", "abc", true, false, "ab"), one("STR_ENDS_WITH", "abc", false, true, "ab"),
		one("STR_CONTAINS", 12.5, true, false, "2.5"), one("STR_STARTS_WITH", false, true, false, "fal"), one("STR_CONTAINS", nil, false, true, "a"),
		one("NUM_EQ", "2.0", true, false, "2"), one("NUM_EQ", 2.0, true, false, "2.0"), one("NUM_GT", 2.0, false, true, "2"), one("NUM_GTE", 2.0, true, false, "2"),
		one("NUM_LT", "-1e3", true, false, "0"), one("NUM_LTE", 0.0, true, false, "0"), one("NUM_EQ", nil, false, false, "0"), one("NUM_GT", "many", false, false, "0"),
		one("NUM_GT", "NaN", false, false, "0"), one("NUM_GT", "Inf", false, false, "0"), one("NUM_GT", "0x10", false, false, "0"), one("NUM_GT", true, false, false, "0"),
		one("DATE_AFTER", "2026-03-01T08:00:00+08:00", false, true, "2026-03-01T00:00:00Z"), one("DATE_BEFORE", "2026-02-28T23:59:59.999Z", true, false, "2026-03-01T00:00:00Z"),
		one("DATE_AFTER", nil, false, false, "2026-03-01T00:00:00Z"), one("DATE_AFTER", "2026-03-02", false, false, "2026-03-01T00:00:00Z"), one("DATE_AFTER", 1.7e9, false, false, "2026-03-01T00:00:00Z"),
		one("SEMVER_GT", "1.10.0", true, false, "1.9.0"), one("SEMVER_GTE", "1.0.0-rc.1", false, true, "1.0.0"), one("SEMVER_LTE", "1.0.0+build", true, false, "1.0.0"),
		one("SEMVER_LT", "1.0.0-alpha", true, false, "1.0.0-alpha.1"), one("SEMVER_EQ", "1.0", false, false, "1.0.0"), one("SEMVER_EQ", nil, false, false, "1.0.0"), one("SEMVER_EQ", 1.0, false, false, "1.0.0"),
		one("REGEX", "user123", true, false, `^user\d{3}$`), one("REGEX", nil, false, true, "."), one("REGEX", strings.Repeat("a", 1025), false, true, "a"), one("REGEX", 12.0, true, false, "^12$"),
		one("IN_CIDR", "10.1.2.3", true, false, "10.0.0.0/8"), one("CIDR", "::ffff:10.1.2.3", true, false, "10.1.2.3"), one("IN_CIDR", "2001:db8::7", true, false, "10.0.0.0/8", "2001:db8::/32"),
		one("IN_CIDR", "localhost", false, true, "127.0.0.1"), one("IN_CIDR", nil, false, true, "127.0.0.1"),
	} {
		for _, inverted := range []bool{false, true} {
			want := c.want
			if inverted {
				want = c.inverted
			}
			m := experiments.NewMatcher([]experiments.Constraint{{Attribute: "x", Operator: c.operator, Values: c.values, Inverted: inverted}}, nil)
			if got := m.Hold(&experiments.Unit{ID: "u", Now: now, Sent: attributes{"x": c.value}}); got != want {
				t.Errorf("%v %s %v, inverted %v: %v, want %v", c.value, c.operator, c.values, inverted, got, want)
			}
		}
	}
}

func TestConstraintFoldsCase(t *testing.T) {
	for _, c := range []struct{ operator, value, want string }{{"STR_CONTAINS", "SHOP@ÉTÉ.fr", "été"}, {"STR_ENDS_WITH", "A.COM", ".com"}, {"REGEX", "ABC", "^abc$"}} {
		m := experiments.NewMatcher([]experiments.Constraint{{Attribute: "x", Operator: c.operator, Values: []string{c.want}, CaseInsensitive: true}}, nil)
		if !m.Hold(&experiments.Unit{Now: now, Sent: attributes{"x": c.value}}) {
			t.Errorf("%q %s %q does not hold without case", c.value, c.operator, c.want)
		}
	}
}

func TestConstraintOnUnitAndClock(t *testing.T) {
	u := &experiments.Unit{ID: "u1", Now: now, Server: attributes{"tier": "gold"}, Sent: attributes{"tier": "tin", "user_id": "someone else"}}
	for _, c := range []struct {
		constraint experiments.Constraint
		want       bool
	}{
		{constraint("unit_id", "IN", "u1"), true}, {constraint("user_id", "IN", "u1"), true}, {constraint("userId", "IN", "someone else"), false},
		{constraint("currentTime", "DATE_BEFORE", "2026-11-25T08:00:00.001Z"), true}, {constraint("currentTime", "DATE_AFTER", "2026-11-25T08:00:00Z"), false},
		{constraint("tier", "IN", "gold"), true}, // the server's value wins over the sent one
	} {
		if got := experiments.NewMatcher([]experiments.Constraint{c.constraint}, nil).Hold(u); got != c.want {
			t.Errorf("%+v = %v, want %v", c.constraint, got, c.want)
		}
	}
}

// Our versions are ordered as Masterminds/semver 3.5.0 (strict) orders them, which the Go SDK uses.
func FuzzSemver(f *testing.F) {
	for _, v := range []string{"1.2.3", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.1+build.5", "1.0.0-0A.is.legal", "01.1.1", "1.0.0-01", "v1.0.0", "1.0", "1.0.0-", "1.0.0+", "99999999999999999999.0.0"} {
		f.Add(v, "1.0.0-beta.11")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > 256 || len(b) > 256 {
			return // the library refuses those
		}
		x, errX := semver.StrictNewVersion(a)
		y, errY := semver.StrictNewVersion(b)
		hold := func(operator string) bool {
			m := experiments.NewMatcher([]experiments.Constraint{constraint("v", operator, b)}, nil)
			return m.Hold(&experiments.Unit{Now: now, Sent: attributes{"v": a}})
		}
		less, equal, greater := hold("SEMVER_LT"), hold("SEMVER_EQ"), hold("SEMVER_GT")
		if errX != nil || errY != nil {
			if less || equal || greater {
				t.Fatalf("%q against %q holds, the library says %v %v", a, b, errX, errY)
			}
			return
		}
		if !less && !equal && !greater && (strings.Contains(a+b, "00000000000") || longNumber(a) || longNumber(b)) {
			return // numbers beyond 19 digits are versions for the library only
		}
		if less != x.LessThan(y) || equal != x.Equal(y) || greater != x.GreaterThan(y) {
			t.Fatalf("%q against %q: less %v equal %v greater %v, the library says %d", a, b, less, equal, greater, x.Compare(y))
		}
	})
}

func longNumber(s string) bool {
	run := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			if run++; run > 18 {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

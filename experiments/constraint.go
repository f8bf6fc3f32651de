package experiments

import (
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a REGEX constraint: without them one pattern can hold a request for seconds. They are checked when a definition is written.
const (
	maxPattern      = 256     // bytes
	maxInstructions = 1_000   // of the compiled program
	maxRegexValue   = 1 << 10 // bytes of the attribute; a longer one does not match
	maxValues       = 10_000  // of one constraint
	maxConstraints  = 100     // of one list
)

type operator uint8

const (
	opNever operator = iota // broken: false, inverted or not
	opIn
	opContains
	opStarts
	opEnds
	opNumEQ
	opNumLT
	opNumLTE
	opNumGT
	opNumGTE
	opBefore
	opAfter
	opVerEQ
	opVerLT
	opVerLTE
	opVerGT
	opVerGTE
	opRegex
	opCIDR
)

// operators are those of Unleash's client-specification 6.1. NOT_IN is IN inverted; CIDR is another name of IN_CIDR.
var operators = map[string]operator{
	"IN": opIn, "NOT_IN": opIn, "STR_CONTAINS": opContains, "STR_STARTS_WITH": opStarts, "STR_ENDS_WITH": opEnds,
	"NUM_EQ": opNumEQ, "NUM_LT": opNumLT, "NUM_LTE": opNumLTE, "NUM_GT": opNumGT, "NUM_GTE": opNumGTE,
	"DATE_BEFORE": opBefore, "DATE_AFTER": opAfter,
	"SEMVER_EQ": opVerEQ, "SEMVER_LT": opVerLT, "SEMVER_LTE": opVerLTE, "SEMVER_GT": opVerGT, "SEMVER_GTE": opVerGTE,
	"REGEX": opRegex, "IN_CIDR": opCIDR, "CIDR": opCIDR,
}

// origin says where an attribute comes from.
type origin uint8

const (
	fromAnyone origin = iota // the server's value, else the sent one
	fromServer               // the server's value alone
	fromUnit                 // the unit's id
	fromClock                // a sent currentTime, else now
)

// constraint is a compiled Constraint.
type constraint struct {
	attribute string
	origin    origin
	op        operator
	inverted  bool
	fold      bool
	texts     []string
	numbers   []float64           // of IN: the values that are numbers in canonical spelling
	set       map[string]struct{} // of IN with many values
	number    float64
	at        time.Time
	version   version
	pattern   *regexp.Regexp
	nets      []netip.Prefix
}

// Matcher is a compiled list of constraints; all of them must hold. The zero Matcher always holds. It is immutable.
type Matcher struct{ all []constraint }

// NewMatcher compiles constraints as an Unleash SDK reads them: a broken one never holds, it is not an error. Names in server are attributes
// that only the server may give.
func NewMatcher(list []Constraint, server func(attribute string) bool) Matcher {
	m := Matcher{make([]constraint, len(list))}
	for i, c := range list {
		compiled, faults := compileConstraint(c, server)
		if len(faults) > 0 && compiled.op != opCIDR { // the readable networks of a list still count
			compiled.op = opNever
		}
		m.all[i] = compiled
	}
	return m
}

// Hold tells whether every constraint holds for a unit.
func (m Matcher) Hold(u *Unit) bool {
	for i := range m.all {
		if !m.all[i].holds(u) {
			return false
		}
	}
	return true
}

// needsServer tells whether an attribute that only the server knows takes part.
func (m Matcher) needsServer() bool {
	for i := range m.all {
		if m.all[i].origin == fromServer {
			return true
		}
	}
	return false
}

// compileConstraint returns every fault with its field below the constraint's own path, such as "operator".
func compileConstraint(c Constraint, server func(string) bool) (constraint, []Fault) {
	out := constraint{attribute: c.Attribute, inverted: c.Inverted, fold: c.CaseInsensitive}
	var faults []Fault
	wrong := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}
	switch {
	case c.Attribute == "":
		wrong("attribute", "is empty")
	case c.Attribute == "userId" || c.Attribute == "unit_id" || c.Attribute == "user_id":
		out.origin = fromUnit
	case c.Attribute == "currentTime":
		out.origin = fromClock
	case server != nil && server(c.Attribute):
		out.origin = fromServer
	}
	op, known := operators[c.Operator]
	if !known {
		wrong("operator", "%q is not one of IN NOT_IN STR_CONTAINS STR_STARTS_WITH STR_ENDS_WITH NUM_EQ NUM_GT NUM_GTE NUM_LT NUM_LTE DATE_AFTER DATE_BEFORE SEMVER_EQ SEMVER_GT SEMVER_GTE SEMVER_LT SEMVER_LTE REGEX IN_CIDR", c.Operator)
		return out, faults
	}
	out.op = op
	if c.Operator == "NOT_IN" {
		out.inverted = !out.inverted
	}
	switch {
	case len(c.Values) == 0:
		wrong("values", "has no value")
		return out, faults
	case len(c.Values) > maxValues:
		wrong("values", "has %d values, at most %d are allowed", len(c.Values), maxValues)
		return out, faults
	case op >= opNumEQ && op <= opRegex && len(c.Values) != 1:
		wrong("values", "%s takes one value, got %d", c.Operator, len(c.Values))
	}
	first, err, ok := c.Values[0], error(nil), true
	switch op {
	case opIn, opContains, opStarts, opEnds:
		out.compileTexts(c.Values)
	case opNumEQ, opNumLT, opNumLTE, opNumGT, opNumGTE:
		if out.number, ok = parseNumber(first); !ok {
			wrong("values[0]", "%q is not a number", first)
		}
	case opBefore, opAfter:
		if out.at, err = time.Parse(time.RFC3339, first); err != nil {
			wrong("values[0]", "%q is not an RFC 3339 time", first)
		}
	case opVerEQ, opVerLT, opVerLTE, opVerGT, opVerGTE:
		if out.version, ok = parseVersion(first); !ok {
			wrong("values[0]", "%q is not a semantic version such as 1.2.3", first)
		}
	case opRegex:
		if out.pattern, err = compilePattern(first, c.CaseInsensitive); err != nil {
			wrong("values[0]", "%v", err)
		}
	case opCIDR:
		for i, v := range c.Values {
			if net, ok := parseNetwork(v); ok {
				out.nets = append(out.nets, net)
			} else {
				wrong(fmt.Sprintf("values[%d]", i), "%q is neither an address nor a network such as 10.0.0.0/8", v)
			}
		}
	}
	return out, faults
}

// compileTexts prepares texts for comparison: folded when case does not count, as a set when there are many.
func (c *constraint) compileTexts(values []string) {
	c.texts = values
	if c.op == opIn {
		for _, v := range values {
			if n, ok := parseNumber(v); ok && strconv.FormatFloat(n, 'f', -1, 64) == v {
				c.numbers = append(c.numbers, n)
			}
		}
		if len(values) > 8 {
			c.set = make(map[string]struct{}, len(values))
			for _, v := range values {
				c.set[v] = struct{}{}
			}
		}
		return
	}
	if c.fold {
		c.texts = make([]string, len(values))
		for i, v := range values {
			c.texts[i] = strings.ToLower(v)
		}
	}
}

// parseNumber reads a decimal number; infinities, NaN, hexadecimal and underscores are none.
func parseNumber(s string) (float64, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// compilePattern compiles an RE2 pattern within the limits. Go's regexp needs time linear in pattern × value, but its
// repetitions multiply: a program of 30 × 30 states on 1 MiB takes 16 s.
func compilePattern(pattern string, fold bool) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern has %d bytes, at most %d are allowed", len(pattern), maxPattern)
	}
	if !utf8.ValidString(pattern) {
		return nil, fmt.Errorf("the pattern is not UTF-8")
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("not an RE2 pattern: %v", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("not an RE2 pattern: %v", err)
	}
	if len(program.Inst) > maxInstructions {
		return nil, fmt.Errorf("the pattern needs %d instructions, at most %d are allowed", len(program.Inst), maxInstructions)
	}
	if fold {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

package experiments

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// holds evaluates one constraint. A missing value fails IN, STR_*, REGEX and IN_CIDR (so it holds when they are inverted); where a number, a time
// or a version is asked for and there is none, the constraint fails whether inverted or not, as in Unleash's SDKs.
func (c *constraint) holds(u *Unit) bool {
	v := c.value(u)
	switch c.op {
	case opNever:
		return false
	case opIn:
		return c.in(v) != c.inverted
	case opContains, opStarts, opEnds:
		return c.text(v) != c.inverted
	case opRegex:
		return c.regex(v) != c.inverted
	case opCIDR:
		return c.network(v) != c.inverted
	case opNumEQ, opNumLT, opNumLTE, opNumGT, opNumGTE:
		n, ok := v.Num, v.Kind == Number
		if v.Kind == Text_ {
			n, ok = parseNumber(v.Text)
		}
		return ok && ordered(c.op-opNumEQ, compareNumbers(n, c.number)) != c.inverted
	case opBefore, opAfter:
		at, ok := u.Now, c.origin == fromClock && v.Kind == Missing
		if v.Kind == Text_ {
			var err error
			at, err = time.Parse(time.RFC3339, v.Text)
			ok = err == nil
		}
		return ok && (c.op == opBefore && at.Before(c.at) || c.op == opAfter && at.After(c.at)) != c.inverted
	default:
		got, ok := parseVersion(v.Text)
		return ok && ordered(c.op-opVerEQ, compareVersions(got, c.version)) != c.inverted
	}
}

// value looks the attribute up. A unit without a row counts as a prospect without orders (CONTRACT §5).
func (c *constraint) value(u *Unit) Value {
	switch c.origin {
	case fromUnit:
		if u.ID == "" {
			return Value{}
		}
		return Value{Kind: Text_, Text: u.ID}
	case fromClock:
		if u.Sent != nil {
			return u.Sent.Attribute(c.attribute)
		}
		return Value{}
	}
	if u.Server != nil {
		if v := u.Server.Attribute(c.attribute); v.Kind != Missing {
			return v
		}
	}
	if c.origin == fromServer {
		switch c.attribute {
		case "stage":
			return Value{Kind: Text_, Text: "prospect"}
		case "orders_all":
			return Value{Kind: Number}
		}
		return Value{}
	}
	if u.Sent != nil {
		return u.Sent.Attribute(c.attribute)
	}
	return Value{}
}

func (c *constraint) in(v Value) bool {
	text := v.Text
	switch v.Kind {
	case Missing:
		return false
	case Number:
		for _, n := range c.numbers {
			if n == v.Num {
				return true
			}
		}
		return false
	case Boolean:
		text = boolText(v)
	}
	if c.set != nil {
		_, ok := c.set[text]
		return ok
	}
	for _, t := range c.texts {
		if t == text {
			return true
		}
	}
	return false
}

func (c *constraint) text(v Value) bool {
	var buffer [32]byte
	text := v.Text
	switch v.Kind {
	case Missing:
		return false
	case Number:
		return c.textIn(string(strconv.AppendFloat(buffer[:0], v.Num, 'f', -1, 64)))
	case Boolean:
		text = boolText(v)
	}
	return c.textIn(text)
}

func (c *constraint) textIn(text string) bool {
	if c.fold {
		text = strings.ToLower(text) // returns text itself, without a copy, when it is in lower case
	}
	for _, t := range c.texts {
		switch c.op {
		case opContains:
			if strings.Contains(text, t) {
				return true
			}
		case opStarts:
			if strings.HasPrefix(text, t) {
				return true
			}
		default:
			if strings.HasSuffix(text, t) {
				return true
			}
		}
	}
	return false
}

func (c *constraint) regex(v Value) bool {
	switch v.Kind {
	case Text_:
		return len(v.Text) <= maxRegexValue && c.pattern.MatchString(v.Text)
	case Number:
		return c.pattern.MatchString(strconv.FormatFloat(v.Num, 'f', -1, 64))
	case Boolean:
		return c.pattern.MatchString(boolText(v))
	}
	return false
}

func (c *constraint) network(v Value) bool {
	if v.Kind != Text_ {
		return false
	}
	address, err := netip.ParseAddr(v.Text)
	if err != nil {
		return false
	}
	address = address.Unmap()
	for _, n := range c.nets {
		if n.Contains(address) {
			return true
		}
	}
	return false
}

func boolText(v Value) string {
	if v.Num != 0 {
		return "true"
	}
	return "false"
}

// ordered reads a comparison by the order EQ LT LTE GT GTE that both families of operators have.
func ordered(relation operator, c int) bool {
	switch relation {
	case 0:
		return c == 0
	case 1:
		return c < 0
	case 2:
		return c <= 0
	case 3:
		return c > 0
	}
	return c >= 0
}

func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

package features

import (
	"math"
	"slices"
)

// Plain computes the catalog for one user from her events by plain loops, as of a cut: the values of all columns by name, NaN where null, and
// the stage; ok is false when she is not of the population. It is the slow twin of the compiled SQL, for tests and for explaining a number.
// Money is in major units. The order of the events does not matter.
func (c *Catalog) Plain(shop Shop, asOf Day, events []Event) (values map[string]float64, stage Stage, ok bool) {
	p := &plain{c: c, asOf: asOf, cut: float64(shop.Midnight(asOf).UnixMicro()), memo: map[string]float64{}}
	for i := range events {
		if e := &events[i]; e.BizDay < asOf && e.KnownDay < asOf {
			p.events = append(p.events, e)
		}
	}
	if len(p.events) == 0 || c.Population != nil && p.eval(c.Population) != 1 {
		return nil, "", false
	}
	values = map[string]float64{}
	for _, f := range c.Columns() {
		switch {
		case f.Stage:
			stage = p.stage()
		case f.Kind == KindMoney:
			values[f.Name] = p.feature(f) / MicrosPerUnit
		default:
			values[f.Name] = p.feature(f)
		}
	}
	return values, stage, true
}

// plain is one user at one cut. Conditions are 1, 0 or NaN (unknown).
type plain struct {
	c      *Catalog
	asOf   Day
	cut    float64
	events []*Event
	memo   map[string]float64
}

func (p *plain) feature(f *Feature) float64 {
	if v, ok := p.memo[f.Name]; ok {
		return v
	}
	v := 0.0
	if f.Measure != nil {
		v = p.measure(f)
	} else {
		v = p.eval(f.Expr)
	}
	p.memo[f.Name] = v
	return v
}

// measure loops over the events of the window.
func (p *plain) measure(f *Feature) float64 {
	m := f.Measure
	var counted []*Event
	for _, e := range p.events {
		if m.Counts(e) && (f.Days == 0 || e.BizDay >= p.asOf-Day(f.Days+f.Offset)) && e.BizDay < p.asOf-Day(f.Offset) {
			counted = append(counted, e)
		}
	}
	switch m.Agg {
	case AggCount:
		return float64(len(counted))
	case AggDays:
		return float64(len(daysOf(counted)))
	case AggDistinct, AggTop:
		times := map[string]int{}
		most := 0
		for _, e := range counted {
			if v := textOf(e, m.Field); v != "" {
				times[v]++
				most = max(most, times[v])
			}
		}
		if m.Agg == AggTop {
			return float64(most)
		}
		return float64(len(times))
	case AggSum:
		return sumOf(counted, m.Field)
	}
	if m.Agg.Ordered() {
		return p.ordered(m, counted)
	}
	best := math.NaN()
	for _, e := range counted {
		v := float64(e.TS.UnixMicro())
		if m.Agg == AggMin || m.Agg == AggMax {
			a := moneyOf(e, m.Field)
			if !a.Valid {
				continue
			}
			v = float64(a.Micros)
		}
		smaller := m.Agg == AggMin || m.Agg == AggFirstTime
		if math.IsNaN(best) || smaller && v < best || !smaller && v > best {
			best = v
		}
	}
	return best
}

// ordered looks at the sequence of days with a counted event.
func (p *plain) ordered(m *Measure, counted []*Event) float64 {
	days := daysOf(counted)
	n := len(days)
	if n == 0 || n == 1 && m.Agg != AggFirstDay && m.Agg != AggLastDay && m.Agg != AggFirstDaySum {
		return math.NaN()
	}
	var squares, longest float64
	for i := 1; i < n; i++ {
		gap := float64(days[i] - days[i-1])
		squares += gap * gap
		longest = max(longest, gap)
	}
	switch m.Agg {
	case AggFirstDay:
		return float64(days[0])
	case AggLastDay:
		return float64(days[n-1])
	case AggPreviousDay:
		return float64(days[n-2])
	case AggGapSquares:
		return squares
	case AggLongestGap:
		return longest
	}
	var first []*Event
	for _, e := range counted {
		if e.BizDay == days[0] {
			first = append(first, e)
		}
	}
	return sumOf(first, m.Field)
}

func daysOf(events []*Event) []Day {
	days := make([]Day, len(events))
	for i, e := range events {
		days[i] = e.BizDay
	}
	slices.Sort(days)
	return slices.Compact(days)
}

func sumOf(events []*Event, field string) float64 {
	var sum Micros
	for _, e := range events {
		sum += moneyOf(e, field).Micros
	}
	return float64(sum)
}

func (p *plain) stage() Stage {
	get := func(name string) float64 { f, _ := p.c.Get(name); return p.feature(f) }
	if get("orders_all") == 0 {
		return Prospect
	}
	facts := StageFacts{Orders: int(get("orders_all")), Orders365: int(get("orders_365d")), FirstDay: Day(get("order_first_day")), LastDay: Day(get("order_last_day"))}
	if v := get("order_previous_day"); !math.IsNaN(v) {
		facts.PreviousDay, facts.HasPrevious = Day(v), true
	}
	return p.c.Stage.Stage(p.asOf, facts)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (p *plain) eval(e *Expr) float64 {
	switch e.Op {
	case OpNumber:
		return e.Number
	case OpRef:
		f, _ := p.c.Get(e.Ref)
		return p.feature(f)
	}
	a := p.eval(e.Args[0])
	switch e.Op {
	case OpIf:
		if a == 1 {
			return p.eval(e.Args[1])
		}
		return p.eval(e.Args[2])
	case OpCoalesce:
		if math.IsNaN(a) {
			return p.eval(e.Args[1])
		}
		return a
	case OpAnd, OpOr:
		b, absorbing := p.eval(e.Args[1]), truth(e.Op == OpOr)
		switch {
		case a == absorbing || b == absorbing:
			return absorbing
		case math.IsNaN(a) || math.IsNaN(b):
			return math.NaN()
		}
		return 1 - absorbing
	}
	if math.IsNaN(a) {
		return a
	}
	switch e.Op {
	case OpNeg:
		return -a
	case OpNot:
		return 1 - a
	case OpAbs:
		return math.Abs(a)
	case OpSqrt:
		return math.Sqrt(a) // NaN below 0
	case OpLog1p:
		if a <= -1 {
			return math.NaN()
		}
		return math.Log(1 + a)
	case OpSince:
		return days(e.Args[0].Kind, p.now(e.Args[0].Kind)-a)
	}
	b := p.eval(e.Args[1])
	if math.IsNaN(b) {
		return b
	}
	switch e.Op {
	case OpAdd:
		return a + b
	case OpSub:
		return a - b
	case OpMul:
		return a * b
	case OpDiv:
		if b == 0 {
			return math.NaN()
		}
		return a / b
	case OpLess:
		return truth(a < b)
	case OpLessEq:
		return truth(a <= b)
	case OpEqual:
		return truth(a == b)
	case OpNotEq:
		return truth(a != b)
	case OpBetween:
		return days(e.Args[0].Kind, a-b)
	case OpMin:
		return min(a, b)
	case OpMax:
		return max(a, b)
	}
	return math.NaN()
}

// now is the cut in the unit of a kind.
func (p *plain) now(kind Kind) float64 {
	if kind == KindDay {
		return float64(p.asOf)
	}
	return p.cut
}

func days(kind Kind, difference float64) float64 {
	if kind == KindDay {
		return difference
	}
	return difference / 86_400_000_000
}

package warehouse

import (
	"database/sql/driver"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"perennial/features"
)

// wide is an integer of 128 bits that sums are added up in.
type wide struct{ hi, lo uint64 }

// add adds a product. It returns a number below zero when the sum has left its bits.
func (w *wide) add(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	hi -= uint64(a>>63)&uint64(b) + uint64(b>>63)&uint64(a)
	return w.plus(wide{hi, lo})
}

func (w *wide) plus(x wide) int64 {
	lo, carry := bits.Add64(w.lo, x.lo, 0)
	hi, _ := bits.Add64(w.hi, x.hi, carry)
	over := int64((hi ^ w.hi) & (hi ^ x.hi))
	w.hi, w.lo = hi, lo
	return over
}

// big is the number as what a statement answers.
func (w wide) big() *big.Int {
	x := new(big.Int).SetInt64(int64(w.hi))
	return x.Add(x.Lsh(x, 64), new(big.Int).SetUint64(w.lo))
}

// int64 is the number; an error when it does not fit, as the statements' CAST has it.
func (w wide) int64() (int64, error) {
	if int64(w.hi) != int64(w.lo)>>63 {
		return 0, fmt.Errorf("the sum %s leaves 64 bits", w.big())
	}
	return int64(w.lo), nil
}

// names numbers texts.
type names struct {
	list []string
	at   map[string]int32
	last int32
}

const noText = -1

// of is the number of a text.
func (n *names) of(s string) int32 {
	if int(n.last) < len(n.list) && n.list[n.last] == s {
		return n.last
	}
	i, ok := n.at[s]
	if !ok {
		if n.at == nil {
			n.at = map[string]int32{}
		}
		s = string([]byte(s)) // of its own: the text may lie in a chunk
		i = int32(len(n.list))
		n.list, n.at[s] = append(n.list, s), i
	}
	n.last = i
	return i
}

// unitSums are what Measure adds up over units, by small numbers instead of texts.
type unitSums struct {
	r           *recipe
	start, asOf int64
	strata      names
	segments    names
	others      names // variants of other experiments
	dimensions  names
	none        int32 // the segment ""
	unknown     int32 // the dimension's value "unknown"
	strays      int64
	arms        []*armSums // stratum × variants + variant
	dims        map[dimensionKey]int64
	meetings    map[meeting]*meetingSums
	over        int64 // below zero: a sum has left 128 bits
	kept        int64 // values kept for order statistics
}

type dimensionKey struct{ dimension, value, arm int32 }

type meeting struct{ other, variant, own int32 }

type meetingSums struct {
	n     int64
	x, xx wide
}

// armSums are the sums of the units of a stratum and variant.
type armSums struct {
	days           byDay[int64] // exposed units
	two            int64
	stale, ancient int64
	matured        int64
	waterfall      [8]wide
	open           bool
	health         [6]int64 // silent, leaked, estimated, orders, early, late
	redeemers      int64
	redeemed       [5]wide         // revenue, margin, discount, contact, profit
	lots           [][]byDay[cell] // by lot and segment
	values         [][]heap        // by ordered metric and segment
}

// cell is the sums of a lot in one cell.
type cell struct {
	n    int64
	sums []wide
}

// byDay is a list over days.
type byDay[T any] struct {
	first int32
	list  []T
}

// at is the entry of a day.
func (d *byDay[T]) at(day int32) *T {
	switch {
	case len(d.list) == 0:
		d.first, d.list = day, make([]T, 1)
	case day < d.first:
		d.list = append(make([]T, d.first-day, int(d.first-day)+len(d.list)), d.list...)
		d.first = day
	case int(day-d.first) >= len(d.list):
		d.list = append(d.list, make([]T, int(day-d.first)+1-len(d.list))...)
	}
	return &d.list[day-d.first]
}

// heap is values in blocks, so that none is moved when more come.
type heap struct {
	blocks [][]int64
	n      int64
}

func (h *heap) add(v int64) {
	last := len(h.blocks) - 1
	if last < 0 || len(h.blocks[last]) == cap(h.blocks[last]) {
		h.blocks = append(h.blocks, make([]int64, 0, min(1<<16, max(16, h.n))))
		last++
	}
	h.blocks[last] = append(h.blocks[last], v)
	h.n++
}

// grown is a list with an entry at i.
func grown[T any](list []T, i int32) []T {
	if int(i) >= len(list) {
		list = append(list, make([]T, int(i)+1-len(list))...)
	}
	return list
}

func newUnitSums(r *recipe) *unitSums {
	u := &unitSums{r: r, start: r.p.Start.UnixMicro(), asOf: r.p.AsOf.UnixMicro(), dims: map[dimensionKey]int64{}, meetings: map[meeting]*meetingSums{}}
	u.strata.of("") // what a unit has where there are no strata
	u.none, u.unknown = u.segments.of(""), u.dimensions.of("unknown")
	return u
}

// add adds the unit at hand.
func (u *unitSums) add(w *walker) {
	r, x, asOf := u.r, &w.first, u.asOf
	i := x.stratum*int32(len(r.p.Variants)) + x.variant
	u.arms = grown(u.arms, i)
	if u.arms[i] == nil {
		u.arms[i] = &armSums{lots: make([][]byDay[cell], len(r.lots)), values: make([][]heap, len(r.ordered))}
	}
	a := u.arms[i]
	*a.days.at(x.day)++
	if x.two {
		a.two++
	}
	if x.scored != noDay && x.day > x.scored+staleAfterDays {
		a.stale++
		if x.day > x.scored+ancientAfterDays {
			a.ancient++
		}
	}
	if r.p.SegmentBy == "channel" {
		u.dims[dimensionKey{-1, w.segment, i}]++
	}
	if w.frozen != nil {
		for k := range dimensionNames {
			value := u.unknown
			if w.scores != nil {
				value = w.scores.dimensions[k]
			}
			u.dims[dimensionKey{int32(k), value, i}]++
		}
	}
	matured := func(days int) bool { return x.ts+int64(days)*dayMicros <= asOf }
	if matured(r.p.HorizonDays) {
		u.mature(a, w)
	}
	for l := range r.lots {
		lot := &r.lots[l]
		if !matured(lot.days) {
			continue
		}
		a.lots[l] = grown(a.lots[l], w.segment)
		day := int32(0)
		if r.p.ByDay {
			day = x.day + int32(lot.days)
		}
		c := a.lots[l][w.segment].at(day)
		if c.sums == nil {
			c.sums = make([]wide, len(lot.terms))
		}
		c.n++
		for t, pair := range lot.terms {
			v := w.values[pair[0]]
			if v == 0 {
				continue
			}
			if pair[1] < 0 {
				u.over |= c.sums[t].plus(wide{uint64(v >> 63), uint64(v)})
			} else if by := w.values[pair[1]]; by != 0 {
				u.over |= c.sums[t].add(v, by)
			}
		}
	}
	for k, o := range r.ordered {
		if matured(o.days) {
			a.values[k] = grown(a.values[k], w.segment)
			a.values[k][w.segment].add(w.values[o.value])
			u.kept++
		}
	}
	if r.first >= 0 && matured(r.p.days(&r.p.Metrics[0])) {
		u.meet(w, i)
	}
}

// mature adds a unit whose window is over (totalsQuery, measuring.soundness).
func (u *unitSums) mature(a *armSums, w *walker) {
	r, x := u.r, &w.first
	p := &r.parts
	slot := func(i int) int64 { return w.slots[i] }
	a.matured++
	for i, v := range [8]int64{slot(p.revenue), slot(p.revenue) - slot(p.margin), slot(p.discount), w.refundMargin, w.refundValue, slot(p.commission), slot(p.contact), w.profit} {
		a.waterfall[i].plus(wide{uint64(v >> 63), uint64(v)})
	}
	a.open = a.open || slot(p.orders) > 0 && x.ts+int64(r.p.HorizonDays+r.p.RefundMaturityDays)*dayMicros > u.asOf
	uses := func(slots []int) bool { return slices.ContainsFunc(slots, func(i int) bool { return slot(i) > 0 }) }
	for i, is := range [6]bool{slot(p.acts) == 0, uses(r.leaks[x.variant]), false, false, slot(p.early) > 0, slot(p.late) > 0} {
		if is {
			a.health[i]++
		}
	}
	a.health[2] += slot(p.estimated)
	a.health[3] += slot(p.orders)
	if !uses(r.redeems[x.variant]) {
		return
	}
	a.redeemers++
	for i, v := range [5]int64{slot(p.revenue), slot(p.margin), slot(p.discount), slot(p.contact), w.profit} {
		a.redeemed[i].plus(wide{uint64(v >> 63), uint64(v)})
	}
}

// meet adds the first metric of a unit to what it met besides.
func (u *unitSums) meet(w *walker, arm int32) {
	v := w.values[u.r.first]
	for k, o := range w.others {
		if !o.met {
			continue
		}
		key := meeting{int32(k), o.variant, w.first.variant}
		m := u.meetings[key]
		if m == nil {
			m = &meetingSums{}
			u.meetings[key] = m
		}
		m.n++
		u.over |= m.x.add(v, 1) | m.xx.add(v, v)
	}
}

// addTo adds everything to a measurement.
func (u *unitSums) addTo(s *measuring) error {
	if u.over < 0 {
		return errHuge
	}
	m, p := s.m, u.r.p
	m.Health.Stray += u.strays
	for i, a := range u.arms {
		if a == nil {
			continue
		}
		variant, stratum := p.Variants[i%len(p.Variants)], u.strata.list[i/len(p.Variants)]
		for d, n := range a.days.list {
			if n == 0 {
				continue
			}
			m.Exposed += n
			if m.ExposedBy[stratum] == nil {
				m.ExposedBy[stratum] = map[string]int64{}
			}
			m.ExposedBy[stratum][variant] += n
			s.days[DayCount{Day: features.Day(a.days.first + int32(d)).String(), Stratum: stratum, Variant: variant}] += n
		}
		if a.two > 0 {
			m.TwoArm[variant] += a.two
		}
		if a.stale > 0 {
			m.Health.Stale[variant] += a.stale
			m.Health.Ancient[variant] += a.ancient
		}
		if a.matured > 0 {
			if err := a.addTo(m, p, variant); err != nil {
				return err
			}
		}
		for l := range a.lots {
			if err := u.addLot(s, &u.r.lots[l], a.lots[l], variant, stratum); err != nil {
				return err
			}
		}
		for k, segments := range a.values {
			for segment, h := range segments {
				if h.n > 0 {
					s.hold(u.r.ordered[k].metric, variant, stratum, u.segments.list[segment], h)
				}
			}
		}
	}
	for key, n := range u.dims {
		c := DimensionCount{Dimension: "channel", Stratum: u.strata.list[key.arm/int32(len(p.Variants))], Variant: p.Variants[key.arm%int32(len(p.Variants))]}
		if key.dimension >= 0 {
			c.Dimension, c.Value = dimensionNames[key.dimension], u.dimensions.list[key.value]
		} else if c.Value = u.segments.list[key.value]; c.Value == "" {
			c.Value = "unknown"
		}
		s.dims[c] += n
	}
	for key, x := range u.meetings {
		s.meeting([3]string{p.Others[key.other], u.others.list[key.variant], p.Variants[key.own]}, x.n, x.x.big(), x.xx.big())
	}
	return nil
}

// addTo adds the matured units of an arm.
func (a *armSums) addTo(m *Measured, p *MetricPlan, variant string) error {
	m.Matured += a.matured
	m.RefundsOpen = m.RefundsOpen || a.open
	add := func(into map[string]int64, name string, w wide) error {
		v, err := w.int64()
		into[name] += v
		return err
	}
	w := m.Waterfall[variant]
	if w == nil {
		w = map[string]int64{}
		m.Waterfall[variant] = w
	}
	for i, name := range waterfallNames {
		if err := add(w, name, a.waterfall[i]); err != nil {
			return err
		}
	}
	for i, counts := range m.Health.counts() {
		counts[variant] += a.health[i]
	}
	if p.Coupons[variant] == "" {
		return nil
	}
	r := m.Health.Redeemed[variant]
	if r == nil {
		r = map[string]int64{}
		m.Health.Redeemed[variant] = r
	}
	r[redeemedNames[0]] += a.redeemers
	for i, name := range redeemedNames[1:] {
		if err := add(r, name, a.redeemed[i]); err != nil {
			return err
		}
	}
	return nil
}

// addLot adds the cells of a lot as rows of its statement.
func (u *unitSums) addLot(s *measuring, lot *lotSums, segments []byDay[cell], variant, stratum string) error {
	v := make([]driver.Value, 5+len(lot.columns))
	for segment := range segments {
		days := &segments[segment]
		for d := range days.list {
			c := &days.list[d]
			if c.n == 0 {
				continue
			}
			v[0], v[1], v[2], v[3], v[4] = variant, stratum, u.segments.list[segment], features.Day(days.first+int32(d)).String(), c.n
			for i, t := range lot.columns {
				v[5+i] = c.sums[t].big()
			}
			if err := s.addSums(lot.metrics, len(u.r.covariates), v); err != nil {
				return err
			}
		}
	}
	return nil
}

package warehouse

import (
	"database/sql/driver"
	"fmt"
	"math/big"
	"slices"
	"sort"
)

// cells adds the rows of a sums query up to the marginals that are asked for.
type cells struct {
	metric          *Metric
	k               int
	segments, byDay bool
	sums            map[[4]string]*Sum // variant, stratum, segment, day
}

func newCells(m *Metric, k int, segments, byDay bool) *cells {
	return &cells{m, k, segments, byDay, map[[4]string]*Sum{}}
}

// add takes one row: its cell (variant, stratum, segment, day, n), the covariates' sums, and the sums of this metric and of those after it, which it returns.
func (c *cells) add(cell, covariates, v []driver.Value) ([]driver.Value, error) {
	variant, stratum, segment, day := cell[0].(string), cell[1].(string), cell[2].(string), cell[3].(string)
	keys := [][4]string{{variant, stratum, "", ""}}
	if c.byDay {
		keys = append(keys, [4]string{variant, stratum, "", day})
	}
	if c.segments {
		keys = append(keys, [4]string{variant, stratum, segment, ""})
		if segment == "" {
			keys[len(keys)-1][2] = "unknown"
		}
	}
	width := 2 + c.k
	if c.metric.Kind == "ratio" {
		width = 2*width + 1
	}
	if len(v) < width {
		return nil, fmt.Errorf("metric %s: %d sums, want %d", c.metric.Key, len(v), width)
	}
	for _, key := range keys {
		s := c.sums[key]
		if s == nil {
			s = &Sum{Metric: c.metric.Key, Variant: key[0], Stratum: key[1], Segment: key[2], Day: key[3]}
			c.sums[key] = s
		}
		s.N += cell[4].(int64)
		c.accumulate(s, covariates, v[:width])
	}
	return v[width:], nil
}

func (c *cells) accumulate(s *Sum, covariates, v []driver.Value) {
	if s.C == nil && c.k > 0 {
		s.C, s.XC, s.CC = make([]*big.Int, c.k), make([]*big.Int, c.k), make([]*big.Int, c.k*(c.k+1)/2)
		if c.metric.Kind == "ratio" {
			s.DC = make([]*big.Int, c.k)
		}
	}
	at := 0
	for a := range c.k {
		more(&s.C[a], covariates[a+at])
		for range c.k - a {
			more(&s.CC[at], covariates[a+1+at])
			at++
		}
	}
	for _, of := range []struct {
		x, xx **big.Int
		xc    []*big.Int
	}{{&s.X, &s.XX, s.XC}, {&s.D, &s.DD, s.DC}} {
		if len(v) < 2 {
			break
		}
		more(of.x, v[0])
		more(of.xx, v[1])
		for a := range c.k {
			more(&of.xc[a], v[2+a])
		}
		v = v[2+c.k:]
	}
	if len(v) == 1 {
		more(&s.XD, v[0])
	}
}

// more adds an integer of a row to a sum.
func more(into **big.Int, v driver.Value) {
	if *into == nil {
		*into = new(big.Int)
	}
	(*into).Add(*into, whole(v))
}

// list returns the sums in a fixed order. Those of a day are cumulative: a day without a newly matured unit of an arm repeats the arm's
// last sums, so that every day has every arm that has begun.
func (c *cells) list() []Sum {
	var out []Sum
	days := map[string]bool{}
	arms := map[[2]string]bool{}
	for key, s := range c.sums {
		if key[3] == "" {
			out = append(out, *s)
			continue
		}
		days[key[3]] = true
		arms[[2]string{key[0], key[1]}] = true
	}
	order := make([]string, 0, len(days))
	for d := range days {
		order = append(order, d)
	}
	sort.Strings(order)
	for arm := range arms {
		var run *Sum
		for _, d := range order {
			if s := c.sums[[4]string{arm[0], arm[1], "", d}]; s != nil {
				run = s.plus(run)
			}
			if run != nil {
				at := *run
				at.Day = d
				out = append(out, at)
			}
		}
	}
	slices.SortFunc(out, func(a, b Sum) int {
		return slices.Compare([]string{a.Segment, a.Day, a.Variant, a.Stratum}, []string{b.Segment, b.Day, b.Variant, b.Stratum})
	})
	return out
}

// plus returns the sum of two sums of one cell; o may be nil.
func (s *Sum) plus(o *Sum) *Sum {
	if o == nil {
		return s
	}
	t := *s
	t.N += o.N
	one := func(a, b *big.Int) *big.Int {
		if a == nil || b == nil {
			return a
		}
		return new(big.Int).Add(a, b)
	}
	all := func(a, b []*big.Int) []*big.Int {
		c := make([]*big.Int, len(a))
		for i := range a {
			c[i] = one(a[i], b[i])
		}
		return c
	}
	t.X, t.XX, t.D, t.DD, t.XD = one(s.X, o.X), one(s.XX, o.XX), one(s.D, o.D), one(s.DD, o.DD), one(s.XD, o.XD)
	t.C, t.XC, t.CC, t.DC = all(s.C, o.C), all(s.XC, o.XC), all(s.CC, o.CC), all(s.DC, o.DC)
	return &t
}

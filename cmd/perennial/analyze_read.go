package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"perennial/experiments"
)

// tableColumns is which columns of a file are read, and as what.
type tableColumns struct {
	variant, unit string
	plan          experiments.TablePlan
}

// tableSource is what reading a table met.
type tableSource struct {
	experiments.TableSource
	warnings []experiments.Warning
}

// readTable reads the columns that a plan needs. A row that cannot be read is named on stderr with column and line and left out; a column
// that is not there is wrong usage.
func readTable(ctx context.Context, a *App, path string, c tableColumns) (*experiments.Table, tableSource, error) {
	b := newTableBuilder(c)
	var source tableSource
	rows, end, err := openRows(ctx, a, path, b.columns)
	if err != nil {
		return nil, source, err
	}
	defer end()
	const shown = 20
	for {
		cells, line, err := rows.next()
		if err == io.EOF {
			break
		}
		var bad *rowError
		if err != nil && !errors.As(err, &bad) {
			return nil, source, fmt.Errorf("%s: %w", path, err)
		}
		if source.Rows++; source.Rows%4096 == 0 && ctx.Err() != nil {
			return nil, source, ctx.Err()
		}
		if bad == nil {
			err = b.add(cells)
		}
		if err != nil {
			if source.RowsRejected++; source.RowsRejected <= shown {
				fmt.Fprintf(a.Err, "%s: line %d: %v; the row is left out\n", path, line, err)
			}
		}
	}
	if source.RowsRejected > shown {
		fmt.Fprintf(a.Err, "%s: and %d more rows left out\n", path, source.RowsRejected-shown)
	}
	if source.Rows == source.RowsRejected {
		return nil, source, fmt.Errorf("%s: no row can be used (%d rows, %d rejected)", path, source.Rows, source.RowsRejected)
	}
	for i, name := range b.numeric {
		if b.missing[i] > 0 {
			fmt.Fprintf(a.Err, "%s: %s is missing in %d rows; they do not count for it\n", path, name, b.missing[i])
		}
	}
	table, leftOut := b.table()
	if source.UnitsLeftOut = leftOut; leftOut > 0 {
		source.warnings = append(source.warnings, experiments.Warning{Code: "multiple_exposure", Detail: experiments.Text{
			ZH: fmt.Sprintf("有 %d 个用户同时出现在两个组里，已从分析中去掉。", leftOut), EN: fmt.Sprintf("%d units were in two arms and are left out.", leftOut)}})
	}
	if len(table.Variant) == 0 {
		return nil, source, fmt.Errorf("%s: every unit is in two arms; nothing is left to compare", path)
	}
	return table, source, nil
}

// tableBuilder gathers rows into units.
type tableBuilder struct {
	columns    []string // wanted, each once
	at         map[string]int
	c          tableColumns
	proportion map[string]bool
	numeric    []string
	missing    []int64 // rows without the number, by numeric column
	labels     []string
	units      map[string]int
	twoArms    []bool
	variant    []string
	numbers    [][]float64
	texts      [][]string
	traits     map[string]*trait
}

func newTableBuilder(c tableColumns) *tableBuilder {
	b := &tableBuilder{c: c, at: map[string]int{}, proportion: map[string]bool{}, units: map[string]int{}}
	add := func(list *[]string, name string) {
		if name == "" {
			return
		}
		if _, ok := b.at[name]; !ok {
			b.at[name] = len(b.columns)
			b.columns = append(b.columns, name)
		}
		for _, known := range *list {
			if known == name {
				return
			}
		}
		*list = append(*list, name)
	}
	var ids []string
	add(&ids, c.variant)
	add(&ids, c.unit)
	for _, m := range c.plan.Metrics {
		add(&b.numeric, m.Column)
		add(&b.numeric, m.Denominator)
		for _, z := range m.Covariates {
			add(&b.numeric, z)
		}
		add(&b.labels, m.Cluster)
		add(&b.labels, m.Strata)
		b.proportion[m.Column] = b.proportion[m.Column] || m.Kind == experiments.KindProportion
	}
	for _, s := range c.plan.Segments {
		add(&b.labels, s)
	}
	b.traits = traits(c.plan.Metrics)
	b.numbers, b.texts, b.missing = make([][]float64, len(b.numeric)), make([][]string, len(b.labels)), make([]int64, len(b.numeric))
	return b
}

// traits are the columns that are covariates and nothing else: what is known of a unit before the test.
func traits(metrics []experiments.TableMetric) map[string]*trait {
	known := map[string]*trait{}
	for _, m := range metrics {
		for _, z := range m.Covariates {
			known[z] = &trait{}
		}
	}
	for _, m := range metrics {
		delete(known, m.Column)
		delete(known, m.Denominator)
	}
	return known
}

// trait is a covariate's value in the first row of each unit. Where every row of a unit repeats it, it is the unit's value: a sum would count the
// unit's rows, which are made during the test and may be the treatment's own doing. Where rows differ it is summed like a metric.
type trait struct {
	first  []float64
	varies bool
}

// add takes one row; an error rejects it and names the column.
func (b *tableBuilder) add(cells []cell) error {
	variant := ""
	if b.c.variant != "" { // a history has none
		if variant = strings.TrimSpace(cells[b.at[b.c.variant]].text); variant == "" {
			return fmt.Errorf("%s: the variant is empty", b.c.variant)
		}
	}
	values := make([]float64, len(b.numeric))
	for i, name := range b.numeric {
		v, err := parseCell(cells[b.at[name]], b.proportion[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		values[i] = v
	}
	row := len(b.variant)
	if b.c.unit != "" {
		unit := cells[b.at[b.c.unit]]
		if unit.missing || unit.text == "" {
			return fmt.Errorf("%s: the unit is empty", b.c.unit)
		}
		if known, ok := b.units[unit.text]; ok {
			b.join(known, variant, values, cells)
			return nil
		}
		b.units[unit.text] = row
	}
	b.variant = append(b.variant, variant)
	b.twoArms = append(b.twoArms, false)
	for i, v := range values {
		b.numbers[i] = append(b.numbers[i], v)
		if t := b.traits[b.numeric[i]]; t != nil {
			t.first = append(t.first, v)
		}
		if v != v {
			b.missing[i]++
		}
	}
	for i, name := range b.labels {
		b.texts[i] = append(b.texts[i], strings.TrimSpace(cells[b.at[name]].text))
	}
	return nil
}

// join adds another row of a unit: sums, or "any" for a proportion; a label keeps its first value.
func (b *tableBuilder) join(row int, variant string, values []float64, cells []cell) {
	if b.variant[row] != variant {
		b.twoArms[row] = true
	}
	for i, v := range values {
		if t := b.traits[b.numeric[i]]; t != nil {
			switch first := &t.first[row]; {
			case *first != *first:
				*first = v
			case v == v && v != *first:
				t.varies = true
			}
		}
		old := &b.numbers[i][row]
		switch {
		case v != v:
			b.missing[i]++
		case *old != *old:
			*old = v
		case b.proportion[b.numeric[i]]:
			*old = max(*old, v)
		default:
			*old += v
		}
	}
	for i, name := range b.labels {
		if b.texts[i][row] == "" {
			b.texts[i][row] = strings.TrimSpace(cells[b.at[name]].text)
		}
	}
}

// table returns the units, those in two arms left out and counted.
func (b *tableBuilder) table() (*experiments.Table, int64) {
	t := &experiments.Table{Numbers: map[string][]float64{}, Labels: map[string][]string{}}
	keep := make([]int, 0, len(b.variant))
	for r, two := range b.twoArms {
		if !two {
			keep = append(keep, r)
			t.Variant = append(t.Variant, b.variant[r])
		}
	}
	for i, name := range b.numeric {
		column := b.numbers[i]
		if trait := b.traits[name]; trait != nil && !trait.varies {
			column = trait.first
		}
		t.Numbers[name] = pickRows(column, keep)
	}
	for i, name := range b.labels {
		t.Labels[name] = pickRows(b.texts[i], keep)
	}
	return t, int64(len(b.variant) - len(keep))
}

func pickRows[T any](column []T, rows []int) []T {
	if len(rows) == len(column) {
		return column
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = column[r]
	}
	return out
}

// parseCell reads a number; NaN means missing. true and false are 1 and 0 in any case.
func parseCell(c cell, proportion bool) (float64, error) {
	text := strings.TrimSpace(c.text)
	if c.missing {
		return math.NaN(), nil
	}
	switch strings.ToLower(text) {
	case "", "na", "nan", "null":
		return math.NaN(), nil
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || strings.ContainsAny(text, "_xXpP") {
		return 0, fmt.Errorf("%q is not a number", clipText(text))
	}
	if proportion && v != 0 && v != 1 {
		return 0, fmt.Errorf("%q is not 0 or 1, true or false", clipText(text))
	}
	return v, nil
}

func clipText(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return text
}

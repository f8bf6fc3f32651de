package warehouse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"perennial/features"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// tileColumn is one integer per user and day that measures share: equal base, condition and field make one column.
type tileColumn struct {
	name, base, cond, field string
}

// group is the sequence of days on which a tile column counts something, for the ordered aggregates.
type group struct {
	name, count string
	sums        []string // tile columns whose value on the first day is wanted
}

// valued is the values of a text column under a condition, for distinct and top.
type valued struct {
	name, cond, field string
	windows           [][2]int // days, offset
}

// program is a catalog in the shape of SQL: what every day of a user is reduced to, and what is made of the days.
type program struct {
	catalog *features.Catalog
	tiles   []tileColumn
	groups  []group
	values  []valued
	index   map[string]int // base|cond|field → tiles
}

// compile lays a catalog out. It cannot fail: ParseCatalog has checked everything.
func compile(c *features.Catalog) *program {
	p := &program{catalog: c, index: map[string]int{}}
	for i := range c.Features {
		f := &c.Features[i]
		m := f.Measure
		if m == nil {
			continue
		}
		cond := condition(m)
		switch {
		case m.Agg.Valued():
			v := p.value(cond, m.Field)
			if w := [2]int{f.Days, f.Offset}; !slices.Contains(v.windows, w) {
				v.windows = append(v.windows, w)
			}
		case m.Agg.Ordered():
			g := p.group(cond)
			if m.Agg == features.AggFirstDaySum {
				if t := p.column("sum", cond, m.Field); !slices.Contains(g.sums, t) {
					g.sums = append(g.sums, t)
				}
			}
		default:
			p.column(baseOf(m.Agg), cond, m.Field)
		}
	}
	return p
}

// baseOf is what a day's events are reduced to for a mergeable aggregate.
func baseOf(a features.Agg) string {
	switch a {
	case features.AggSum:
		return "sum"
	case features.AggMin:
		return "min"
	case features.AggMax:
		return "max"
	case features.AggFirstTime:
		return "first"
	case features.AggLastTime:
		return "last"
	}
	return "count"
}

func (p *program) column(base, cond, field string) string {
	key := base + "|" + cond + "|" + field
	i, ok := p.index[key]
	if !ok {
		i = len(p.tiles)
		p.index[key] = i
		p.tiles = append(p.tiles, tileColumn{fmt.Sprintf("t%d", i), base, cond, field})
	}
	return p.tiles[i].name
}

func (p *program) group(cond string) *group {
	count := p.column("count", cond, "")
	for i := range p.groups {
		if p.groups[i].count == count {
			return &p.groups[i]
		}
	}
	p.groups = append(p.groups, group{name: fmt.Sprintf("g%d", len(p.groups)), count: count})
	return &p.groups[len(p.groups)-1]
}

func (p *program) value(cond, field string) *valued {
	for i := range p.values {
		if p.values[i].cond == cond && p.values[i].field == field {
			return &p.values[i]
		}
	}
	p.values = append(p.values, valued{name: fmt.Sprintf("v%d", len(p.values)), cond: cond, field: field})
	return &p.values[len(p.values)-1]
}

// build is the aggregate of a tile column over events.
func (t tileColumn) build(d Dialect) string {
	filter := " FILTER (WHERE " + t.cond + ")"
	switch t.base {
	case "count":
		return "count(*)" + filter
	case "sum":
		return d.integer("coalesce(sum(" + amountFields[t.field] + ")" + filter + ", 0)")
	case "first":
		return "min(" + d.microsOf("ts") + ")" + filter
	case "last":
		return "max(" + d.microsOf("ts") + ")" + filter
	}
	return t.base + "(" + amountFields[t.field] + ")" + filter
}

// merge is the aggregate of a tile column over tiles of one user, narrowed by a condition where there is one. The condition is a CASE: with dozens of
// columns DuckDB takes a fifth less time for them than for filters.
func (t tileColumn) merge(d Dialect, column, cond string) string {
	if cond != "" {
		column = "CASE WHEN " + cond + " THEN " + column + " END"
	}
	switch t.base {
	case "count", "sum":
		return d.integer("coalesce(sum(" + column + "), 0)")
	case "first", "min":
		return "min(" + column + ")"
	}
	return "max(" + column + ")"
}

// query is one statement over raw events or tiles for one cut or many.
type query struct {
	p     *program
	d     Dialect
	shop  features.Shop
	cuts  []features.Day
	tiles bool   // read the relations tiles and tile_values in the place of events
	where string // further condition on the rows, such as a range of user buckets
	bare  bool   // without the order, for a statement around it
	fold  bool   // the relation fold is there: ids are folded as they were known at each cut
	alone bool   // with fold: only the rows of the ids in it, which are in relations of their own
	late  bool   // with one cut: what happened before it counts whenever it became known
	base  string // a query whose rows are those of the relation base, where they were computed otherwise
}

// key is what a row stands for, and the cut as a day and as an instant.
func (q *query) key() (key, cutDay, cutMicros string) {
	if len(q.cuts) > 1 {
		return "cut_day, user_id", "cut_day", "cut_us"
	}
	return "user_id", fmt.Sprint(int(q.cuts[0])), fmt.Sprint(q.shop.Midnight(q.cuts[0]).UnixMicro())
}

// text compiles the statement: user_id (after cut_day where there are several cuts), then every column of the catalog, ordered by
// the bytes of user_id.
func (q *query) text() string {
	ctes := "base AS (" + q.base + ")"
	if q.base == "" {
		ctes = q.relations()
	}
	key, cutDay, cutMicros := q.key()
	w := writer{d: q.d, c: q.p.catalog, cutDay: cutDay, cutMicros: cutMicros}
	var out []string
	for _, f := range q.p.catalog.Columns() {
		out = append(out, w.output(f)+" AS "+quoteName(f.Name))
	}
	statement := "WITH " + ctes + "\nSELECT " + key + prefixed(out) + "\n FROM base"
	if p := q.p.catalog.Population; p != nil {
		statement += " WHERE " + w.expr(p)
	}
	if q.bare {
		return statement
	}
	return statement + " ORDER BY " + key
}

// relations are the common table expressions up to base: user_id (after cut_day and cut_us where there are several cuts) and a column a measure.
func (q *query) relations() string {
	var ctes []string
	add := func(name, body string) { ctes = append(ctes, name+" AS ("+body+")") }
	key, cutDay, _ := q.key()
	from, bound := " FROM %s WHERE ", "%[1]s < "+dayLiteral(q.cuts[0])+" AND %[2]s < "+dayLiteral(q.cuts[0])
	if q.late {
		bound = "%[1]s < " + dayLiteral(q.cuts[0])
	}
	if len(q.cuts) > 1 {
		rows := make([]string, len(q.cuts))
		for i, c := range q.cuts {
			rows[i] = fmt.Sprintf("(%s, %d, %d)", dayLiteral(c), int(c), q.shop.Midnight(c).UnixMicro())
		}
		add("cut (cut_date, cut_day, cut_us)", "VALUES "+strings.Join(rows, ", "))
		from, bound = " FROM %s JOIN cut ON ", "%[1]s < cut_date AND %[2]s < cut_date"
	}
	source, values := "events", "events"
	day := q.d.dayOf("biz_day")
	if q.tiles {
		source, values = "tiles", "tile_values"
	}
	if q.alone {
		source, values = linkedTiles, linkedValues
	}
	rows := func(relation string) string {
		w := fmt.Sprintf(from, relation) + fmt.Sprintf(bound, "biz_day", "known_day") + " AND user_id <> ''"
		switch {
		case q.fold && len(q.cuts) > 1:
			w = " FROM " + q.folded(relation, " JOIN cut ON "+fmt.Sprintf(bound, "r.biz_day", "r.known_day"), "cut.cut_day") + " WHERE user_id <> ''"
		case q.fold:
			w = fmt.Sprintf(from, q.folded(relation, "", cutDay)) + fmt.Sprintf(bound, "biz_day", "known_day") + " AND user_id <> ''"
		}
		if q.where != "" {
			w += " AND " + q.where
		}
		return w
	}

	columns, kept := make([]string, len(q.p.tiles)), ""
	for i, t := range q.p.tiles {
		columns[i] = t.build(q.d) + " AS " + t.name
		if q.tiles {
			columns[i] = t.merge(q.d, t.name, "") + " AS " + t.name
			kept += ", " + t.name
		}
	}
	daily := "SELECT " + key + ", " + day + " AS day" + prefixed(columns) + "\n " + rows(source)
	group := " GROUP BY " + key + ", " + day
	if q.tiles { // nearly every day of a user is one tile, which needs no grouping
		daily = "SELECT " + key + ", " + day + " AS day" + kept + rows(source) + " AND parts = 1\n UNION ALL " + daily + " AND parts > 1"
	}
	add("daily", daily+group)

	for _, g := range q.p.groups {
		firsts := ""
		for _, s := range g.sums {
			firsts += ", min_by(" + s + ", day) AS first_" + s
		}
		add(g.name, fmt.Sprintf("SELECT %[1]s, min(day) AS first_day, max(day) AS last_day, max_by(previous, day) AS previous_day, %[2]s AS gap_squares, max(day - previous) AS longest_gap%[3]s\n"+
			" FROM (SELECT daily.*, lag(day) OVER (PARTITION BY %[1]s ORDER BY day) AS previous FROM daily WHERE %[4]s > 0) d GROUP BY %[1]s",
			key, q.d.integer("sum((day - previous) * (day - previous))"), firsts, g.count))
	}
	for i, v := range q.p.values {
		relation := fmt.Sprintf("SELECT %s, %s AS day, %s AS value, count(*) AS n%s AND %s AND coalesce(%s, '') <> '' GROUP BY %s, %s, %s", key, day, v.field, rows(values), v.cond, v.field, key, day, v.field)
		if q.tiles {
			relation = fmt.Sprintf("SELECT %s, %s AS day, value, n%s AND slot = %d", key, day, rows(values), i)
		}
		var inner, outer []string
		for j, w := range v.windows {
			inner = append(inner, fmt.Sprintf("%s AS n%d", tileColumn{base: "sum"}.merge(q.d, "n", q.window(cutDay, w[0], w[1])), j))
			outer = append(outer, fmt.Sprintf("count(*) FILTER (WHERE n%[1]d > 0) AS distinct%[1]d, max(n%[1]d) AS top%[1]d", j))
		}
		add(v.name, fmt.Sprintf("SELECT %[1]s, %[2]s FROM (SELECT %[1]s, value, %[3]s FROM (%[4]s) r GROUP BY %[1]s, value) s GROUP BY %[1]s", key, strings.Join(outer, ", "), strings.Join(inner, ", "), relation))
	}

	totals := []string{}
	joined := []string{}
	for i := range q.p.catalog.Features {
		f := &q.p.catalog.Features[i]
		if f.Measure == nil {
			continue
		}
		name := quoteName(f.Name)
		if expr, own := q.total(f, cutDay); own {
			totals = append(totals, expr+" AS "+name)
			joined = append(joined, "t."+name)
		} else {
			joined = append(joined, expr+" AS "+name)
		}
	}
	add("total", "SELECT "+key+prefixed(totals)+"\n FROM daily GROUP BY "+key)
	join := ""
	using := func(name string) string {
		on := name + ".user_id = t.user_id"
		if len(q.cuts) > 1 {
			on += " AND " + name + ".cut_day = t.cut_day"
		}
		return "\n LEFT JOIN " + name + " ON " + on
	}
	for _, g := range q.p.groups {
		join += using(g.name)
	}
	for _, v := range q.p.values {
		join += using(v.name)
	}
	head := "t.user_id"
	if len(q.cuts) > 1 {
		head = "t.cut_day, c.cut_us, t.user_id"
		join += "\n JOIN cut c ON c.cut_day = t.cut_day"
	}
	add("base", "SELECT "+head+prefixed(joined)+"\n FROM total t"+join)
	return strings.Join(ctes, ",\n")
}

// window is the condition on a day that it lies in a window; "" where every day does.
func (q *query) window(cutDay string, days, offset int) string {
	var conds []string
	if days > 0 {
		conds = append(conds, fmt.Sprintf("day >= %s - %d", cutDay, days+offset))
	}
	if offset > 0 {
		conds = append(conds, fmt.Sprintf("day < %s - %d", cutDay, offset))
	}
	return strings.Join(conds, " AND ")
}

// total is the SQL of a measure in its window: own is true for an aggregate over daily, false for a column of a joined group.
func (q *query) total(f *features.Feature, cutDay string) (expr string, own bool) {
	m := f.Measure
	cond := condition(m)
	switch {
	case m.Agg.Valued():
		v := q.p.value(cond, m.Field)
		i := slices.Index(v.windows, [2]int{f.Days, f.Offset})
		return fmt.Sprintf("coalesce(%s.%s%d, 0)", v.name, m.Agg, i), false
	case m.Agg == features.AggFirstDaySum:
		return q.p.group(cond).name + ".first_" + q.p.column("sum", cond, m.Field), false
	case m.Agg.Ordered():
		return q.p.group(cond).name + "." + string(m.Agg), false
	case m.Agg == features.AggDays:
		present := q.p.column("count", cond, "") + " > 0"
		if within := q.window(cutDay, f.Days, f.Offset); within != "" {
			present = within + " AND " + present
		}
		return "count(*) FILTER (WHERE " + present + ")", true
	}
	name := q.p.column(baseOf(m.Agg), cond, m.Field)
	return q.p.tiles[q.p.index[baseOf(m.Agg)+"|"+cond+"|"+m.Field]].merge(q.d, name, q.window(cutDay, f.Days, f.Offset)), true
}

// writer turns checked expressions into SQL over the relation base.
type writer struct {
	d                 Dialect
	c                 *features.Catalog
	cutDay, cutMicros string
}

// output is the column of a feature: counts as integers, money in major units, everything else as a double, the stage as text.
func (w *writer) output(f *features.Feature) string {
	switch {
	case f.Stage:
		return w.stage()
	case f.Measure != nil && f.Kind == features.KindCount:
		return "base." + quoteName(f.Name)
	case f.Kind == features.KindCount:
		return w.d.integer(w.value(f))
	case f.Kind == features.KindMoney:
		return w.value(f) + " / " + w.d.number(features.MicrosPerUnit)
	}
	return w.value(f)
}

// value is a feature as a double: a measure's column, or its expression in parentheses.
func (w *writer) value(f *features.Feature) string {
	if f.Expr == nil {
		return "CAST(base." + quoteName(f.Name) + " AS DOUBLE)"
	}
	return w.expr(f.Expr)
}

func (w *writer) expr(e *features.Expr) string {
	arg := func(i int) string { return w.expr(e.Args[i]) }
	binary := func(op string) string { return "(" + arg(0) + " " + op + " " + arg(1) + ")" }
	switch e.Op {
	case features.OpNumber:
		return w.d.number(e.Number)
	case features.OpRef:
		f, _ := w.c.Get(e.Ref)
		return w.value(f)
	case features.OpAdd:
		return binary("+")
	case features.OpSub:
		return binary("-")
	case features.OpMul:
		return binary("*")
	case features.OpDiv:
		return "(" + arg(0) + " / nullif(" + arg(1) + ", 0))"
	case features.OpNeg:
		return "(- " + arg(0) + ")"
	case features.OpLess:
		return binary("<")
	case features.OpLessEq:
		return binary("<=")
	case features.OpEqual:
		return binary("=")
	case features.OpNotEq:
		return binary("<>")
	case features.OpAnd:
		return binary("AND")
	case features.OpOr:
		return binary("OR")
	case features.OpNot:
		return "(NOT " + arg(0) + ")"
	case features.OpSince:
		return w.since(e.Args[0].Kind, w.cut(e.Args[0].Kind), arg(0))
	case features.OpBetween:
		return w.since(e.Args[0].Kind, arg(0), arg(1))
	case features.OpIf:
		return "CASE WHEN " + arg(0) + " THEN " + arg(1) + " ELSE " + arg(2) + " END"
	case features.OpCoalesce:
		return "coalesce(" + arg(0) + ", " + arg(1) + ")"
	case features.OpMin:
		return fmt.Sprintf("CASE WHEN %[1]s <= %[2]s THEN %[1]s WHEN %[2]s < %[1]s THEN %[2]s END", arg(0), arg(1))
	case features.OpMax:
		return fmt.Sprintf("CASE WHEN %[1]s >= %[2]s THEN %[1]s WHEN %[2]s > %[1]s THEN %[2]s END", arg(0), arg(1))
	case features.OpAbs:
		return "abs(" + arg(0) + ")"
	case features.OpSqrt:
		return fmt.Sprintf("CASE WHEN %[1]s >= 0 THEN sqrt(%[1]s) END", arg(0))
	case features.OpLog1p:
		return fmt.Sprintf("CASE WHEN %[1]s > -1 THEN ln(1 + %[1]s) END", arg(0))
	}
	return "NULL"
}

// cut is the cut as a double, in days or microseconds.
func (w *writer) cut(kind features.Kind) string {
	if kind == features.KindDay {
		return "CAST(" + w.cutDay + " AS DOUBLE)"
	}
	return "CAST(" + w.cutMicros + " AS DOUBLE)"
}

// since is the difference of two times or days, in days.
func (w *writer) since(kind features.Kind, later, earlier string) string {
	if kind == features.KindDay {
		return "(" + later + " - " + earlier + ")"
	}
	return "((" + later + " - " + earlier + ") / " + w.d.number(86_400_000_000) + ")"
}

// stage is features.StageRules.Stage over the columns of base. All of it is integers: the rhythm's ratio is in thousandths.
func (w *writer) stage() string {
	r := w.c.Stage
	return fmt.Sprintf(`CASE WHEN coalesce(base.orders_all, 0) = 0 THEN 'prospect'
  WHEN %[1]s - base.order_last_day <= %[2]d AND base.order_last_day - base.order_previous_day > %[3]d THEN 'reactivated'
  WHEN %[1]s - base.order_last_day > %[4]d THEN 'lapsed'
  WHEN %[1]s - base.order_last_day > %[5]d OR %[1]s - base.order_last_day > %[2]d AND (base.orders_all = 1
    OR base.orders_all >= %[6]d AND (%[1]s - base.order_last_day) * (base.orders_all - 1) * 1000 > %[7]d * (base.order_last_day - base.order_first_day)) THEN 'declining'
  WHEN base.orders_365d >= %[8]d THEN 'loyal' WHEN base.orders_all >= 2 THEN 'active' ELSE 'new' END`,
		w.cutDay, r.NewDays, r.ReactivatedGapDays, r.LapsedDays, r.DecliningDays, r.RhythmOrders, int64(r.RhythmRatio*1000+0.5), r.LoyalOrders)
}

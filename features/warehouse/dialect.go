package warehouse

import (
	"fmt"

	"perennial/features"
)

// Dialect is the little that engines disagree on, as formats. Everything else of a compiled statement is SQL that they read alike and answer
// bit for bit: integers, dates, doubles, FILTER, lag, min_by and max_by. An engine is added by one such table and a runner (runner.go).
type Dialect struct {
	Name     string
	day      string // days since 1970 of a DATE
	micros   string // microseconds since 1970 of a TIMESTAMP in UTC
	bigint   string // cast to 64 bits; an overflow is an error
	wide     string // cast to an exact integer of 38 digits
	quotient string // of two wide integers, cut towards zero
	double   string // a DOUBLE literal of the shortest text of a number
	shift    string // a DATE moved by a number of days
	date     string // the DATE of a number of days since 1970
	property string // the text of a key of a JSON text, which is quoted
	gather   string // aggregate: the list of a column
	soonest  string // the least element of a list that is not below a bound, or null
	row      string // what numbers the rows of a kept relation, or its key
	total    string // exact sum of a 64-bit column
	digest   string // an unsigned 64-bit half of the MD5 of a text, as a wide integer
}

// The dialects.
var (
	DuckDB = Dialect{Name: "duckdb",
		day:      "(%s - DATE '1970-01-01')",
		micros:   "epoch_us(%s)",
		bigint:   "CAST(%s AS BIGINT)",
		wide:     "CAST(%s AS HUGEINT)",
		quotient: "(%s // %s)",
		double:   "CAST(%s AS DOUBLE)",
		shift:    "(%s + %d)",
		date:     "(DATE '1970-01-01' + CAST(%s AS INTEGER))",
		property: "json_extract_string(%s, '$.%s')",
		gather:   "list(%s)",
		row:      "rowid",
		total:    "sum(%s)",
		soonest:  "list_min(list_filter(%s, lambda x: x >= %s))",
		digest:   "CAST(md5_number_lower(%s) AS HUGEINT)",
	}
	Trino = Dialect{Name: "trino",
		day: "date_diff('day', DATE '1970-01-01', %s)",
		// A double holds microseconds of our centuries exactly (1.7·10¹⁵ < 2⁵³), so rounding the product gives the integer back.
		micros:   "CAST(round(to_unixtime(with_timezone(%s, 'UTC')) * 1000000) AS BIGINT)",
		bigint:   "CAST(%s AS BIGINT)",
		wide:     "CAST(%s AS DECIMAL(38, 0))",
		quotient: "((%[1]s - mod(%[1]s, %[2]s)) / %[2]s)", // a division of decimals rounds
		double:   "DOUBLE '%s'",                           // a literal such as 1.5 is a decimal
		shift:    "date_add('day', %[2]d, %[1]s)",
		date:     "date_add('day', %s, DATE '1970-01-01')",
		property: "json_extract_scalar(%s, '$.%s')",
		gather:   "array_agg(%s)",
		row:      "unit",
		total:    "sum(CAST(%s AS DECIMAL(38, 0)))",
		soonest:  "array_min(filter(%s, x -> x >= %s))",
		digest: "(CAST(from_big_endian_64(reverse(substr(md5(to_utf8(%[1]s)), 9, 8))) AS DECIMAL(38, 0)) + " +
			"CASE WHEN from_big_endian_64(reverse(substr(md5(to_utf8(%[1]s)), 9, 8))) < 0 THEN DECIMAL '18446744073709551616' ELSE DECIMAL '0' END)",
	}
)

func (d Dialect) dayOf(column string) string        { return fmt.Sprintf(d.day, column) }
func (d Dialect) microsOf(column string) string     { return fmt.Sprintf(d.micros, column) }
func (d Dialect) integer(expr string) string        { return fmt.Sprintf(d.bigint, expr) }
func (d Dialect) exact(expr string) string          { return fmt.Sprintf(d.wide, expr) }
func (d Dialect) divide(a, b string) string         { return fmt.Sprintf(d.quotient, a, b) }
func (d Dialect) plus(date string, days int) string { return fmt.Sprintf(d.shift, date, days) }
func (d Dialect) dateOf(days string) string         { return fmt.Sprintf(d.date, days) }
func (d Dialect) text(json, key string) string      { return fmt.Sprintf(d.property, json, key) }

// number is a DOUBLE literal with all its digits.
func (d Dialect) number(x float64) string {
	return fmt.Sprintf(d.double, appendNumber(nil, x, "NULL"))
}

// condition is the SQL of features.Measure.Counts.
func condition(m *features.Measure) string {
	cond := "event NOT IN (" + texts(features.Passive) + ")"
	if len(m.Events) == 1 {
		cond = "event = " + quoteText(m.Events[0])
	} else if len(m.Events) > 1 {
		cond = "event IN (" + texts(m.Events) + ")"
	}
	for _, column := range sortedKeys(m.Where) {
		cond += fmt.Sprintf(" AND coalesce(%s, '') IN (%s)", column, texts(m.Where[column]))
	}
	if m.Positive != "" {
		cond += " AND " + amountFields[m.Positive] + " > 0"
	}
	if m.Has != "" {
		cond += " AND coalesce(" + m.Has + ", '') <> ''"
	}
	if m.Lacks != "" {
		cond += " AND coalesce(" + m.Lacks + ", '') = ''"
	}
	return cond
}

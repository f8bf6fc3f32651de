package warehouse

import (
	"fmt"

	"perennial/features"
)

// Dialect is the little that engines disagree on. Everything else of a compiled statement is SQL that DuckDB and Trino read alike and
// answer bit for bit: integers, dates, doubles, FILTER, lag, min_by and max_by.
type Dialect struct {
	Name    string
	day     string // days since 1970 of a DATE column, with %s
	micros  string // microseconds since 1970 of a TIMESTAMP column in UTC
	bigint  string // cast of an aggregate
	literal string // a DOUBLE literal of a formatted number
}

// The dialects.
var (
	DuckDB = Dialect{Name: "duckdb", day: "(%s - DATE '1970-01-01')", micros: "epoch_us(%s)", bigint: "CAST(%s AS BIGINT)", literal: "CAST(%s AS DOUBLE)"}
	// A double holds microseconds of our centuries exactly (1.7·10¹⁵ < 2⁵³), so rounding the product gives the integer back.
	Trino = Dialect{Name: "trino", day: "date_diff('day', DATE '1970-01-01', %s)", micros: "CAST(round(to_unixtime(with_timezone(%s, 'UTC')) * 1000000) AS BIGINT)",
		bigint: "CAST(%s AS BIGINT)", literal: "CAST(%s AS DOUBLE)"}
)

func (d Dialect) dayOf(column string) string    { return fmt.Sprintf(d.day, column) }
func (d Dialect) microsOf(column string) string { return fmt.Sprintf(d.micros, column) }
func (d Dialect) integer(expr string) string    { return fmt.Sprintf(d.bigint, expr) }

// number is a DOUBLE literal with all its digits; both engines would read 1.5 as a decimal.
func (d Dialect) number(x float64) string {
	return fmt.Sprintf(d.literal, appendNumber(nil, x, "NULL"))
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

package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	_ "github.com/trinodb/trino-go-client/trino" // the golden text runs as it stands, past the engine

	"perennial/features/lake"
	"perennial/features/synth"
)

// golden reads the statements of a golden text in their order.
func golden(dialect string) (names []string, text map[string]string, err error) {
	raw, err := os.ReadFile(filepath.Join("features", "warehouse", "testdata", "sql-"+dialect+".txt"))
	if err != nil {
		return nil, nil, err
	}
	text = map[string]string{}
	for _, part := range strings.Split("\n"+string(raw), "\n-- ")[1:] {
		name, body, _ := strings.Cut(part, "\n----\n")
		names = append(names, name)
		text[name] = strings.TrimSpace(body)
	}
	return names, text, nil
}

// statements executes the golden SQL of both dialects, word for word, over the same lake and compares the rows.
func statements(ctx context.Context, l *lab) (string, error) {
	w, err := l.newWorld(ctx, "statements", nil, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	events := synth.Trial(shop, 91, 150, time.Date(2026, 5, 20, 13, 0, 0, 0, time.UTC))
	for i := range events {
		events[i].Properties = []byte(strings.ReplaceAll(string(events[i].Properties), `"promo"`, `"it's"`))
	}
	if err := w.loadAll(ctx, events, 1); err != nil {
		return "", err
	}
	var paths []string
	err = w.with(ctx, func(s *lake.Snapshot) error {
		for _, p := range s.Paths() {
			paths = append(paths, "'"+p+"'")
		}
		_, _, err := w.trino.Digest(ctx, s, day("2026-05-20")) // registers the segments
		return err
	})
	if err != nil {
		return "", err
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return "", err
	}
	duck := sql.OpenDB(connector)
	defer duck.Close()
	trino, err := sql.Open("trino", l.url+"?catalog=hive&schema=t_statements")
	if err != nil {
		return "", err
	}
	defer trino.Close()
	names, ours, err := golden("duckdb")
	if err != nil {
		return "", err
	}
	_, theirs, err := golden("trino")
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.dir, "one", "events.parquet") // both engines read one file: many small ones cost a cluster much
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	if _, err := duck.ExecContext(ctx, "COPY (SELECT * FROM read_parquet(["+strings.Join(paths, ", ")+"])) TO '"+file+"' (FORMAT parquet)"); err != nil {
		return "", err
	}
	base := map[*sql.DB]string{duck: "SELECT * FROM read_parquet('" + file + "')", trino: "SELECT * FROM one"}
	if _, err := trino.ExecContext(ctx, `CREATE TABLE one (LIKE events EXCLUDING PROPERTIES) WITH (external_location = 'local:///statements/one', format = 'PARQUET')`); err != nil {
		return "", err
	}
	total := 0
	for _, name := range names {
		var rows [2][]string
		for i, e := range []struct {
			db   *sql.DB
			text map[string]string
		}{{duck, ours}, {trino, theirs}} {
			var err error
			if rows[i], err = rowsOf(ctx, e.db, relations(name, e.text[name], base[e.db])); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			relation, makes := makers[name]
			if !makes {
				continue
			}
			kept := "CREATE TABLE " + relation + " AS "
			if e.db == trino {
				kept = "CREATE TABLE " + relation + " WITH (external_location = 'local:///statements/" + relation + "', format = 'PARQUET') AS "
			}
			if _, err := e.db.ExecContext(ctx, kept+relations(name, e.text[name], base[e.db])); err != nil {
				return "", fmt.Errorf("%s: keep: %w", name, err)
			}
		}
		if want, got := rows[0], rows[1]; !slices.Equal(want, got) {
			return "", fmt.Errorf("%s: %d rows and %d, or other ones; first %.200s and %.200s", name, len(want), len(got), append(want, "")[0], append(got, "")[0])
		}
		total += len(rows[0])
	}
	if total < 1000 {
		return "", fmt.Errorf("%d rows in all are too few to compare", total)
	}
	return fmt.Sprintf("%d golden statements, executed as they stand on both engines: %d rows equal", len(names), total), nil
}

// makers are the golden statements whose rows later ones stand on, and the relations that they make.
var makers = map[string]string{"tiles": "tiles", "tile values": "tile_values", "training outcomes": "windows", "experiment: met": "met", "experiment: unit": "unit", "experiment: outcome": "result"}

// relations puts the relations that a golden statement stands on, beside the kept ones, before it.
func relations(name, text, events string) string {
	outcome := "windows"
	if strings.HasPrefix(name, "experiment") {
		outcome = "result"
	}
	with := []string{"events AS (" + events + ")",
		"want AS (SELECT user_id, min(ingest_seq) AS position FROM events WHERE user_id <> '' GROUP BY user_id)",
		"frozen AS (SELECT user_id, CASE WHEN min(user_bucket) < 30 THEN 'new' ELSE 'loyal' END AS stage, count(*) AS churn_decile, count(*) AS ltv_decile, CAST(count(*) AS DOUBLE) / 77 AS churn_risk FROM events GROUP BY user_id)"}
	if strings.Contains(text, " fold ") {
		with = append(with, "fold AS (SELECT c.from_cut, c.to_cut, e.user_id AS alias, 'u0001' AS root, 5 AS root_bucket FROM (SELECT DISTINCT user_id FROM events WHERE user_bucket < 10) e CROSS JOIN (VALUES (-1, 0), (20563, 20593), (20593, 2147483647)) AS c(from_cut, to_cut))")
	}
	if strings.Contains(text, "outcome") && !slices.Contains([]string{"training outcomes", "experiment: outcome"}, name) {
		with = append(with, "outcome AS (SELECT * FROM "+outcome+")")
	}
	if rest, ok := strings.CutPrefix(text, "WITH "); ok {
		return "WITH " + strings.Join(with, ",\n") + ",\n" + rest
	}
	return "WITH " + strings.Join(with, ",\n") + "\n" + text
}

// rowsOf returns the rows of a query as sorted texts, exact to the last digit.
func rowsOf(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	kinds, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var out []string
	for rows.Next() {
		into := make([]any, len(kinds))
		for i := range into {
			into[i] = new(any)
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		var b strings.Builder
		for i := range into {
			if kinds[i].Name() == "id" { // the number of a row is the engine's own
				continue
			}
			switch v := (*into[i].(*any)).(type) {
			case nil:
				b.WriteString("null")
			case float64:
				b.WriteString(strconv.FormatFloat(v, 'x', -1, 64))
			case time.Time:
				b.WriteString(v.UTC().Format("2006-01-02"))
			case *big.Int:
				b.WriteString(v.String())
			default:
				fmt.Fprint(&b, v)
			}
			b.WriteByte('\t')
		}
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out, rows.Err()
}

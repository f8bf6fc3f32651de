package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"perennial/features"
	"perennial/features/lake"
)

// The sums over users of Online Retail (UCI 10.24432/C5BW33) at two cuts, made by pandas 2 and by SQLite's SQL over the clean rows before the cut, not
// by us: users, orders, revenue, recency_days, orders of 30, 90 and 180 days, revenue of 90 days.
var retailSums = map[string]map[string]float64{
	"2011-07-01": {"users": 2960, "orders_all": 8802, "revenue_all": 3993805.651, "recency_days": 212084.565278, "orders_30d": 1393, "orders_90d": 4029, "orders_180d": 7402, "revenue_90d": 1784421.791},
	"2011-10-01": {"users": 3616, "orders_all": 13168, "revenue_all": 6192078.944, "recency_days": 333943.455556, "orders_30d": 1755, "orders_90d": 4324, "orders_180d": 8376, "revenue_90d": 2186084.003},
}

// retail imports the complete Online Retail data with the product and compares the sums of both cuts with the published ones, from raw events and from tiles;
// then two nights, one on each engine, end in the same scores.
func retail(ctx context.Context, l *lab) (string, error) {
	dir := filepath.Join(l.lake, "retail")
	l.dirs = append(l.dirs, dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	config := "timezone: UTC\ncurrency: GBP\nclock: 2011-12-10T00:00:00Z\n"
	if err := os.WriteFile(filepath.Join(dir, "perennial.yaml"), []byte(config), 0o600); err != nil {
		return "", err
	}
	data := filepath.Join("cmd", "perennial", "demo", "online_retail.csv.gz")
	if _, err := l.product(ctx, "import", "events", data, "--preset", "online-retail", "--data", dir); err != nil {
		return "", err
	}
	shop := features.Shop{Currency: "GBP", MarginRate: 0.3}
	w, err := l.newWorld(ctx, "retail", nil, shop, "")
	if err != nil {
		return "", err
	}
	defer w.close()
	checked := 0
	err = w.with(ctx, func(s *lake.Snapshot) error {
		tiles, _, err := w.tiles(ctx, w.trino, s, "tiles-trino", "")
		if err != nil {
			return err
		}
		cuts := []features.Day{day("2011-07-01"), day("2011-10-01")}
		raw, err := w.trino.FeaturesAt(ctx, s, cuts...)
		if err != nil {
			return err
		}
		tiled, err := w.trino.FeaturesFromTiles(ctx, tiles, cuts...)
		if err != nil {
			return err
		}
		ours, err := w.duck.FeaturesAt(ctx, s, cuts...)
		if err != nil {
			return err
		}
		for from, tables := range map[string][]*features.Table{"raw": raw, "tiles": tiled} {
			if _, err := sameTables(ours, tables); err != nil {
				return fmt.Errorf("from %s against duckdb: %w", from, err)
			}
			for _, t := range tables {
				for name, want := range retailSums[t.AsOf.String()] {
					got, slack := sumOf(t, name), 1e-6
					if name == "recency_days" {
						slack = 1e-4
					}
					if math.Abs(got-want) > slack {
						return fmt.Errorf("from %s as of %s: sum of %s is %.6f, want %.6f", from, t.AsOf, name, got, want)
					}
					checked++
				}
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d published sums met on trino, raw and from tiles, and every cell that of duckdb", checked), nil
}

// sumOf adds a column up over the users with an order.
func sumOf(t *features.Table, name string) (sum float64) {
	var orders, column *features.Column
	for i := range t.Columns {
		switch t.Columns[i].Name {
		case "orders_all":
			orders = &t.Columns[i]
		}
		if t.Columns[i].Name == name {
			column = &t.Columns[i]
		}
	}
	for i := range t.Users {
		switch {
		case orders.Numbers[i] == 0:
		case name == "users":
			sum++
		case column == nil:
			return math.NaN()
		default:
			sum += column.Numbers[i]
		}
	}
	return sum
}

// product runs the binary and returns what it printed.
func (l *lab) product(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, l.binary, args...)
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		text := said.String()
		return out.String(), fmt.Errorf("perennial %s: %w: %s", args[0], err, text[max(0, len(text)-600):])
	}
	return out.String(), nil
}

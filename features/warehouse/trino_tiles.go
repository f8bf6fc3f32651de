package warehouse

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"perennial/features/lake"
)

// clusterTiles is what the cluster made of the days that changed: one statement for the tiles and one for the values, whatever the number of months.
type clusterTiles struct {
	r             *remote
	tiles, values byMonth
}

// byMonth are the files of a month.
type byMonth map[string][]string

// tiles computes the days of a snapshot whose tiles are not those of the build before.
func (c *cluster) tiles(ctx context.Context, snap *lake.Snapshot, t, old *Tiles) (*clusterTiles, error) {
	part := &lake.Snapshot{Tombstones: snap.Tombstones}
	for _, g := range snap.Segments {
		if day := g.Day.String(); t.Days[day] != old.Days[day] {
			part.Segments = append(part.Segments, g)
		}
	}
	m := &clusterTiles{tiles: byMonth{}, values: byMonth{}}
	if len(part.Segments) == 0 {
		return m, nil
	}
	var err error
	if m.r, err = c.read(ctx, part); err != nil {
		return nil, err
	}
	const month = ", substr(CAST(biz_day AS VARCHAR), 1, 7) AS month"
	if err = m.r.months(ctx, c.e.p.tileQuery(Trino, month), m.tiles); err == nil {
		err = m.r.months(ctx, c.e.p.valueQuery(Trino, month), m.values)
	}
	if err != nil {
		m.done()
		return nil, err
	}
	return m, nil
}

// done removes the files; the months have been copied out of them.
func (m *clusterTiles) done() {
	if m.r != nil {
		m.r.done()
	}
}

// months has the cluster write a query whose last column is the month, one directory a month.
func (r *remote) months(ctx context.Context, query string, into byMonth) error {
	w, err := r.write(ctx, query, nil, ", partitioned_by = ARRAY['month']")
	if err != nil || w.rows == 0 {
		return err
	}
	for _, f := range w.files {
		month := strings.TrimPrefix(filepath.Base(filepath.Dir(f)), "month=")
		into[month] = append(into[month], f)
	}
	var n int64
	if err := r.s.QueryRowContext(ctx, "SELECT count(*) FROM "+readParquet(w.files)).Scan(&n); err != nil {
		return err
	}
	return w.counted(n)
}

// of is the query of a month's rows with these columns.
func (b byMonth) of(month, defs string) string {
	files := b[month]
	if len(files) == 0 {
		return emptySelect(defs)
	}
	slices.Sort(files)
	names := strings.Split(defs, ", ")
	for i := range names {
		names[i], _, _ = strings.Cut(names[i], " ")
	}
	return "SELECT " + strings.Join(names, ", ") + " FROM " + readParquet(files)
}

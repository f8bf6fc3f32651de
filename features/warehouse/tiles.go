package warehouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"perennial/features"
	"perennial/features/lake"
)

// Tiles says what a directory of tiles holds; it is the file tiles.json in it. A tile is one user's integers of one day as known on one day,
// so every cut reads the same tiles, and late rows add tiles and never change old ones.
type Tiles struct {
	Layout string                 `json:"layout"`          // what the columns mean: another catalog may need other tiles
	Days   map[string]string      `json:"days"`            // local day → fingerprint of the segments it was made of
	Months map[string]TilesOfTime `json:"months"`          // YYYY-MM → its rows
	Links  string                 `json:"links,omitempty"` // digest of the identity links, which lie beside in a file
	Dirty  int                    `json:"dirty"`           // days that this build computed; the others came from the build before
}

// TilesOfTime counts the rows of the two files of a month.
type TilesOfTime struct {
	Tiles  int64 `json:"tiles"`
	Values int64 `json:"values"`
}

// Rows returns how many tiles there are.
func (t *Tiles) Rows() (n int64) {
	for _, m := range t.Months {
		n += m.Tiles
	}
	return n
}

// Version identifies the content: equal snapshots and layouts give equal versions.
func (t *Tiles) Version() string {
	h := sha256.New()
	fmt.Fprintln(h, t.Layout)
	for _, d := range sortedKeys(t.Days) {
		fmt.Fprintln(h, d, t.Days[d])
	}
	if t.Links != "" {
		fmt.Fprintln(h, "links", t.Links)
	}
	return "tiles-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// layout identifies the columns of the tiles.
func (p *program) layout() string {
	h := sha256.New()
	fmt.Fprintln(h, "perennial.tiles/2")
	for _, t := range p.tiles {
		fmt.Fprintln(h, t.name, t.base, t.cond, t.field)
	}
	for _, v := range p.values {
		fmt.Fprintln(h, v.name, v.cond, v.field)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// PlanTiles says what the tiles of a snapshot would be, without reading an event: the fingerprint of a day is that of its segments and of
// what was erased.
func (e *Engine) PlanTiles(snap *lake.Snapshot) *Tiles {
	erased := sha256.New()
	for _, user := range sortedKeys(snap.Tombstones) {
		fmt.Fprintln(erased, user, snap.Tombstones[user].UnixMicro())
	}
	gone := hex.EncodeToString(erased.Sum(nil)[:4])
	byDay := map[string][]string{}
	for _, g := range snap.Segments {
		byDay[g.Day.String()] = append(byDay[g.Day.String()], g.Checksum+" "+filepath.Base(filepath.Dir(g.Path)))
	}
	t := &Tiles{Layout: e.p.layout(), Days: map[string]string{}, Months: map[string]TilesOfTime{}, Links: linksDigest(snap.Links)}
	for day, parts := range byDay {
		slices.Sort(parts)
		h := sha256.Sum256([]byte(strings.Join(parts, "\n")))
		t.Days[day] = hex.EncodeToString(h[:8])
		if len(snap.Tombstones) > 0 {
			t.Days[day] += "-" + gone
		}
	}
	return t
}

// BuildTiles writes the tiles of a snapshot into an empty directory. previous is the directory of an earlier build, or "": months without a
// changed day are linked from it, and in a changed month only the changed days are computed from events. report, when it is not nil, is
// told after every month.
func (e *Engine) BuildTiles(ctx context.Context, snap *lake.Snapshot, dir, previous string, report func(done, all int)) (*Tiles, error) {
	t := e.PlanTiles(snap)
	old := &Tiles{}
	if previous != "" {
		if o, err := ReadTiles(previous); err == nil && o.Layout == t.Layout {
			old = o
		}
	}
	months := map[string][]string{}
	for _, days := range []map[string]string{t.Days, old.Days} {
		for day := range days {
			if m := day[:7]; !slices.Contains(months[m], day) {
				months[m] = append(months[m], day)
			}
		}
	}
	var made *clusterTiles // nil: every month is computed by itself
	if e.c != nil {
		var err error
		if made, err = e.c.tiles(ctx, snap, t, old); err != nil {
			return nil, fmt.Errorf("tiles: %w", err)
		}
		defer made.done()
	}
	for i, month := range sortedKeys(months) {
		if err := e.buildMonth(ctx, snap, dir, previous, month, months[month], t, old, made); err != nil {
			return nil, fmt.Errorf("tiles of %s: %w", month, err)
		}
		if report != nil {
			report(i+1, len(months))
		}
	}
	if err := writeLinks(dir, snap.Links); err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return nil, err
	}
	return t, os.WriteFile(filepath.Join(dir, "tiles.json"), append(raw, '\n'), 0o644)
}

// ReadTiles reads tiles.json of a directory.
func ReadTiles(dir string) (*Tiles, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "tiles.json"))
	if err != nil {
		return nil, fmt.Errorf("tiles: %w", err)
	}
	var t Tiles
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("tiles: %w", err)
	}
	return &t, nil
}

// monthFiles are the names of a month's files.
func monthFiles(month string) (tiles, values string) {
	return "tiles-" + month + ".parquet", "values-" + month + ".parquet"
}

func (e *Engine) buildMonth(ctx context.Context, snap *lake.Snapshot, dir, previous, month string, days []string, t, old *Tiles, made *clusterTiles) error {
	var dirty, stale []string // to be computed; to be left out of the old file
	for _, d := range days {
		if t.Days[d] != old.Days[d] {
			stale = append(stale, dayText(d))
			if t.Days[d] != "" {
				dirty = append(dirty, d)
			}
		}
	}
	t.Dirty += len(dirty)
	tiles, values := monthFiles(month)
	if len(stale) == 0 {
		t.Months[month] = old.Months[month]
		return errors.Join(link(filepath.Join(previous, tiles), filepath.Join(dir, tiles)), link(filepath.Join(previous, values), filepath.Join(dir, values)))
	}
	s, tileQuery, valueQuery, err := e.dirtyTiles(ctx, snap, month, dirty, made)
	if err != nil {
		return err
	}
	defer s.done()
	keep := func(name, columns string) string {
		if _, ok := old.Months[month]; !ok {
			return ""
		}
		return fmt.Sprintf(" UNION ALL SELECT %s FROM read_parquet(%s) WHERE biz_day NOT IN (%s)", columns, quoteText(filepath.Join(previous, name)), strings.Join(stale, ", "))
	}
	var rows TilesOfTime
	names := ""
	for _, c := range e.p.tiles {
		names += ", " + c.name
	}
	// A day's events lie in the segments of that day, so there is nothing to filter. Rows are sorted by bucket first: a night reads ranges of buckets.
	query := tileQuery + keep(tiles, "user_bucket, user_id, biz_day, known_day, parts"+names)
	if rows.Tiles, err = s.copyGroups(ctx, query+" ORDER BY user_bucket, user_id, biz_day, known_day", filepath.Join(dir, tiles)); err != nil {
		return err
	}
	query = valueQuery + keep(values, "user_bucket, user_id, biz_day, known_day, slot, value, n")
	if rows.Values, err = s.copyGroups(ctx, query+" ORDER BY user_bucket, user_id, biz_day, known_day, slot, value", filepath.Join(dir, values)); err != nil {
		return err
	}
	t.Months[month] = rows
	return nil
}

// dirtyTiles returns a session and the queries of the changed days' tiles on it: over their events, or over what the cluster made of them.
func (e *Engine) dirtyTiles(ctx context.Context, snap *lake.Snapshot, month string, dirty []string, made *clusterTiles) (s *session, tiles, values string, err error) {
	if made != nil {
		s, err = e.open(ctx)
		return s, made.tiles.of(month, e.p.tileColumns()), made.values.of(month, valueColumns), err
	}
	part := &lake.Snapshot{Tombstones: snap.Tombstones}
	for _, g := range snap.Segments {
		if slices.Contains(dirty, g.Day.String()) {
			part.Segments = append(part.Segments, g)
		}
	}
	s, err = e.read(ctx, part)
	return s, e.p.tileQuery(DuckDB, ""), e.p.valueQuery(DuckDB, ""), err
}

// tileColumns are the columns of the tiles.
func (p *program) tileColumns() string {
	columns := "user_bucket INTEGER, user_id VARCHAR, biz_day DATE, known_day DATE, parts BIGINT"
	for _, t := range p.tiles {
		columns += ", " + t.name + " BIGINT"
	}
	return columns
}

// valueColumns are the columns of the counted values.
const valueColumns = "user_bucket INTEGER, user_id VARCHAR, biz_day DATE, known_day DATE, slot INTEGER, value VARCHAR, n BIGINT"

// tileQuery reduces events to tiles; parts is how many tiles a user's day has, and extra is a further column.
func (p *program) tileQuery(d Dialect, extra string) string {
	columns := ""
	for _, c := range p.tiles {
		columns += ", " + c.build(d) + " AS " + c.name
	}
	return "SELECT min(user_bucket) AS user_bucket, user_id, biz_day, known_day, count(*) OVER (PARTITION BY user_id, biz_day) AS parts" + columns + extra + " FROM events WHERE user_id <> '' GROUP BY user_id, biz_day, known_day"
}

// valueQuery counts the values of text columns by user and day; extra is a further column.
func (p *program) valueQuery(d Dialect, extra string) string {
	parts := []string{}
	for i, v := range p.values {
		parts = append(parts, fmt.Sprintf("SELECT min(user_bucket) AS user_bucket, user_id, biz_day, known_day, %d AS slot, %s AS value, count(*) AS n%s FROM events WHERE user_id <> '' AND %s AND coalesce(%s, '') <> '' GROUP BY user_id, biz_day, known_day, %s",
			i, v.field, extra, v.cond, v.field, v.field))
	}
	if len(parts) == 0 {
		parts = append(parts, "SELECT user_bucket, user_id, biz_day, known_day, 0 AS slot, event AS value, "+d.integer("0")+" AS n"+extra+" FROM events WHERE FALSE")
	}
	return strings.Join(parts, "\n UNION ALL ")
}

// copyTo writes the rows of a query into a Parquet file of the data directory and syncs it.
func (s *session) copyTo(ctx context.Context, query, path string) (int64, error) {
	return s.copyAs(ctx, query, path, "FORMAT parquet, COMPRESSION zstd")
}

// copyGroups is copyTo in small row groups, of which a reader of a range of buckets opens few, packed for fast reading: zstd makes tiles a quarter smaller and
// their reading a third slower.
func (s *session) copyGroups(ctx context.Context, query, path string) (int64, error) {
	return s.copyAs(ctx, query, path, "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 16384")
}

func (s *session) copyAs(ctx context.Context, query, path, options string) (int64, error) {
	result, err := s.ExecContext(ctx, "COPY ("+query+") TO "+quoteText(path)+" ("+options+")")
	if err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// dayText is the date literal of a YYYY-MM-DD that this package wrote.
func dayText(d string) string { return "DATE " + quoteText(d) }

// link gives an immutable file a second name; where links are not possible it is copied.
func link(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}

// tileRowsPerPass bounds the memory of a build from tiles: so many tiles are merged at a time, by ranges of user buckets.
const tileRowsPerPass = 2_500_000

// passesFor is in how many ranges of buckets tiles are merged for so many cuts: as many for each of two cores where there is enough to do.
func (t *Tiles) passesFor(cuts int) int {
	rows := t.Rows() * int64(cuts)
	if rows < tileRowsPerPass/4 {
		return 1
	}
	return int(min(lake.Buckets, 2+rows/tileRowsPerPass/2*2))
}

// bucketRange is the condition on rows of one pass.
func bucketRange(pass, passes int) string {
	if passes == 1 {
		return ""
	}
	return bucketsWithin(firstBucket(pass, passes), firstBucket(pass+1, passes))
}

// firstBucket is the first bucket of one of several equal ranges.
func firstBucket(pass, passes int) int { return pass * lake.Buckets / passes }

func bucketsWithin(from, to int) string {
	return fmt.Sprintf("user_bucket >= %d AND user_bucket < %d", from, to)
}

// tileSource is a directory of tiles that is open.
type tileSource struct {
	runner        // with the relations tiles, tile_values and, with links, fold
	t      *Tiles // its tiles.json
	links  []features.Link
	tiles  []string // files up to the month of the last cut, in the order of the months; there may be none
	values []string
	ends   []features.Day // and of each month a day after its last
}

// openTiles opens a directory of tiles for some cuts.
func (e *Engine) openTiles(ctx context.Context, dir string, cuts []features.Day) (src *tileSource, err error) {
	t, err := ReadTiles(dir)
	if err != nil {
		return nil, err
	}
	if t.Layout != e.p.layout() {
		return nil, fmt.Errorf("tiles: they were made for another catalog; run `perennial nightly --from tiles`")
	}
	if len(cuts) == 0 {
		return nil, &features.InvalidError{Field: "as_of", Reason: "needs at least one cut"}
	}
	src = &tileSource{t: t}
	if src.links, err = readLinks(dir); err != nil {
		return nil, fmt.Errorf("features from tiles: %w", err)
	}
	last := slices.Max(cuts).String()[:7]
	for _, month := range sortedKeys(t.Months) {
		if month <= last {
			a, b := monthFiles(month)
			begins, err := features.ParseDay(month + "-01")
			if err != nil {
				return nil, fmt.Errorf("tiles: %w", err)
			}
			src.tiles, src.values, src.ends = append(src.tiles, filepath.Join(dir, a)), append(src.values, filepath.Join(dir, b)), append(src.ends, begins+31)
		}
	}
	if src.runner, err = e.blank(ctx); err != nil {
		return nil, fmt.Errorf("features from tiles: %w", err)
	}
	_, err = foldCuts(ctx, src, src.links, e.o.Shop, cuts)
	if err == nil && len(src.tiles) > 0 {
		if err = src.attach(ctx, "tiles", src.tiles...); err == nil {
			err = src.attach(ctx, "tile_values", src.values...)
		}
	}
	if err != nil {
		src.done()
		return nil, fmt.Errorf("features from tiles: %w", err)
	}
	return src, nil
}

// FeaturesFromTiles builds the features of one cut or several from a directory of tiles: the columns of the statement over events, and
// the same bytes. The engine's memory is bounded by passes over ranges of user buckets; the tables are in memory, which Build is there to avoid.
func (e *Engine) FeaturesFromTiles(ctx context.Context, dir string, cuts ...features.Day) ([]*features.Table, error) {
	src, err := e.openTiles(ctx, dir, cuts)
	if err != nil {
		return nil, err
	}
	defer src.done()
	if len(src.tiles) == 0 {
		return e.emptyTables(cuts), nil
	}
	passes := src.t.passesFor(len(cuts))
	parts := make([][]*features.Table, passes)
	err = e.eachPass(ctx, src, cuts, passes, all(passes), func(ctx context.Context, r runner, pass int, base string) (err error) {
		q := &query{p: e.p, d: r.dialect(), shop: e.o.Shop, cuts: cuts, tiles: true, where: bucketRange(pass, passes), fold: len(src.links) > 0, base: base}
		parts[pass], err = r.tables(ctx, q.text(), cuts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("features from tiles: %w", err)
	}
	out := make([]*features.Table, len(cuts))
	for k := range cuts {
		column := make([]*features.Table, passes)
		for i := range passes {
			column[i] = parts[i][k]
		}
		out[k] = interleave(column)
		out[k].AsOf = cuts[k]
	}
	return out, nil
}

// emptyTables are tables without a row but with every column.
func (e *Engine) emptyTables(cuts []features.Day) []*features.Table {
	out := make([]*features.Table, len(cuts))
	for i, c := range cuts {
		out[i] = &features.Table{AsOf: c}
		for _, f := range e.o.Catalog.Columns() {
			col := features.Column{Name: f.Name, Integer: f.Kind == features.KindCount}
			if f.Stage {
				col.Texts = []string{}
			}
			out[i].Columns = append(out[i].Columns, col)
		}
	}
	return out
}

// interleave merges tables of disjoint users into one in the byte order of the users.
func interleave(parts []*features.Table) *features.Table {
	if len(parts) == 1 {
		return parts[0]
	}
	type at struct{ part, row int }
	var order []at
	for p, t := range parts {
		for r := range t.Users {
			order = append(order, at{p, r})
		}
	}
	slices.SortFunc(order, func(a, b at) int { return strings.Compare(parts[a.part].Users[a.row], parts[b.part].Users[b.row]) })
	out := &features.Table{AsOf: parts[0].AsOf, Users: make([]string, len(order)), Columns: make([]features.Column, len(parts[0].Columns))}
	for i, o := range order {
		out.Users[i] = parts[o.part].Users[o.row]
	}
	for c := range out.Columns {
		col := parts[0].Columns[c]
		if col.Texts != nil {
			col.Texts = make([]string, len(order))
			for i, o := range order {
				col.Texts[i] = parts[o.part].Columns[c].Texts[o.row]
			}
		} else {
			col.Numbers = make([]float64, len(order))
			for i, o := range order {
				col.Numbers[i] = parts[o.part].Columns[c].Numbers[o.row]
			}
		}
		out.Columns[c] = col
	}
	return out
}

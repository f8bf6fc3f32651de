package warehouse

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/vectors"
)

// A snapshot that is too large for one pass of the statements is measured by a merge. Segments are sorted by user, time and event id, so that streams over
// them give user after user; a unit is computed from her rows in a few kilobytes and added to the sums, and nothing is joined, grouped or sorted. DuckDB
// reads the columns and answers each row's conditions. The statements stay the definition: the merge is made of the same outcome (newRecipe), its answer is
// theirs bit for bit, and they still measure whom it leaves apart: persons of several ids, users of whom something was erased, and the few units
// whose events' order or amounts only they can tell.

// errHuge says that a sum leaves 128 bits: the statements say so in their words.
var errHuge = errors.New("a sum leaves 128 bits")

// errKept says that the values for order statistics leave the memory, which the statements spill.
var errKept = errors.New("the values do not fit the memory")

// The parts of Options.Memory for the streams and for kept values.
const (
	streamShare = 0.6
	valueShare  = 0.25
)

// pace forces the merge of small snapshots in tests, with few streams.
type pace struct {
	always  bool
	streams int // at most; 0 asks the memory
	ranges  int // at least
}

// merge measures the plan by a merge; false means that nothing was done and the statements are to.
func (e *Engine) merge(ctx context.Context, s *measuring, snap *lake.Snapshot) (bool, error) {
	db, ok := s.runner.(*session)
	if !ok || len(snap.Segments) == 0 {
		return false, nil
	}
	_, rows := e.reach(s.p, snap)
	if rows <= e.passRows() && !e.pace.always {
		return false, nil
	}
	r := newRecipe(s)
	if r == nil {
		return false, nil
	}
	first, last := e.o.Shop.DayOf(r.begin())-1, e.o.Shop.DayOf(s.p.AsOf)
	files, err := db.footers(ctx, slices.DeleteFunc(slices.Clone(snap.Segments), func(g lake.Segment) bool {
		return g.Day > last || g.Day < first && r.first < 0 // the first exposure to another experiment may be of any time
	}))
	if err != nil {
		return false, err
	}
	files = slices.DeleteFunc(files, func(f *footer) bool { return f.rows == 0 || r.first < 0 && f.before("ts", r.begin()) })
	m := &merger{e: e, s: s, r: r, files: files}
	for _, f := range files {
		m.all += int(f.rows)
	}
	sums, apart, err := m.run(ctx, snap)
	if errors.Is(err, errUnsorted) || errors.Is(err, errOdd) || errors.Is(err, errHuge) || errors.Is(err, errKept) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if s.p.Progress != nil { // rows that DuckDB left out were not told
		s.p.Progress(m.all, m.all)
	}
	for _, u := range sums {
		if err := u.addTo(s); err != nil {
			return false, err
		}
	}
	s.m.SQL = append(s.m.SQL, fmt.Sprintf("-- The statements are the definition. The %d rows of this snapshot are too many for one pass of them: a merge of the sorted segments computed the same sums user by user. "+
		"The statements ran for the %d ids that it leaves to them.", rows, len(apart)))
	return true, e.measureApart(ctx, s, db, apart, m)
}

// merger is one merge.
type merger struct {
	e     *Engine
	s     *measuring
	r     *recipe
	files []*footer
	held  atomic.Int64 // values kept for order statistics

	telling   sync.Mutex
	rows, all int // that were read, of all
}

// tell reports rows that were read, a few hundred times in all.
func (m *merger) tell(rows int) {
	m.telling.Lock()
	defer m.telling.Unlock()
	step := m.all/256 + 1
	before := m.rows / step
	if m.rows += rows; m.r.p.Progress != nil && m.rows/step > before {
		m.r.p.Progress(min(m.rows, m.all), m.all)
	}
}

// run computes all units but those apart, whose ids it returns.
func (m *merger) run(ctx context.Context, snap *lake.Snapshot) (sums []*unitSums, apart []string, err error) {
	known := m.apart(snap)
	apart = slices.Clone(known)
	if len(m.files) == 0 {
		return nil, apart, nil
	}
	threads := m.e.o.Threads
	streams, ranges := m.split(threads)
	if streams == nil { // one after the other takes less memory
		threads = 1
		streams, ranges = m.split(threads)
	}
	frozen := ""
	if m.r.p.Frozen != "" {
		path, done, err := m.e.inside(m.r.p.Frozen)
		if err != nil {
			return nil, nil, err
		}
		defer done()
		frozen = path
	}
	// A DuckDB of its own gives its memory back, and while it works that of the statements has next to none.
	db, err := vectors.Open(m.e.settings(filepath.Join(m.e.spill, fmt.Sprint("merge_", m.e.tables.Add(1))), m.e.o.Memory*7/10, 1)...)
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		all  sync.WaitGroup
		next atomic.Int64
		lock sync.Mutex
	)
	for range threads {
		w := m.walker()
		sums = append(sums, w.sums)
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ranges) {
					break
				}
				if failed := m.pass(ctx, db, w, streams, ranges[i], frozen, known); failed != nil {
					lock.Lock()
					if err == nil || errors.Is(err, context.Canceled) {
						err = failed
					}
					lock.Unlock()
					cancel()
					break
				}
			}
			lock.Lock()
			apart = append(apart, w.apart...)
			lock.Unlock()
		}()
	}
	all.Wait()
	return sums, apart, err
}

// apart are the ids that the merge passes over, sorted: all ids of persons who have several, and users of whom something was erased.
func (m *merger) apart(snap *lake.Snapshot) (ids []string) {
	people := features.NewPeople(snap.Links, m.r.p.AsOf.Add(time.Microsecond))
	for _, alias := range people.Aliases() {
		ids = append(ids, alias, people.Root(alias))
	}
	for user := range snap.Tombstones {
		ids = append(ids, user)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// split makes the streams of a range and the ranges of user ids so that the streams of as many ranges as there are threads fit their memory: a stream holds a
// row group. Where there are more segments than that, the smallest share streams and are sorted again, in ranges small enough to be sorted in memory. It
// returns nil where fewer threads would spare the sorting.
func (m *merger) split(threads int) (streams [][]*footer, ranges [][2]string) {
	most := m.e.pace.streams
	if most == 0 {
		bytes := int64(0)
		for _, f := range m.files {
			bytes += m.r.bytes(f)
		}
		mean := bytes/int64(len(m.files)) + 1<<20
		most = int(streamShare * float64(m.e.o.Memory) / float64(mean) / float64(threads))
		if most < len(m.files) && threads > 1 {
			return nil, nil
		}
	}
	streams = bundle(m.files, most)
	n := max(threads, m.e.pace.ranges)
	sorted := int64(0)
	var groups []rowGroup
	for _, b := range streams {
		for _, f := range b {
			groups = append(groups, f.groups...)
			if len(b) > 1 {
				sorted += f.rows
			}
		}
	}
	if per := m.e.passRows(); sorted > 0 {
		n = max(n, int(sorted/per)+1)
	}
	return streams, pairs(cut(groups, n))
}

// cut is the lower bounds of n ranges of users with about as many rows each. The rows of a group are taken to lie half at its least user and half at its last.
func cut(groups []rowGroup, n int) []string {
	type point struct {
		user string
		rows int64
	}
	var points []point
	total := int64(0)
	for _, g := range groups {
		points = append(points, point{g.least, g.rows}, point{g.last, g.rows})
		total += 2 * g.rows
	}
	slices.SortFunc(points, func(a, b point) int { return strings.Compare(a.user, b.user) })
	bounds, sum := []string{""}, int64(0)
	for _, p := range points {
		if sum*int64(n) >= total*int64(len(bounds)) && len(bounds) < n && p.user > bounds[len(bounds)-1] {
			bounds = append(bounds, p.user)
		}
		sum += p.rows
	}
	return bounds
}

// bytes estimates what a stream over a segment holds: the values of a row group, and a part of them once more as they are stored.
func (r *recipe) bytes(f *footer) (n int64) {
	for name, c := range f.columns {
		if !f.allNull(name) && (name == "user_id" || name == "ts" || name == "event" || name == "properties" || name == "order_id" || slices.Contains(amounts[:], name)) {
			n += c.bytes
		}
	}
	return n + n/4
}

// walker is a walker with sums of its own.
func (m *merger) walker() *walker {
	r := m.r
	w := &walker{r: r, sums: newUnitSums(r), rate: m.e.marginPPM(), slots: make([]int64, r.slotCount), values: make([]int64, len(r.values)), forced: map[string]bool{}}
	for _, user := range r.p.Forced {
		w.forced[user] = true
	}
	if r.first >= 0 {
		w.others = make([]encounter, len(r.p.Others))
	}
	return w
}

// pass merges the streams over one range of users.
func (m *merger) pass(ctx context.Context, db *vectors.DB, w *walker, bundles [][]*footer, users [2]string, frozen string, known []string) error {
	var open []*stream
	defer func() {
		for _, c := range open {
			c.close()
		}
	}()
	kept := w.sums.kept
	done := func(rows int) {
		if now := w.sums.kept; now != kept && m.held.Add(now-kept) > int64(valueShare*float64(m.e.o.Memory))/8 {
			w.failed = errKept
		}
		kept = w.sums.kept
		m.tell(rows)
	}
	between := func(column string) string { return (&MetricPlan{from: users[0], to: users[1]}).between(column) }
	from, _ := slices.BinarySearch(known, users[0])
	w.known = known[from:]
	w.prefix = []byte(m.prefix(users))
	reader, err := db.Conn()
	if err != nil {
		return err
	}
	defer reader.Close()
	says := &properties{conn: reader, ctx: ctx, known: map[string]exposure{}}
	live := make([]*stream, 0, len(bundles))
	for _, files := range bundles {
		c, err := db.Conn()
		if err != nil {
			return err
		}
		x := &stream{r: m.r, sums: w.sums, properties: says, done: done, place: len(open), conn: c, skip: len(w.prefix)}
		open = append(open, x)
		var query string
		query, x.at, x.day = m.r.streamQuery(files, between("user_id"))
		if err := x.open(ctx, query); err != nil {
			return err
		}
		if len(x.rows) > 0 {
			live = append(live, x)
		}
	}
	if w.frozen = nil; frozen != "" {
		c, err := db.Conn()
		if err != nil {
			return err
		}
		defer c.Close()
		rows, err := c.Query(ctx, m.r.frozenQuery(frozen, between("f.user_id")))
		if err != nil {
			return err
		}
		defer rows.Close()
		w.frozen = &frozenStream{r: m.r, sums: w.sums, rows: rows}
		if err := w.frozen.fetch(); err != nil {
			return err
		}
	}
	if len(live) == 0 {
		return nil
	}
	return w.walk(live)
}

// prefix is what all user ids of a range begin with alike.
func (m *merger) prefix(users [2]string) string {
	low, high := "", ""
	for i, f := range m.files {
		c := f.columns["user_id"]
		if c == nil || !c.bounded || c.nulls < 0 {
			return ""
		}
		if i == 0 {
			low, high = c.min, c.max
		}
		low, high = min(low, c.min), max(high, c.max)
	}
	if users[1] != "" {
		high = min(high, users[1])
	}
	low = max(low, users[0])
	n := 0
	for n < len(low) && n < len(high) && low[n] == high[n] {
		n++
	}
	return low[:n]
}

// measureApart lets the statements measure the users whom a merge left to them, and adds their sums.
func (e *Engine) measureApart(ctx context.Context, s *measuring, db *session, ids []string, m *merger) error {
	if err := db.narrow(ctx, ids, m.files, m.r); err != nil {
		return err
	}
	ranges, err := e.rangesApart(ctx, db)
	if err != nil {
		return err
	}
	return e.eachRange(ctx, s, ranges, s.exposed, e.unitOutcomes(s), s.totals, s.sums, s.soundness, s.dimensions, s.interactions, s.holdValues)
}

// narrow makes events a table of the rows of some ids, folded, of the columns that an experiment's statements ask for. Segments are read once: they have no index.
func (s *session) narrow(ctx context.Context, ids []string, files []*footer, r *recipe) error {
	statements := []string{"DROP VIEW events"}
	if len(ids) == 0 || len(files) == 0 {
		statements = append(statements, "CREATE TEMP TABLE events ("+eventColumns+")")
	} else {
		if err := s.load(ctx, "apart", "user_id VARCHAR", func(row func(...driver.Value) error) error {
			for _, id := range ids {
				if err := row(id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		paths := make([]string, len(files))
		for i, f := range files {
			paths[i] = f.path
		}
		where := "e.ts <= " + timeLiteral(r.p.AsOf)
		if r.first < 0 {
			where += " AND e.ts >= " + timeLiteral(r.begin())
		}
		if s.erased {
			where += " AND NOT EXISTS (SELECT 1 FROM erased x WHERE x.user_id = e.user_id AND e.received_at < x.erased_at)"
		}
		names := []string{"event_id", "user_id", "event", "ts", "available_at", "biz_day"}
		for _, c := range nullable {
			names = append(names, c[0])
		}
		rows := "SELECT e." + strings.Join(names, ", e.") + " FROM " + readParquet(paths) + " e SEMI JOIN apart a ON a.user_id = e.user_id WHERE " + where
		if s.folded != "" {
			rows = "SELECT " + foldedColumns("e", names) + " FROM (" + rows + ") e LEFT JOIN fold f ON f.alias = e.user_id"
		}
		statements = append(statements, "CREATE TEMP TABLE events AS "+rows)
	}
	for _, statement := range statements {
		if _, err := s.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// rangesApart are the ranges of the users of a narrowed session whose rows fit a pass.
func (e *Engine) rangesApart(ctx context.Context, s *session) ([][2]string, error) {
	bounds := []string{""}
	mark := len(s.sql)
	err := s.each(ctx, fmt.Sprintf("SELECT min(user_id) AS least FROM (SELECT user_id, row_number() OVER (ORDER BY user_id) // %d AS part FROM events WHERE user_id <> '') x WHERE part > 0 GROUP BY part ORDER BY part", e.passRows()),
		func(v []driver.Value) error {
			if least := v[0].(string); least > bounds[len(bounds)-1] {
				bounds = append(bounds, least)
			}
			return nil
		})
	s.sql = s.sql[:mark]
	return pairs(bounds), err
}

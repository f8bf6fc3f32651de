package warehouse

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"perennial/features/vectors"
)

// cursor reads one file of a month, whose rows are sorted by user bucket and user, in the order of its users.
type cursor struct {
	path   string
	conn   *vectors.Conn
	rows   *vectors.Rows
	month  int // its place among the files: a user's rows are taken month by month
	at     int // the row of the chunk that comes next
	more   bool
	key    userKey
	bucket []int32
	ids    []vectors.Text
	day    []int32
	known  []int32
	// Of a file of tiles:
	read    []int              // the tile columns that are read, in the order of the query; others are looked at on later days only
	skipped []int              // and those others
	columns [][]int64          // of read
	valid   []vectors.Validity // of read
}

// userKey orders users as they lie in the files.
type userKey struct {
	bucket int32
	head   [2]uint64 // the first bytes of id, as numbers that are ordered like them
	id     string    // over DuckDB's memory
}

func keyOf(bucket int32, id string) userKey {
	var b [16]byte
	copy(b[:], id)
	return userKey{bucket, [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, id}
}

func (k *userKey) compare(o *userKey) int {
	switch {
	case k.bucket != o.bucket:
		return int(k.bucket) - int(o.bucket)
	case k.head[0] != o.head[0]:
		return cmp.Compare(k.head[0], o.head[0])
	case k.head[1] != o.head[1]:
		return cmp.Compare(k.head[1], o.head[1])
	case len(k.id) <= 16 && len(o.id) <= 16: // they differ by zeros at the end if at all
		return len(k.id) - len(o.id)
	}
	return strings.Compare(k.id, o.id)
}

// open begins to read the file.
func (c *cursor) open(ctx context.Context, db *vectors.DB, columns, where string) (err error) {
	if c.conn, err = db.Conn(); err != nil {
		return err
	}
	c.rows, err = c.conn.Query(ctx, "SELECT "+keyColumns+columns+" FROM "+readParquet([]string{c.path})+" WHERE "+where)
	if err == nil {
		err = c.fetch()
	}
	if err != nil {
		c.close()
	} else if c.more {
		c.point()
	}
	return err
}

// keyColumns stand first in every query of a file.
const keyColumns = "user_bucket, user_id, biz_day, known_day"

func (c *cursor) close() {
	if c.rows != nil {
		c.rows.Close()
	}
	c.conn.Close()
}

// fetch asks for the next chunk.
func (c *cursor) fetch() (err error) {
	c.at = 0
	if c.more, err = c.rows.Next(); err != nil || !c.more {
		return err
	}
	c.bucket, c.ids = vectors.Column[int32](c.rows, 0), c.rows.Texts(1)
	c.day, c.known = vectors.Column[int32](c.rows, 2), vectors.Column[int32](c.rows, 3)
	for i := range c.read {
		c.columns[i], c.valid[i] = vectors.Column[int64](c.rows, 4+i), c.rows.Valid(4+i)
	}
	return nil
}

// point makes key that of the next row.
func (c *cursor) point() { c.key = keyOf(c.bucket[c.at], c.ids[c.at].String()) }

// take calls rows with the rows of the user who comes next, as ranges of chunks, and moves to the user after her.
func (c *cursor) take(user *userKey, rows func(c *cursor, from, to int) error) error {
	for {
		from := c.at
		first := &c.ids[from]
		for c.at++; c.at < len(c.ids) && c.ids[c.at].Same(first); c.at++ {
		}
		if err := rows(c, from, c.at); err != nil {
			return err
		}
		if c.at < len(c.ids) {
			break
		}
		if err := c.fetch(); err != nil || !c.more {
			return err
		}
		if c.ids[0].String() != user.id {
			break
		}
	}
	c.point()
	if c.key.compare(user) <= 0 {
		return fmt.Errorf("%s is not sorted by user", filepath.Base(c.path))
	}
	return nil
}

// cursors are the files of all months, merged: a heap by user and month.
type cursors []*cursor

func (h cursors) less(i, j int) bool {
	if c := h[i].key.compare(&h[j].key); c != 0 {
		return c < 0
	}
	return h[i].month < h[j].month
}

// sink restores the heap below place i.
func (h cursors) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

func (h cursors) order() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// take calls rows with all rows of a user, who must be the next.
func (h *cursors) take(user *userKey, rows func(c *cursor, from, to int) error) error {
	for len(*h) > 0 && (*h)[0].key.compare(user) == 0 {
		top := (*h)[0]
		if err := top.take(user, rows); err != nil {
			return err
		}
		if !top.more {
			top.close()
			last := len(*h) - 1
			(*h)[0] = (*h)[last]
			*h = (*h)[:last]
		}
		h.sink(0)
	}
	return nil
}

// open opens the files, a month each, that have rows of a condition.
func (h *cursors) open(ctx context.Context, db *vectors.DB, paths []string, where string, columns func(c *cursor) string) error {
	for month, path := range paths {
		c := &cursor{path: path, month: month}
		if err := c.open(ctx, db, columns(c), where); err != nil {
			return err
		}
		if !c.more {
			c.close()
			continue
		}
		*h = append(*h, c)
	}
	h.order()
	return nil
}

func (h cursors) close() {
	for _, c := range h {
		c.close()
	}
}

// sweepReader reads the tiles and values of a range of user buckets, user by user.
type sweepReader struct {
	s      *sweep
	p      *person
	tiles  cursors
	values cursors
	except map[string]bool // users who are left out
}

// openReader opens the files of a range of buckets.
func (s *sweep) openReader(ctx context.Context, db *vectors.DB, src *tileSource, from, to int, except map[string]bool) (*sweepReader, error) {
	r := &sweepReader{s: s, p: newPerson(s), except: except}
	last := dayLiteral(s.cuts[len(s.cuts)-1])
	where := bucketsWithin(from, to) + " AND biz_day < " + last + " AND known_day < " + last
	reach := s.reach()
	err := r.tiles.open(ctx, db, src.tiles, where, func(c *cursor) (columns string) {
		for i, t := range s.p.tiles {
			if reach[i] >= src.ends[c.month] {
				c.skipped = append(c.skipped, i)
				continue
			}
			c.read = append(c.read, i)
			columns += ", " + t.name
		}
		c.columns, c.valid = make([][]int64, len(c.read)), make([]vectors.Validity, len(c.read))
		return columns
	})
	if err == nil && len(s.p.values) > 0 {
		err = r.values.open(ctx, db, src.values, where, func(*cursor) string { return ", slot, value, n" })
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *sweepReader) close() {
	r.tiles.close()
	r.values.close()
}

// until writes the rows of the users of buckets below a bound.
func (r *sweepReader) until(bucket int, out *baseRows) error {
	p := r.p
	takeTiles := func(c *cursor, from, to int) error {
		at := p.raw.more(to - from)
		copy(p.raw.day[at:], c.day[from:to])
		copy(p.raw.known[at:], c.known[from:to])
		for i, tile := range c.read {
			column := p.raw.columns[tile][at:p.raw.n]
			copy(column, c.columns[i][from:to])
			if valid := c.valid[i]; valid != nil {
				for k := range column {
					if !valid.Has(from + k) {
						column[k] = r.s.absent[tile]
					}
				}
			}
		}
		for _, tile := range c.skipped {
			column, absent := p.raw.columns[tile][at:p.raw.n], r.s.absent[tile]
			for k := range column {
				column[k] = absent
			}
		}
		return nil
	}
	takeValues := func(c *cursor, from, to int) error {
		slot, value, n := vectors.Column[int32](c.rows, 4), c.rows.Texts(5), vectors.Column[int64](c.rows, 6)
		for k := from; k < to; k++ {
			if slot[k] < 0 || int(slot[k]) >= len(p.values) {
				return fmt.Errorf("%s holds values of another catalog", filepath.Base(c.path))
			}
			v := &p.values[slot[k]]
			v.day, v.known, v.n = append(v.day, c.day[k]), append(v.known, c.known[k]), append(v.n, n[k])
			v.value = append(v.value, v.number(value[k].String(), p.number))
		}
		return nil
	}
	none := func(*cursor, int, int) error { return nil }
	for len(r.tiles) > 0 && int(r.tiles[0].key.bucket) < bucket {
		p.begin(r.tiles[0].key.id)
		user := keyOf(r.tiles[0].key.bucket, p.id)
		tiles, values := takeTiles, takeValues
		left := len(r.except) > 0 && r.except[user.id]
		if left {
			tiles, values = none, none
		}
		if err := r.tiles.take(&user, tiles); err != nil {
			return err
		}
		if len(r.values) > 0 && r.values[0].key.compare(&user) < 0 {
			return fmt.Errorf("%s has a user without a tile", filepath.Base(r.values[0].path))
		}
		if err := r.values.take(&user, values); err != nil {
			return err
		}
		if !left {
			if err := p.emit(out); err != nil {
				return err
			}
		}
	}
	return out.flush()
}

package features

import (
	"math"
	"sort"
)

// Profiles is the newest published snapshot of scores and features by user, in memory, for targeting and for the profile page. It is
// immutable; a lookup takes no lock and allocates nothing.
type Profiles struct {
	Version string // the score_version
	AsOf    Day
	columns map[string]int
	names   []string
	rows    map[string]int32
	users   []string
	data    []profileColumn
}

// profileColumn is a column of one of the two tables; at maps a profile's row to the table's row, or is nil where both are the same.
type profileColumn struct {
	numbers []float64
	texts   []string
	at      []int32
}

// NewProfiles indexes a scores table, the feature table of the same run and what else is known of users, such as imported traits; any
// may be nil. A column that stands in several is taken from the first. The tables must not be changed afterwards.
func NewProfiles(version string, scores, feats *Table, more ...*Table) *Profiles {
	p := &Profiles{Version: version, columns: map[string]int{}, rows: map[string]int32{}}
	tables := append([]*Table{scores, feats}, more...)
	for _, t := range tables {
		if t == nil {
			continue
		}
		if p.users == nil {
			p.users, p.AsOf = t.Users, t.AsOf
		} else {
			p.users = union(p.users, t.Users)
		}
	}
	for i, u := range p.users {
		p.rows[u] = int32(i)
	}
	for _, t := range tables {
		if t == nil {
			continue
		}
		at := p.align(t.Users)
		for i := range t.Columns {
			c := &t.Columns[i]
			if _, taken := p.columns[c.Name]; taken {
				continue
			}
			p.columns[c.Name] = len(p.data)
			p.names = append(p.names, c.Name)
			p.data = append(p.data, profileColumn{c.Numbers, c.Texts, at})
		}
	}
	return p
}

// align returns for every user of the profiles the row in another sorted list, -1 where she is absent; nil when the lists are equal.
func (p *Profiles) align(users []string) []int32 {
	if len(users) == len(p.users) {
		return nil // both are sorted sets and one is a subset of the other
	}
	at, j := make([]int32, len(p.users)), 0
	for i, u := range p.users {
		at[i] = -1
		if j < len(users) && users[j] == u {
			at[i] = int32(j)
			j++
		}
	}
	return at
}

// union merges two sorted lists; it returns a itself when b adds nobody.
func union(a, b []string) []string {
	merged := make([]string, 0, max(len(a), len(b)))
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || i < len(a) && a[i] < b[j]:
			merged = append(merged, a[i])
			i++
		case i == len(a) || b[j] < a[i]:
			merged = append(merged, b[j])
			j++
		default:
			merged = append(merged, a[i])
			i, j = i+1, j+1
		}
	}
	if len(merged) == len(a) {
		return a
	}
	return merged
}

// Len returns how many users there are.
func (p *Profiles) Len() int { return len(p.users) }

// Row returns the row of a user; ok is false for a user without one.
func (p *Profiles) Row(user string) (row int32, ok bool) {
	row, ok = p.rows[user]
	return row, ok
}

// At returns the value of a column in a row: a number or a text; null is true when it is missing, ok is false for an unknown column.
func (p *Profiles) At(row int32, column string) (number float64, text string, isText, null, ok bool) {
	i, ok := p.columns[column]
	if !ok || row < 0 || int(row) >= len(p.users) {
		return 0, "", false, true, false
	}
	c := &p.data[i]
	if isText = c.texts != nil; c.at != nil {
		if row = c.at[row]; row < 0 {
			return 0, "", isText, true, true
		}
	}
	if isText {
		text = c.texts[row]
		return 0, text, true, text == "", true
	}
	number = c.numbers[row]
	return number, "", false, math.IsNaN(number), true
}

// Users returns all users in byte order; the slice must not be modified.
func (p *Profiles) Users() []string { return p.users }

// Columns returns the names of all columns, those of the scores first; the slice must not be modified.
func (p *Profiles) Columns() []string { return p.names }

// From returns the row of the first user that is not before the given one in byte order, for paging.
func (p *Profiles) From(user string) int32 { return int32(sort.SearchStrings(p.users, user)) }

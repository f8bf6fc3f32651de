package warehouse

import "perennial/features/vectors"

// baseRows appends rows of base to a table.
type baseRows struct {
	a       *vectors.Appender
	s       *sweep
	many    bool // several cuts: cut_day and cut_us stand before user_id
	n       int  // rows of the chunk
	cut     []int32
	micros  []int64
	columns [][]int64
	nulls   []vectors.Validity // nil where a column has none
	user    int32              // whose text the row before has
}

// definition is the columns of the table.
func (s *sweep) definition() string {
	text := "user_id VARCHAR"
	if len(s.cuts) > 1 {
		text = "cut_day INTEGER, cut_us BIGINT, user_id VARCHAR"
	}
	for i := range s.p.catalog.Features {
		if f := &s.p.catalog.Features[i]; f.Measure != nil {
			text += ", " + quoteName(f.Name) + " BIGINT"
		}
	}
	return text
}

// rowsInto opens a table of sweep.definition.
func (s *sweep) rowsInto(c *vectors.Conn, table string) (*baseRows, error) {
	var types []vectors.Type
	if len(s.cuts) > 1 {
		types = append(types, vectors.Integer, vectors.BigInt)
	}
	types = append(types, vectors.Varchar)
	for range s.columns {
		types = append(types, vectors.BigInt)
	}
	a, err := c.Append(table, types...)
	if err != nil {
		return nil, err
	}
	b := &baseRows{a: a, s: s, many: len(s.cuts) > 1, columns: make([][]int64, len(s.columns)), nulls: make([]vectors.Validity, len(s.columns))}
	b.point()
	return b, nil
}

// lead is how many columns stand before user_id.
func (b *baseRows) lead() int {
	if b.many {
		return 2
	}
	return 0
}

func (b *baseRows) point() {
	b.n, b.user = 0, 0
	if b.many {
		b.cut, b.micros = vectors.Into[int32](b.a, 0), vectors.Into[int64](b.a, 1)
	}
	for j := range b.columns {
		b.columns[j] = vectors.Into[int64](b.a, b.lead()+1+j)
		if b.s.columns[j].nullable() {
			b.nulls[j] = b.a.Nulls(b.lead() + 1 + j)
		}
	}
}

// next begins a row and returns its place.
func (b *baseRows) next(p *person, cut int) (int, error) {
	if b.n == vectors.Capacity {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	r := b.n
	b.n++
	if b.many {
		b.cut[r], b.micros[r] = int32(b.s.cuts[cut]), b.s.micros[cut]
	}
	if p.number == b.user {
		b.a.AgainText(b.lead(), r, r-1)
	} else {
		b.a.SetText(b.lead(), r, p.id)
		b.user = p.number
	}
	return r, nil
}

func (b *baseRows) set(column, row int, x int64, present bool) {
	if present {
		b.columns[column][row] = x
	} else {
		b.nulls[column].Clear(row)
	}
}

func (b *baseRows) flush() error {
	if err := b.a.Flush(b.n); err != nil {
		return err
	}
	b.point()
	return nil
}

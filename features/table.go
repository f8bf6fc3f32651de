package features

// Column is one column of a Table: numbers (NaN where null) or texts ("" where null), never both.
type Column struct {
	Name    string
	Numbers []float64
	Texts   []string
	Integer bool // the numbers are integers and are written without a decimal point
}

// Table is rows by user, in the byte order of Users: what the warehouse hands to the models and to the doors.
type Table struct {
	AsOf    Day
	Users   []string
	Columns []Column
}

// Column returns the column of that name, or nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

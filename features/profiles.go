package features

// Profiles is the newest published snapshot of scores and features by user, in memory, for targeting and for the profile page. It is
// immutable; a lookup takes no lock and allocates nothing.
type Profiles struct {
	Version string // the score_version
	AsOf    Day
	columns map[string]int
	rows    map[string]int32
	scores  *Table
	feats   *Table
}

// NewProfiles indexes a scores table and the feature table of the same run. A column that stands in both is taken from the scores.
func NewProfiles(version string, scores, feats *Table) *Profiles { panic("features: NewProfiles") }

// Len returns how many users there are.
func (p *Profiles) Len() int { panic("features: Len") }

// Row returns the row of a user; ok is false for a user without one.
func (p *Profiles) Row(user string) (row int32, ok bool) { panic("features: Row") }

// At returns the value of a column in a row: a number or a text; null is true when it is missing, ok is false for an unknown column.
func (p *Profiles) At(row int32, column string) (number float64, text string, isText, null, ok bool) {
	panic("features: At")
}

// Users returns all users in byte order; the slice must not be modified.
func (p *Profiles) Users() []string { panic("features: Users") }

// Columns returns the names of all columns.
func (p *Profiles) Columns() []string { panic("features: Columns") }

package features

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Kind is what a value of the catalog means; expressions are checked against it.
type Kind uint8

// The kinds. A count is an integer; money is micros in SQL and major units at the doors; a time is microseconds since 1970 and a day is
// days since 1970, both only for days_since and days_between; a number is everything that was divided.
const (
	KindNumber Kind = iota
	KindCount
	KindMoney
	KindTime
	KindDay
	KindBool
	KindText
)

func (k Kind) String() string {
	return [...]string{"a number", "a count", "money", "a time", "a day", "a condition", "a text"}[k]
}

// Agg names a mergeable aggregate of events.
type Agg string

// The aggregates. The first group is merged from daily tiles in any order; distinct and top need the values of each day; the last group looks at
// the sequence of days with such an event.
const (
	AggCount     Agg = "count"
	AggSum       Agg = "sum"
	AggMin       Agg = "min"
	AggMax       Agg = "max"
	AggFirstTime Agg = "first_time"
	AggLastTime  Agg = "last_time"
	AggDays      Agg = "days"

	AggDistinct Agg = "distinct"
	AggTop      Agg = "top"

	AggFirstDay    Agg = "first_day"
	AggLastDay     Agg = "last_day"
	AggPreviousDay Agg = "previous_day"
	AggFirstDaySum Agg = "first_day_sum"
	AggGapSquares  Agg = "gap_squares"
	AggLongestGap  Agg = "longest_gap"
)

// Ordered reports whether the aggregate looks at the sequence of days.
func (a Agg) Ordered() bool {
	return slices.Contains([]Agg{AggFirstDay, AggLastDay, AggPreviousDay, AggFirstDaySum, AggGapSquares, AggLongestGap}, a)
}

// Valued reports whether the aggregate needs the values of a text column.
func (a Agg) Valued() bool { return a == AggDistinct || a == AggTop }

// kind is what the aggregate of a measure yields, and whether it needs a field.
func (a Agg) kind() (kind Kind, field string, ok bool) {
	switch a {
	case AggCount, AggDays:
		return KindCount, "", true
	case AggSum, AggMin, AggMax, AggFirstDaySum:
		return KindMoney, "money", true
	case AggFirstTime, AggLastTime:
		return KindTime, "", true
	case AggDistinct, AggTop:
		return KindCount, "text", true
	case AggFirstDay, AggLastDay, AggPreviousDay:
		return KindDay, "", true
	case AggGapSquares, AggLongestGap:
		return KindCount, "", true
	}
	return 0, "", false
}

// MoneyFields and TextFields are the columns of an event that a measure may use.
var (
	MoneyFields = []string{"value", "margin", "discount", "platform_discount", "commission", "cost"}
	TextFields  = []string{"category", "channel", "product_id", "coupon_id", "session_id", "order_id", "currency"}
)

// Passive are the events that say nothing of the user's own will: exposures, contacts, shown promotions and links are no activity.
var Passive = []string{ExperimentViewed, MessageSent, PromotionViewed, IdentityLinked}

// Measure is an aggregate over some of a user's events.
type Measure struct {
	Name     string
	Agg      Agg
	Events   []string            // empty: everything that is not Passive
	Field    string              // the money or text column, where the aggregate needs one
	Where    map[string][]string // the event's column has one of the values
	Positive string              // a money column that is above 0
	Has      string              // a text column that is there
	Lacks    string              // a text column that is not there
}

// Counts reports whether the measure counts an event.
func (m *Measure) Counts(e *Event) bool {
	if len(m.Events) == 0 && slices.Contains(Passive, e.Name) || len(m.Events) > 0 && !slices.Contains(m.Events, e.Name) {
		return false
	}
	for column, values := range m.Where {
		if !slices.Contains(values, textOf(e, column)) {
			return false
		}
	}
	if a := moneyOf(e, m.Positive); m.Positive != "" && (!a.Valid || a.Micros <= 0) {
		return false
	}
	return (m.Has == "" || textOf(e, m.Has) != "") && (m.Lacks == "" || textOf(e, m.Lacks) == "")
}

// textOf returns a text column of the event by its name.
func textOf(e *Event, column string) string {
	switch column {
	case "category":
		return e.Category
	case "channel":
		return e.Channel
	case "product_id":
		return e.ProductID
	case "coupon_id":
		return e.CouponID
	case "session_id":
		return e.SessionID
	case "order_id":
		return e.OrderID
	case "currency":
		return e.Currency
	}
	return ""
}

// moneyOf returns a money column of the event by its name.
func moneyOf(e *Event, column string) Amount {
	switch column {
	case "value":
		return e.Value
	case "margin":
		return e.Margin
	case "discount":
		return e.Discount
	case "platform_discount":
		return e.PlatformDiscount
	case "commission":
		return e.Commission
	case "cost":
		return e.Cost
	}
	return Amount{}
}

// Label is a text in Chinese and English.
type Label struct {
	ZH string `yaml:"zh" json:"zh"`
	EN string `yaml:"en" json:"en"`
}

// Feature is one declared value per user and cut: a measure in a window, an expression over other features, or the stage.
type Feature struct {
	Name    string
	Kind    Kind
	Unit    string
	Label   Label
	About   Label
	Hidden  bool     // others stand on it, nobody reads it
	Measure *Measure // with Days and Offset: the events of [cut − Offset − Days, cut − Offset); Days 0 is all time
	Days    int
	Offset  int
	Expr    *Expr  // nil for a measure
	Text    string // the expression as written
	Stage   bool
}

// Catalog is the compiled declaration of features.
type Catalog struct {
	Features   []Feature // in the order of the columns, hidden ones included
	Population *Expr     // who has a row; nil: everybody with an event
	PopText    string
	Stage      StageRules
	byName     map[string]int
}

// Get returns the feature of a name.
func (c *Catalog) Get(name string) (*Feature, bool) {
	i, ok := c.byName[name]
	if !ok {
		return nil, false
	}
	return &c.Features[i], true
}

// Columns returns the features that are written, in order.
func (c *Catalog) Columns() []*Feature {
	var out []*Feature
	for i := range c.Features {
		if !c.Features[i].Hidden {
			out = append(out, &c.Features[i])
		}
	}
	return out
}

// Uses returns the names of the features that a feature stands on directly, sorted.
func (c *Catalog) Uses(f *Feature) []string {
	var names []string
	if f.Stage {
		names = append(names, stageInputs...)
	}
	f.Expr.walk(func(e *Expr) {
		if e.Op == OpRef {
			names = append(names, e.Ref)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// stageInputs are the features that the stage is made of; a catalog with a stage has them.
var stageInputs = []string{"order_first_day", "order_last_day", "order_previous_day", "orders_365d", "orders_all"}

// Hash identifies what is computed: equal catalogs of equal hash give equal values for equal facts.
func (c *Catalog) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "perennial.catalog/1\n%s\n%+v\n", c.PopText, c.Stage)
	for i := range c.Features {
		f := &c.Features[i]
		fmt.Fprintf(h, "%s|%d|%v|%s|%v|%d|%d|", f.Name, f.Kind, f.Hidden, f.Text, f.Stage, f.Days, f.Offset)
		if m := f.Measure; m != nil {
			fmt.Fprintf(h, "%s|%s|%q|%s|%v|%s|%s|%s", m.Name, m.Agg, m.Events, m.Field, m.Where, m.Positive, m.Has, m.Lacks)
		}
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

//go:embed catalog.yaml
var defaultCatalog []byte

// DefaultCatalog returns the catalog of this version.
func DefaultCatalog() *Catalog {
	c, err := ParseCatalog(nil)
	if err != nil {
		panic("features: the embedded catalog is wrong: " + err.Error()) // a test compiles it
	}
	return c
}

var featureName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)

// reserved are the columns of every table.
var reserved = []string{"user_id", "as_of"}

// windowName is the name of a windowed feature: orders_30d, orders_all.
func windowName(base string, days int) string {
	if days == 0 {
		return base + "_all"
	}
	return fmt.Sprintf("%s_%dd", base, days)
}

// windowed returns the label of a feature in a window.
func (l Label) windowed(days int) Label {
	switch {
	case l.ZH == "" && l.EN == "":
		return l
	case days == 0:
		return Label{ZH: "累计" + l.ZH, EN: l.EN + ", all time"}
	}
	return Label{ZH: fmt.Sprintf("近%d天%s", days, l.ZH), EN: fmt.Sprintf("%s, last %d days", l.EN, days)}
}

// near suggests a name that differs little from a wrong one.
func near(name string, from []string) string {
	best, least := "", 3
	for _, f := range from {
		if d := distance(strings.ToLower(name), strings.ToLower(f)); d < least {
			best, least = f, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the Levenshtein distance of two short texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			last, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, last+cost)
		}
	}
	return row[len(b)]
}

// Source says in one line where a feature comes from.
func (f *Feature) Source() string {
	switch {
	case f.Stage:
		return "stage rules over " + strings.Join(stageInputs, ", ")
	case f.Measure == nil:
		return f.Text
	}
	m := f.Measure
	what := string(m.Agg)
	if m.Field != "" {
		what += " of " + m.Field
	}
	events := "everything she does"
	if len(m.Events) > 0 {
		events = strings.Join(m.Events, " or ")
	}
	text := what + " over " + events
	for _, column := range slices.Sorted(maps.Keys(m.Where)) {
		text += fmt.Sprintf(" where %s is %s", column, strings.Join(m.Where[column], " or "))
	}
	for _, part := range [][2]string{{m.Positive, " with %s > 0"}, {m.Has, " with %s"}, {m.Lacks, " without %s"}} {
		if part[0] != "" {
			text += fmt.Sprintf(part[1], part[0])
		}
	}
	switch {
	case f.Days == 0 && f.Offset == 0:
		return text + ", all time"
	case f.Days == 0:
		return fmt.Sprintf("%s, until %d days before the cut", text, f.Offset)
	case f.Offset == 0:
		return fmt.Sprintf("%s, last %d days", text, f.Days)
	}
	return fmt.Sprintf("%s, %d days that end %d days before the cut", text, f.Days, f.Offset)
}

// Near suggests a feature whose name differs little from a wrong one, as the end of a sentence, or "".
func (c *Catalog) Near(name string) string { return near(name, slices.Collect(maps.Keys(c.byName))) }

// Only returns the catalog narrowed to these columns, in the order of the catalog, and to what they and the population stand on.
func (c *Catalog) Only(names ...string) *Catalog {
	need := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		f, ok := c.Get(n)
		if !ok || need[n] {
			return
		}
		need[n] = true
		for _, u := range c.Uses(f) {
			visit(u)
		}
	}
	for _, name := range names {
		visit(name)
	}
	c.Population.walk(func(e *Expr) {
		if e.Op == OpRef {
			visit(e.Ref)
		}
	})
	only := &Catalog{Population: c.Population, PopText: c.PopText, Stage: c.Stage, byName: map[string]int{}}
	for i := range c.Features {
		if f := c.Features[i]; need[f.Name] {
			f.Hidden = !slices.Contains(names, f.Name)
			only.byName[f.Name] = len(only.Features)
			only.Features = append(only.Features, f)
		}
	}
	return only
}

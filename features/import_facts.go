package features

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of facts that are not events.
const (
	FactUsers = "users" // user_id and one column for each attribute
	FactTags  = "tags"  // user_id, tag and perhaps value: the attribute tag_NAME
	FactCosts = "costs" // day, channel, cost and perhaps campaign
)

// FactOptions say what the columns of a file of facts mean.
type FactOptions struct {
	Kind     string
	Map      map[string]string      // field or attribute → column
	Location *time.Location         // zone of times without one; nil means the shop's
	Lag      time.Duration          // costs: known this long after their day has ended
	Taken    func(name string) bool // attribute names that the server owns
	Shop     Shop
}

// factFields are the fields of each kind; the first ones of the count in needed must be there.
var factFields = map[string][]string{FactUsers: {"user_id"}, FactTags: {"user_id", "tag", "value"}, FactCosts: {"day", "channel", "cost", "campaign"}}
var factNeeded = map[string]int{FactUsers: 1, FactTags: 2, FactCosts: 3}

// FactImporter turns rows of files into traits or costs. Rows of one user are merged, rows of one day, channel and campaign summed. It
// keeps what it has read, so a file of costs or users is held in memory until it is taken.
type FactImporter struct {
	o      FactOptions
	header []string
	column map[string]string // field or attribute → column
	users  map[string]map[string]json.RawMessage
	costs  map[Cost]Micros // by key, Micros zero in the key
}

// NewFactImporter checks the options. The error is an *InvalidError whose field is kind or map.
func NewFactImporter(o FactOptions) (*FactImporter, error) {
	if factFields[o.Kind] == nil {
		return nil, &InvalidError{"kind", fmt.Sprintf("%q is not one of users, tags, costs", o.Kind)}
	}
	if o.Location == nil {
		o.Location = o.Shop.Location
	}
	for field := range o.Map {
		if o.Kind != FactUsers && !slices.Contains(factFields[o.Kind], field) {
			return nil, &InvalidError{"map", fmt.Sprintf("%q is not a field of %s; known: %s", field, o.Kind, strings.Join(factFields[o.Kind], ", "))}
		}
	}
	return &FactImporter{o: o, users: map[string]map[string]json.RawMessage{}, costs: map[Cost]Micros{}}, nil
}

// JSON reports false: what a file is, its name tells.
func (f *FactImporter) JSON() bool { return false }

// Blanks returns nil: there is no known headerless file of facts.
func (f *FactImporter) Blanks() []string { return nil }

// Start begins a file with these columns; nil means lines of JSON.
func (f *FactImporter) Start(header []string) error {
	f.header, f.column = header, map[string]string{}
	for _, field := range factFields[f.o.Kind] {
		if header == nil || slices.Contains(header, field) {
			f.column[field] = field
		}
	}
	for field, column := range f.o.Map {
		f.column[field] = column
		if header != nil && !slices.Contains(header, column) {
			return &InvalidError{"map", fmt.Sprintf("%s=%s: the file has no column %q; it has %s", field, column, column, strings.Join(header, ", "))}
		}
	}
	for _, must := range factFields[f.o.Kind][:factNeeded[f.o.Kind]] {
		if f.column[must] == "" {
			return &InvalidError{"map", fmt.Sprintf("no column gives %s; the file has %s: say --map %s=COLUMN", must, strings.Join(header, ", "), must)}
		}
	}
	if f.o.Kind == FactUsers && header != nil { // every other column is an attribute under its own name
		for _, column := range header {
			if !f.uses(column) {
				f.column[column] = column
			}
		}
		for name := range f.column {
			if err := f.attribute(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *FactImporter) uses(column string) bool {
	for _, c := range f.column {
		if c == column {
			return true
		}
	}
	return false
}

// attribute checks the name of an attribute.
func (f *FactImporter) attribute(name string) error {
	switch {
	case name == "user_id":
		return nil
	case textFault(name, MaxNameBytes, true) != "":
		return &InvalidError{"map", fmt.Sprintf("%q is not a name for an attribute", clip(name))}
	case f.o.Taken != nil && f.o.Taken(name):
		return &InvalidError{"map", fmt.Sprintf("%s is a score or a feature that Perennial computes: give the column another name with --map NAME=%s", name, f.column[name])}
	}
	return nil
}

// Row reads one row; width is what its header had. The error is an *InvalidError and the row is not used then.
func (f *FactImporter) Row(cells [][]byte, width int) error {
	if len(cells) != width {
		return &InvalidError{"", fmt.Sprintf("%d cells, want %d", len(cells), width)}
	}
	row := make(map[string]cell, len(f.column))
	for field, column := range f.column {
		if i := slices.Index(f.header, column); i >= 0 {
			text := bytes.TrimSpace(cells[i])
			_, err := strconv.ParseFloat(string(text), 64)
			row[field] = cell{text: text, number: err == nil && plainNumber(text)}
		}
	}
	return f.take(row)
}

// plainNumber tells a number from a text that only reads like one, such as 007 or an id of 20 digits.
func plainNumber(text []byte) bool {
	s := scanner{data: text}
	return len(text) <= 15 && s.skipNumber() && s.pos == len(text)
}

// Object reads one line of JSON.
func (f *FactImporter) Object(line []byte) error {
	row := map[string]cell{}
	s := scanner{data: line}
	err := s.object(func(key string, value []byte) error {
		field := key
		for own, column := range f.column {
			if column == key {
				field = own
			}
		}
		if f.o.Kind != FactUsers && f.column[field] == "" || string(value) == "null" {
			return nil
		}
		if text, ok := unquote(value); ok {
			row[field] = cell{text: []byte(text)}
			return nil
		}
		if value[0] == '{' || value[0] == '[' {
			return &InvalidError{key, "neither a text nor a number"}
		}
		row[field] = cell{text: value, number: value[0] != 't' && value[0] != 'f'}
		return f.attributeOf(field)
	})
	if err != nil {
		return err
	}
	return f.take(row)
}

func (f *FactImporter) attributeOf(name string) error {
	if f.o.Kind != FactUsers {
		return nil
	}
	return f.attribute(name)
}

// take stores a row.
func (f *FactImporter) take(row map[string]cell) error {
	if f.o.Kind == FactCosts {
		return f.cost(row)
	}
	user := string(row["user_id"].text)
	if reason := textFault(user, MaxIDBytes, true); reason != "" {
		return &InvalidError{"user_id", reason}
	}
	values := f.users[user]
	if values == nil {
		values = map[string]json.RawMessage{}
		f.users[user] = values
	}
	if f.o.Kind == FactTags {
		tag := string(row["tag"].text)
		if reason := textFault(tag, MaxNameBytes, true); reason != "" {
			return &InvalidError{"tag", reason}
		}
		v, ok := row["value"]
		if !ok || len(v.text) == 0 {
			v = cell{text: []byte("true")}
		}
		values["tag_"+tag] = v.json()
		return nil
	}
	for name, c := range row {
		if name != "user_id" && len(c.text) > 0 {
			if reason := textFault(string(c.text), MaxIDBytes, false); reason != "" {
				return &InvalidError{name, reason}
			}
			values[name] = c.json()
		}
	}
	return nil
}

// json writes the cell as a JSON number or string.
func (c cell) json() json.RawMessage {
	if c.number {
		return json.RawMessage(bytes.Clone(c.text))
	}
	return appendText(nil, string(c.text))
}

func (f *FactImporter) cost(row map[string]cell) error {
	t, ok := ParseTime(string(row["day"].text), f.o.Location)
	if !ok {
		return &InvalidError{"day", "not a date or time"}
	}
	k := Cost{Day: f.o.Shop.DayOf(t), Channel: string(row["channel"].text), Campaign: string(row["campaign"].text)}
	if reason := textFault(k.Channel, MaxIDBytes, true); reason != "" {
		return &InvalidError{"channel", reason}
	}
	if reason := textFault(k.Campaign, MaxIDBytes, false); reason != "" {
		return &InvalidError{"campaign", reason}
	}
	m, err := ParseMicros(string(row["cost"].text))
	if err != nil {
		return &InvalidError{"cost", "not a decimal number"}
	}
	if m < 0 {
		return &InvalidError{"cost", "negative"}
	}
	// A bill is whole when its day is over, and known that late.
	k.KnownDay = f.o.Shop.DayOf(f.o.Shop.Midnight(k.Day + 1).Add(f.o.Lag - time.Nanosecond))
	f.costs[k] += m
	return nil
}

// Traits returns what was read of users, in their order, and forgets it.
func (f *FactImporter) Traits() []Traits {
	out := make([]Traits, 0, len(f.users))
	for user, values := range f.users {
		out = append(out, Traits{user, values})
	}
	slices.SortFunc(out, func(a, b Traits) int { return strings.Compare(a.User, b.User) })
	clear(f.users)
	return out
}

// Costs returns what was read of costs, in the order of day, channel and campaign, and forgets it.
func (f *FactImporter) Costs() []Cost {
	out := make([]Cost, 0, len(f.costs))
	for k, m := range f.costs {
		k.Micros = m
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Cost) int {
		if a.Day != b.Day {
			return int(a.Day - b.Day)
		}
		return strings.Compare(a.Channel+"\x00"+a.Campaign, b.Channel+"\x00"+b.Campaign)
	})
	clear(f.costs)
	return out
}

package features

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// ImportOptions say what the columns of imported history mean.
type ImportOptions struct {
	Preset   string            // "", online-retail, cdnow, sensors, growthbook
	Map      map[string]string // event field → column; unmapped fields are read from the column of their own name
	Group    string            // field or column whose equal values make one order of several lines, or ""
	Event    string            // event name of rows that have none; default Order Completed
	Location *time.Location    // zone of times without one; nil means the shop's
	Lag      time.Duration     // AvailableAt = TS + Lag
	Shop     Shop
	Now      time.Time
}

// importFields are the fields that a column can be mapped to, besides properties.NAME. quantity × price is the value of rows
// without one.
var importFields = []string{"event_id", "user_id", "anonymous_id", "event", "ts", "sent_at", "available_at", "value", "margin", "discount",
	"platform_discount", "commission", "cost", "currency", "order_id", "product_id", "category", "channel", "coupon_id", "session_id", "quantity", "price", "properties"}

// preset is a known file format.
type preset struct {
	fields map[string]string // field → column
	row    func(*Importer, *draft) error
	json   bool     // lines are JSON objects
	blanks []string // column names of a headerless file of blank-separated cells
}

var presets = map[string]preset{
	"online-retail": {fields: map[string]string{"order_id": "InvoiceNo", "user_id": "CustomerID", "ts": "InvoiceDate", "quantity": "Quantity",
		"price": "UnitPrice", "properties.country": "Country"}, row: (*Importer).retailRow},
	"cdnow": {fields: map[string]string{"user_id": "customer_id", "ts": "date", "value": "amount", "quantity": "cds"},
		row: (*Importer).cdnowRow, blanks: []string{"master_id", "customer_id", "date", "cds", "amount"}},
	"sensors": {fields: map[string]string{"user_id": "distinct_id", "ts": "time", "event": "event"}, row: (*Importer).sensorsRow, json: true},
	"growthbook": {fields: map[string]string{"user_id": "user_id", "ts": "timestamp", "properties.experiment": "experiment_id",
		"properties.variant": "variation_id"}, row: (*Importer).exposureRow},
}

// Importer turns rows of files into events. It keeps the lines of unfinished orders when it groups, and otherwise nothing but the
// fingerprints of rows without an id. It is not safe for concurrent use.
type Importer struct {
	o      ImportOptions
	preset preset
	bound  []binding
	ready  []Event
	orders map[string]*Event
	lines  map[string]*tally
	seen   map[uint64]uint16 // fingerprints of this file's rows without an id → how often
	key    []byte
	d      draft
}

// binding says which column of the open file gives a field.
type binding struct {
	field  string
	column int
	path   []string // the column's name cut at its dots, for JSON
}

// tally is what an order's lines add up to besides money.
type tally struct {
	lines, items int64
	country      string
}

// draft is one row's cells by field.
type draft struct {
	cells map[string]cell
}

type cell struct {
	text   []byte
	number bool // it was a JSON number or boolean, not a string
}

func (d *draft) text(field string) string { return string(bytes.TrimSpace(d.cells[field].text)) }

// NewImporter checks the options. The error is an *InvalidError whose field is preset, map or group.
func NewImporter(o ImportOptions) (*Importer, error) {
	im := &Importer{o: o, orders: map[string]*Event{}, lines: map[string]*tally{}, d: draft{cells: map[string]cell{}}}
	if o.Preset != "" {
		p, ok := presets[o.Preset]
		if !ok {
			return nil, &InvalidError{"preset", fmt.Sprintf("%q is not one of %s", o.Preset, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))}
		}
		im.preset = p
	}
	for field := range o.Map {
		if !knownField(field) {
			return nil, &InvalidError{"map", fmt.Sprintf("%q is not an event field; known: %s, properties.NAME", field, strings.Join(importFields, ", "))}
		}
	}
	if o.Location == nil {
		im.o.Location = o.Shop.Location
	}
	if o.Event == "" {
		im.o.Event = OrderCompleted
	}
	return im, nil
}

func knownField(field string) bool {
	return slices.Contains(importFields, field) || strings.HasPrefix(field, "properties.") && len(field) > len("properties.")
}

// JSON reports whether the preset's lines are JSON whatever the file is called.
func (im *Importer) JSON() bool { return im.preset.json }

// Blanks returns the column names when the preset knows headerless files of blank-separated cells, and nil otherwise.
func (im *Importer) Blanks() []string { return im.preset.blanks }

// Mapped reports whether columns were named by a preset, a map or a group: lines of JSON are then read by it and not as CONTRACT §3.
func (im *Importer) Mapped() bool { return im.o.Preset != "" || len(im.o.Map) > 0 || im.o.Group != "" }

// Start begins a file with these columns; nil means lines of JSON. A mapped column that is not there is an *InvalidError that names it.
func (im *Importer) Start(header []string) error {
	im.seen = map[uint64]uint16{}
	im.bound = im.bound[:0]
	wanted := map[string]string{}
	for _, f := range importFields {
		if header == nil || slices.Contains(header, f) {
			wanted[f] = f
		}
	}
	if im.o.Preset != "" {
		clear(wanted)
	}
	maps.Copy(wanted, im.preset.fields)
	maps.Copy(wanted, im.o.Map)
	if g := im.o.Group; g != "" {
		if _, ok := wanted[g]; !ok {
			wanted["order_id"] = g
		} else {
			wanted["order_id"] = wanted[g]
		}
	}
	for _, field := range slices.Sorted(maps.Keys(wanted)) {
		column := wanted[field]
		b := binding{field: field, column: slices.Index(header, column), path: strings.Split(column, ".")}
		if header != nil && b.column < 0 {
			return &InvalidError{"map", fmt.Sprintf("%s=%s: the file has no column %q; it has %s", field, column, column, strings.Join(header, ", "))}
		}
		im.bound = append(im.bound, b)
	}
	if header != nil {
		for _, must := range []string{"user_id", "ts"} {
			if _, ok := wanted[must]; !ok {
				return &InvalidError{"map", fmt.Sprintf("no column gives %s; the file has %s: say --map %s=COLUMN", must, strings.Join(header, ", "), must)}
			}
		}
	}
	return nil
}

// Row reads one row of the file; width is what its header had. The error is an *InvalidError and the row is not used then.
func (im *Importer) Row(cells [][]byte, width int) error {
	if len(cells) != width {
		return &InvalidError{"", fmt.Sprintf("%d cells, want %d", len(cells), width)}
	}
	clear(im.d.cells)
	for _, b := range im.bound {
		im.d.cells[b.field] = cell{text: cells[b.column]}
	}
	return im.take()
}

// Object reads one line of JSON. Without a mapping it is an event of CONTRACT §3, whose available_at is kept where no lag is given.
func (im *Importer) Object(line []byte) error {
	if !im.Mapped() {
		e, err := decodeEvent(line, im.o.Shop, im.o.Now, false)
		if err != nil {
			return err
		}
		e.AvailableAt = e.TS.Add(im.o.Lag)
		if im.o.Lag == 0 {
			s := scanner{data: line}
			err = s.object(func(key string, value []byte) error {
				if t, reason := parseTime(value); key == "available_at" && reason == "" && t.After(e.TS) {
					e.AvailableAt = t
				}
				return nil
			})
		}
		im.ready = append(im.ready, e)
		return err
	}
	clear(im.d.cells)
	im.d.cells["line"] = cell{text: line}
	for _, b := range im.bound {
		c, err := member(line, b.path)
		if err != nil {
			return err
		}
		if c.text != nil {
			im.d.cells[b.field] = c
		}
	}
	return im.take()
}

// member returns the value at a path of a JSON object; a zero cell where there is none or it is null.
func member(raw []byte, path []string) (cell, error) {
	var found cell
	s := scanner{data: raw}
	err := s.object(func(key string, value []byte) error {
		if key != path[0] || string(value) == "null" {
			return nil
		}
		if len(path) > 1 {
			if value[0] != '{' {
				return nil
			}
			var err error
			found, err = member(value, path[1:])
			return err
		}
		if text, ok := unquote(value); ok {
			found = cell{text: []byte(text)}
		} else {
			found = cell{text: value, number: true}
		}
		return nil
	})
	return found, err
}

// take makes an event of the draft.
func (im *Importer) take() error {
	if im.preset.row != nil {
		return im.preset.row(im, &im.d)
	}
	e, err := im.event(&im.d)
	if err != nil {
		return err
	}
	if im.o.Group != "" {
		return im.join(e, im.d.text("order_id"))
	}
	return im.add(e)
}

// event reads the draft's fields.
func (im *Importer) event(d *draft) (Event, error) {
	e := Event{Name: im.o.Event}
	for _, b := range im.bound {
		c := d.cells[b.field]
		if len(c.text) == 0 {
			continue
		}
		if text := e.text(b.field); text != nil {
			if c.number {
				return e, &InvalidError{b.field, "not a JSON string"}
			}
			*text = string(bytes.TrimSpace(c.text))
			continue
		}
		if amount := e.amount(b.field); amount != nil {
			m, err := ParseMicros(d.text(b.field))
			if err != nil {
				return e, &InvalidError{b.field, "not a decimal number"}
			}
			*amount = AmountOf(m)
			continue
		}
		switch b.field {
		case "ts", "sent_at", "available_at":
			t, ok := ParseTime(d.text(b.field), im.o.Location)
			if !ok {
				return e, &InvalidError{b.field, "not a date or time"}
			}
			*map[string]*time.Time{"ts": &e.TS, "sent_at": &e.SentAt, "available_at": &e.AvailableAt}[b.field] = t
		case "properties":
			s := scanner{data: c.text}
			if !s.skip(0) || s.pos != len(c.text) {
				return e, &InvalidError{"properties", "not a JSON object"}
			}
			p, reason := compactObject(c.text)
			if reason != "" {
				return e, &InvalidError{"properties", reason}
			}
			e.Properties = p
		}
	}
	if !e.Value.Valid && len(d.cells["price"].text) > 0 {
		v, err := im.lineValue(d)
		if err != nil {
			return e, err
		}
		e.Value = AmountOf(v)
	}
	im.ownProperties(&e, d)
	return e, nil
}

// lineValue is quantity × price, exactly; quantity is 1 without a column.
func (im *Importer) lineValue(d *draft) (Micros, error) {
	price, err := ParseMicros(d.text("price"))
	if err != nil {
		return 0, &InvalidError{"price", "not a decimal number"}
	}
	quantity, err := im.quantity(d)
	if err != nil {
		return 0, err
	}
	return times(price, quantity)
}

func (im *Importer) quantity(d *draft) (int64, error) {
	if len(d.cells["quantity"].text) == 0 {
		return 1, nil
	}
	n, err := strconv.ParseInt(d.text("quantity"), 10, 64)
	if err != nil {
		return 0, &InvalidError{"quantity", "not an integer"}
	}
	return n, nil
}

// times multiplies without overflow.
func times(m Micros, n int64) (Micros, error) {
	hi, lo := bits.Mul64(uint64(max(m, -m)), uint64(max(n, -n)))
	if hi != 0 || lo > 9e18 {
		return 0, &InvalidError{"value", "out of range"}
	}
	if (m < 0) != (n < 0) {
		return -Micros(lo), nil
	}
	return Micros(lo), nil
}

// ownProperties adds the columns that were mapped to properties.NAME, in the order of their names.
func (im *Importer) ownProperties(e *Event, d *draft) {
	var own []byte
	for _, b := range im.bound {
		name, ok := strings.CutPrefix(b.field, "properties.")
		c := d.cells[b.field]
		if !ok || len(c.text) == 0 {
			continue
		}
		own = append(appendText(append(own, ','), name), ':')
		if c.number {
			own = append(own, compact(c.text)...)
		} else {
			own = appendText(own, string(c.text))
		}
	}
	switch {
	case own == nil:
	case len(e.Properties) > 2:
		e.Properties = append(append(e.Properties[:len(e.Properties)-1:len(e.Properties)-1], own...), '}')
	default:
		own[0] = '{'
		e.Properties = append(own, '}')
	}
}

// add checks a whole event and makes it ready.
func (im *Importer) add(e Event) error {
	e.UserID, e.AnonymousID = im.o.Shop.Pseudonym(e.UserID), im.o.Shop.Pseudonym(e.AnonymousID) // no id is derived from what may not be stored
	if e.EventID == "" {
		e.EventID = deriveOrderID(&e)
	}
	if e.EventID == "" {
		e.EventID = im.rowID(&e)
	}
	return im.finish(e)
}

// finish validates, sets what follows from TS and puts the event with the ready ones.
func (im *Importer) finish(e Event) error {
	if err := e.Validate(im.o.Shop); err != nil {
		return err
	}
	if e.TS.Sub(im.o.Now) > MaxFuture {
		return &InvalidError{"ts", "in the future"}
	}
	e.IDDay = utcDay(e.TS)
	if e.AvailableAt.Before(e.TS) || im.o.Lag != 0 {
		e.AvailableAt = e.TS.Add(im.o.Lag)
	}
	im.ready = append(im.ready, e)
	return nil
}

// rowID derives the id of a row without one from its content and from how many equal rows stand before it in its file: equal rows
// stay apart, and the same file again, whatever its name, gives the same ids.
func (im *Importer) rowID(e *Event) string {
	content := EncodeEvent(nil, e)
	h := xxh3.Hash(content)
	im.seen[h]++
	return DeriveID("row", string(content), strconv.Itoa(int(im.seen[h])))
}

// Take returns the events that are complete and forgets them. With grouping the orders come at Finish.
func (im *Importer) Take() []Event {
	ready := im.ready
	im.ready = nil
	return ready
}

// Pending returns how many events Take would return.
func (im *Importer) Pending() int { return len(im.ready) }

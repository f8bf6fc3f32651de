package features

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// join adds a line to its order: money is summed, the time is the earliest, other fields are the first line's.
func (im *Importer) join(e Event, order string) error {
	if order == "" {
		return &InvalidError{"order_id", "missing"}
	}
	im.key = append(append(append(append(append(im.key[:0], e.Name...), 0), order...), 0), e.UserID...)
	o := im.orders[string(im.key)]
	if o == nil {
		check := e
		check.EventID = "line"
		if err := check.Validate(im.o.Shop); err != nil {
			return err
		}
		e.OrderID = order
		kept := e
		im.orders[string(im.key)] = &kept
		return nil
	}
	for _, f := range []string{"value", "margin", "discount", "platform_discount", "commission", "cost"} {
		sum, line := o.amount(f), e.amount(f)
		if line.Valid {
			*sum = AmountOf(sum.Micros + line.Micros)
		}
	}
	if e.TS.Before(o.TS) {
		o.TS = e.TS
	}
	return nil
}

// retailRow reads a line of Online Retail: an invoice's lines are one order, those of an invoice C… one refund. Such an invoice
// does not say which order it takes back, so a refund stands under its own number: looking the order up among other rows would make
// the event depend on what else was loaded.
func (im *Importer) retailRow(d *draft) error {
	user, invoice := d.text("user_id"), d.text("order_id")
	if user == "" {
		return &InvalidError{"user_id", "missing"}
	}
	if invoice == "" {
		return &InvalidError{"order_id", "missing"}
	}
	price, err := ParseMicros(d.text("price"))
	if err != nil {
		return &InvalidError{"price", "not a decimal number"}
	}
	if price <= 0 {
		return &InvalidError{"price", "not positive"}
	}
	quantity, err := im.quantity(d)
	if err != nil {
		return err
	}
	name := OrderCompleted
	if strings.HasPrefix(invoice, "C") {
		name, quantity = OrderRefunded, -quantity
	}
	if quantity <= 0 {
		return &InvalidError{"quantity", "has the wrong sign for its invoice"}
	}
	value, err := times(price, quantity)
	if err != nil {
		return err
	}
	ts, ok := ParseTime(d.text("ts"), im.o.Location)
	if !ok {
		return &InvalidError{"ts", "not a date or time"}
	}
	if err := im.join(Event{UserID: user, Name: name, TS: ts, Value: AmountOf(value)}, invoice); err != nil {
		return err
	}
	t := im.lines[string(im.key)]
	if t == nil {
		t = &tally{country: d.text("properties.country")}
		im.lines[string(im.key)] = t
	}
	t.lines++
	t.items += quantity
	return nil
}

// Finish returns the grouped orders, earliest first, and the error of any that is not valid as a whole with it.
func (im *Importer) Finish() ([]Event, []Fault) {
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(im.orders)) {
		e := *im.orders[key]
		e.UserID = im.o.Shop.Pseudonym(e.UserID)
		if e.EventID == "" && im.o.Preset != "" {
			e.EventID = DeriveID(im.o.Preset, e.Name, e.OrderID, e.UserID)
		}
		if t := im.lines[key]; t != nil {
			p := appendText([]byte(`{"country":`), t.country)
			p = strconv.AppendInt(append(p, `,"items":`...), t.items, 10)
			p = strconv.AppendInt(append(p, `,"lines":`...), t.lines, 10)
			e.Properties = append(p, '}')
		}
		if err := im.add(e); err != nil {
			f := Fault{Reason: err.Error()}
			if invalid, ok := err.(*InvalidError); ok {
				f.Field, f.Reason = invalid.Field, invalid.Reason
			}
			faults = append(faults, f)
		}
	}
	clear(im.orders)
	clear(im.lines)
	ready := im.Take()
	slices.SortStableFunc(ready, func(a, b Event) int { return a.TS.Compare(b.TS) })
	return ready, faults
}

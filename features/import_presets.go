package features

import (
	"strconv"
	"time"

	"github.com/zeebo/xxh3"
)

// cdnowRow reads a purchase of the CDNOW data: one order a row, with a date for a time. Rows of one customer and day stay apart,
// as they are separate purchases in the source.
func (im *Importer) cdnowRow(d *draft) error {
	e := Event{UserID: im.o.Shop.Pseudonym(d.text("user_id")), Name: OrderCompleted}
	if e.UserID == "" {
		return &InvalidError{"user_id", "missing"}
	}
	ts, ok := ParseTime(d.text("ts"), im.o.Location)
	if !ok {
		return &InvalidError{"ts", "not a date or time"}
	}
	value, err := ParseMicros(d.text("value"))
	if err != nil {
		return &InvalidError{"value", "not a decimal number"}
	}
	discs, err := im.quantity(d)
	if err != nil {
		return err
	}
	e.TS, e.Value = ts, AmountOf(value)
	e.Properties = append(strconv.AppendInt([]byte(`{"cds":`), discs, 10), '}')
	e.EventID = im.occurrenceID("cdnow", e.UserID, e.TS.Format(time.DateOnly), value.String(), strconv.FormatInt(discs, 10))
	e.OrderID = e.EventID
	return im.finish(e)
}

// occurrenceID derives an id from parts and from how many equal rows stand before it in its file.
func (im *Importer) occurrenceID(parts ...string) string {
	var all []byte
	for _, p := range parts {
		all = append(append(all, p...), 0)
	}
	h := xxh3.Hash(all)
	im.seen[h]++
	return DeriveID(append(parts, strconv.Itoa(int(im.seen[h])))...)
}

// sensorsNames maps the event names that 神策 templates use for shops onto ours; every other event keeps its name.
var sensorsNames = map[string]string{
	"PayOrder": OrderCompleted, "payOrder": OrderCompleted, "pay_order": OrderCompleted, "RefundOrder": OrderRefunded, "refundOrder": OrderRefunded,
	"AddToShoppingCart": ProductAdded, "addToShoppingCart": ProductAdded, "CommodityDetail": ProductViewed, "ViewProduct": ProductViewed,
	"$AppStart": SessionStarted, "$MPLaunch": SessionStarted,
}

// sensorsAmounts are the property names from which an order's money is read, in order of preference.
var sensorsAmounts = []struct {
	field string
	names []string
}{
	{"value", []string{"value", "order_actual_amount", "actual_amount", "order_amount", "amount"}},
	{"discount", []string{"discount", "discount_amount", "coupon_amount"}}, {"margin", []string{"margin", "profit"}},
}

// sensorsTexts are the property names of the other columns.
var sensorsTexts = []struct {
	field string
	names []string
}{
	{"order_id", []string{"order_id", "orderID", "order_no"}}, {"product_id", []string{"product_id", "commodity_id", "sku_id"}},
	{"category", []string{"category", "first_commodity", "commodity_type"}}, {"channel", []string{"channel", "$utm_source", "$latest_utm_source"}},
	{"coupon_id", []string{"coupon_id"}}, {"session_id", []string{"session_id", "$event_session_id"}},
}

// sensorsRow reads a line of 神策 (Sensors Analytics): distinct_id, time (ms), type, event, properties. Only `track` lines are events;
// its _track_id has 31 random bits and is no key, so the id is derived from the content.
func (im *Importer) sensorsRow(d *draft) error {
	line := d.cells["line"].text
	kind, err := member(line, []string{"type"})
	if err != nil {
		return err
	}
	if string(kind.text) != "track" {
		return &InvalidError{"type", "not track: profiles and sign-ups are not events"}
	}
	user := d.cells["user_id"]
	if user.number {
		return &InvalidError{"user_id", "not a JSON string"}
	}
	e := Event{UserID: im.o.Shop.Pseudonym(d.text("user_id")), Name: d.text("event")}
	if name, ok := sensorsNames[e.Name]; ok {
		e.Name = name
	}
	ts, ok := ParseTime(d.text("ts"), im.o.Location)
	if !ok {
		return &InvalidError{"ts", "not a date or time"}
	}
	e.TS = ts
	for _, f := range sensorsAmounts {
		if c, own := d.cells[f.field]; own { // the user's mapping wins
			m, err := ParseMicros(string(c.text))
			if err != nil {
				return &InvalidError{f.field, "not a decimal number"}
			}
			*e.amount(f.field) = AmountOf(m)
			continue
		}
		for _, name := range f.names {
			c, err := member(line, []string{"properties", name})
			if err != nil || c.text == nil {
				continue
			}
			m, err := ParseMicros(string(c.text))
			if err != nil {
				return &InvalidError{f.field, "not a decimal number"}
			}
			*e.amount(f.field) = AmountOf(m)
			break
		}
	}
	for _, f := range sensorsTexts {
		if c, own := d.cells[f.field]; own && !c.number {
			*e.text(f.field) = string(c.text)
			continue
		}
		for _, name := range f.names {
			if c, err := member(line, []string{"properties", name}); err == nil && c.text != nil && !c.number {
				*e.text(f.field) = string(c.text)
				break
			}
		}
	}
	var properties []byte
	s := scanner{data: line}
	if err := s.object(func(key string, value []byte) error {
		if key == "properties" {
			properties = value
		}
		return nil
	}); err != nil {
		return err
	}
	if properties != nil {
		p, reason := compactObject(properties)
		if reason != "" {
			return &InvalidError{"properties", reason}
		}
		e.Properties = p
	}
	if e.EventID = deriveOrderID(&e); e.EventID == "" {
		e.EventID = im.rowID(&e)
	}
	return im.finish(e)
}

// exposureRow reads a row of a GrowthBook exposure table: user_id, timestamp, experiment_id, variation_id.
func (im *Importer) exposureRow(d *draft) error {
	e, err := im.event(d)
	if err != nil {
		return err
	}
	if d.text("properties.experiment") == "" || d.text("properties.variant") == "" {
		return &InvalidError{"properties.experiment", "missing"}
	}
	e.Name = ExperimentViewed
	return im.add(e)
}

package features

import (
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Bounds of one event. They keep every stored row small enough for a Parquet page and a log line.
const (
	MaxIDBytes         = 256      // user_id, anonymous_id and the optional ids
	MaxEventIDBytes    = 128      // event_id
	MaxNameBytes       = 128      // event
	MaxPropertiesBytes = 16 << 10 // properties, as compact JSON
	MaxFuture          = time.Hour
	maxSkew            = 2 * time.Minute // a client clock that is further off is corrected with sent_at
)

// DecodeEvent reads one JSON event of CONTRACT §3 and validates it. Types are strict: ids must be JSON strings (a number such as
// 1.38E+10 is refused, never rounded), amounts JSON numbers in major units, times RFC 3339 with a zone. now is the server's clock:
// an event more than MaxFuture beyond it is refused, and where sent_at shows a client clock more than two minutes off, TS is
// corrected by the difference. IDDay is set from ts as sent, so that every replay has the same; the other days and the server's
// times are left to the lake. Unknown fields are ignored. The error is always an *InvalidError.
func DecodeEvent(raw []byte, shop Shop, now time.Time) (Event, error) {
	return decodeEvent(raw, shop, now, true)
}

// decodeEvent is DecodeEvent; live says that sent_at is a moment ago. In history it is not, and corrects nothing.
func decodeEvent(raw []byte, shop Shop, now time.Time, live bool) (Event, error) {
	var e Event
	r := reader{s: string(raw)}
	fault := r.whole(&e)
	if fault == nil {
		fault = finish(&e, shop, now, live)
	}
	if fault != nil {
		return Event{}, fault
	}
	return e, nil
}

// Validate checks the fields of an event that was decoded or made by a program, and fills in the shop's currency where there is
// none. The error is an *InvalidError that names the JSON field.
func (e *Event) Validate(shop Shop) error {
	if fault := e.validate(shop); fault != nil {
		return fault
	}
	return nil
}

func (e *Event) validate(shop Shop) *InvalidError {
	if e.UserID == "" {
		e.UserID = e.AnonymousID // an anonymous visitor is known by her anonymous id until a link folds it
	}
	if reason := textFault(e.EventID, MaxEventIDBytes, true); reason != "" {
		return &InvalidError{"event_id", reason}
	}
	if reason := textFault(e.UserID, MaxIDBytes, true); reason != "" {
		return &InvalidError{"user_id", reason}
	}
	if reason := textFault(e.Name, MaxNameBytes, true); reason != "" {
		return &InvalidError{"event", reason}
	}
	if len(e.AnonymousID)+len(e.OrderID)+len(e.ProductID)+len(e.Category)+len(e.Channel)+len(e.CouponID)+len(e.SessionID) > 0 {
		if fault := e.validateOptional(); fault != nil {
			return fault
		}
	}
	if shop.PseudonymKey != "" {
		e.UserID, e.AnonymousID = shop.Pseudonym(e.UserID), shop.Pseudonym(e.AnonymousID)
	}
	if e.TS.IsZero() {
		return &InvalidError{"ts", "missing"}
	}
	if s := e.TS.Unix(); s < 0 || s >= year10000 {
		return &InvalidError{"ts", "before 1970"}
	}
	if e.Currency == "" {
		e.Currency = shop.Currency
	} else if shop.Currency != "" && e.Currency != shop.Currency {
		return &InvalidError{"currency", "not the shop's currency " + shop.Currency}
	}
	if e.Name == OrderCompleted || e.Name == OrderRefunded {
		switch {
		case !e.Value.Valid:
			return &InvalidError{"value", "missing"}
		case e.Value.Micros < 0:
			return &InvalidError{"value", "negative"}
		}
	}
	if len(e.Properties) > MaxPropertiesBytes {
		return &InvalidError{"properties", "more than 16 KB"}
	}
	return nil
}

// year10000 is 10000-01-01 as Unix seconds.
const year10000 = 253402300800

func (e *Event) validateOptional() *InvalidError {
	for _, f := range [...]struct{ field, text string }{{"anonymous_id", e.AnonymousID}, {"order_id", e.OrderID}, {"product_id", e.ProductID},
		{"category", e.Category}, {"channel", e.Channel}, {"coupon_id", e.CouponID}, {"session_id", e.SessionID}} {
		if reason := textFault(f.text, MaxIDBytes, false); reason != "" {
			return &InvalidError{f.field, reason}
		}
	}
	return nil
}

// textFault returns why a text is not usable as an id or a name, or "".
func textFault(text string, max int, required bool) string {
	switch {
	case text == "" && required:
		return "missing"
	case len(text) > max:
		return "longer than " + itoa(max) + " bytes"
	}
	ascii := true
	for i := 0; i < len(text); i++ {
		if text[i] < 0x20 || text[i] == 0x7f {
			return "holds a control character"
		}
		ascii = ascii && text[i] < utf8.RuneSelf
	}
	if !ascii && !utf8.ValidString(text) {
		return "not valid UTF-8"
	}
	return ""
}

func utcDay(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// text returns where a string field is kept, or nil.
func (e *Event) text(field string) *string {
	switch field {
	case "event_id":
		return &e.EventID
	case "user_id":
		return &e.UserID
	case "anonymous_id":
		return &e.AnonymousID
	case "event":
		return &e.Name
	case "currency":
		return &e.Currency
	case "order_id":
		return &e.OrderID
	case "product_id":
		return &e.ProductID
	case "category":
		return &e.Category
	case "channel":
		return &e.Channel
	case "coupon_id":
		return &e.CouponID
	case "session_id":
		return &e.SessionID
	}
	return nil
}

// amount returns where an amount is kept, or nil.
func (e *Event) amount(field string) *Amount {
	switch field {
	case "value":
		return &e.Value
	case "margin":
		return &e.Margin
	case "discount":
		return &e.Discount
	case "platform_discount":
		return &e.PlatformDiscount
	case "commission":
		return &e.Commission
	case "cost":
		return &e.Cost
	}
	return nil
}

// parseTime reads a quoted RFC 3339 time with zone as UTC microseconds.
func parseTime(value []byte) (time.Time, string) {
	text, ok := unquote(value)
	if !ok {
		return time.Time{}, "not a JSON string"
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, "not RFC 3339"
	}
	return t.UTC().Truncate(time.Microsecond), ""
}

// compactObject checks that value is a JSON object and returns it without blanks; nil for an empty one.
func compactObject(value []byte) (json.RawMessage, string) {
	if len(value) == 0 || value[0] != '{' {
		return nil, "not a JSON object"
	}
	if len(value) == 2 {
		return nil, ""
	}
	p := compact(value)
	switch {
	case len(p) > MaxPropertiesBytes:
		return nil, "more than 16 KB"
	case len(p) == 2:
		return nil, ""
	}
	return p, ""
}

// deriveOrderID makes the id of an order or a refund that came without one: the same facts give the same id.
func deriveOrderID(e *Event) string {
	if e.OrderID == "" {
		return ""
	}
	switch e.Name {
	case OrderCompleted:
		return DeriveID("event", e.Name, e.OrderID)
	case OrderRefunded:
		return DeriveID("event", e.Name, e.OrderID, e.TS.Format(time.RFC3339Nano), e.Value.Micros.String())
	}
	return ""
}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

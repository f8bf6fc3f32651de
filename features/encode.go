package features

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// namespace of every id that Perennial derives (UUIDv5 of "perennial" in the DNS namespace's manner; fixed for ever).
var namespace = uuid.MustParse("6f1c5a0e-3c57-5d0b-9b1e-7a5d2f6e8c41")

// DeriveID returns the UUIDv5 of parts, each ended by a zero byte: the same parts give the same id on every machine.
func DeriveID(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + 1
	}
	name := make([]byte, 0, n)
	for _, p := range parts {
		name = append(append(name, p...), 0)
	}
	return uuid.NewSHA1(namespace, name).String()
}

// EncodeEvent appends the event as one JSON object in the form of CONTRACT §3, with received_at and available_at where they are
// set, times in UTC and without a line end. Absent strings and amounts are null, absent properties {}.
func EncodeEvent(dst []byte, e *Event) []byte {
	dst = appendText(append(dst, `{"event_id":`...), e.EventID)
	dst = appendText(append(dst, `,"user_id":`...), e.UserID)
	dst = appendText(append(dst, `,"anonymous_id":`...), e.AnonymousID)
	dst = appendText(append(dst, `,"event":`...), e.Name)
	dst = appendTime(append(dst, `,"ts":`...), e.TS)
	dst = appendAmount(append(dst, `,"value":`...), e.Value)
	dst = appendText(append(dst, `,"currency":`...), e.Currency)
	dst = appendAmount(append(dst, `,"margin":`...), e.Margin)
	dst = appendAmount(append(dst, `,"discount":`...), e.Discount)
	dst = appendAmount(append(dst, `,"platform_discount":`...), e.PlatformDiscount)
	dst = appendAmount(append(dst, `,"commission":`...), e.Commission)
	dst = appendAmount(append(dst, `,"cost":`...), e.Cost)
	dst = appendText(append(dst, `,"order_id":`...), e.OrderID)
	dst = appendText(append(dst, `,"product_id":`...), e.ProductID)
	dst = appendText(append(dst, `,"category":`...), e.Category)
	dst = appendText(append(dst, `,"channel":`...), e.Channel)
	dst = appendText(append(dst, `,"coupon_id":`...), e.CouponID)
	dst = appendText(append(dst, `,"session_id":`...), e.SessionID)
	dst = append(dst, `,"properties":`...)
	if len(e.Properties) > 0 {
		dst = append(dst, e.Properties...)
	} else {
		dst = append(dst, "{}"...)
	}
	for _, f := range []struct {
		field string
		t     time.Time
	}{{`,"sent_at":`, e.SentAt}, {`,"received_at":`, e.ReceivedAt}, {`,"available_at":`, e.AvailableAt}} {
		if !f.t.IsZero() {
			dst = appendTime(append(dst, f.field...), f.t)
		}
	}
	return append(dst, '}')
}

// appendText writes a JSON string, or null when it is empty.
func appendText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] < 0x7f
	}
	if plain {
		return append(append(append(dst, '"'), s...), '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil { // a Go string always has a JSON form
		return append(dst, "null"...)
	}
	return append(dst, quoted...)
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.999999Z07:00"), '"')
}

func appendAmount(dst []byte, a Amount) []byte {
	if !a.Valid {
		return append(dst, "null"...)
	}
	return append(dst, a.Micros.String()...)
}

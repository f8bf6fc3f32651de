// Package features holds the shop's raw facts and the words for what is derived from them: events, money, days, the catalog of
// declared features, cuts and label windows, and the lifecycle stage. It is pure: no clock, no I/O, no driver.
package features

import (
	"encoding/json"
	"fmt"
	"time"
)

// Names of the events that Perennial itself gives a meaning to (CONTRACT §3).
const (
	OrderCompleted   = "Order Completed"
	OrderRefunded    = "Order Refunded"
	ExperimentViewed = "Experiment Viewed"
	MessageSent      = "Message Sent"
	SessionStarted   = "Session Started"
	ProductViewed    = "Product Viewed"
	ProductAdded     = "Product Added"
	PromotionViewed  = "Promotion Viewed"
	IdentityLinked   = "Identity Linked"
)

// Day is a calendar day as days since 1970-01-01, in the shop's time zone.
type Day int32

// Event is one immutable fact. Zero strings and invalid amounts mean absent; times are UTC with microsecond resolution.
type Event struct {
	EventID     string
	UserID      string
	AnonymousID string
	Name        string // the JSON field `event`

	TS          time.Time // when it happened
	SentAt      time.Time // zero unless the client said
	ReceivedAt  time.Time // the server's clock at the door
	AvailableAt time.Time // when it could be known: ReceivedAt for live events, TS + lag for imports
	IDDay       Day       // UTC day of TS as sent, before skew correction: the same for every replay
	BizDay      Day       // local day of TS
	KnownDay    Day       // local day of AvailableAt

	Value, Margin, Discount, PlatformDiscount, Commission, Cost Amount
	Currency                                                    string

	OrderID, ProductID, Category, Channel, CouponID, SessionID string
	Properties                                                 json.RawMessage // a JSON object, or nil
}

// InvalidError says which field of an input is wrong and why. Field uses the JSON path, such as "variants[1].weight".
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// Shop is what dates and money mean in one shop.
type Shop struct {
	Location           *time.Location // nil means UTC
	Currency           string         // ISO 4217
	MarginRate         float64        // estimate of margin ÷ value for orders that carry no margin
	RefundMaturityDays int            // how long refunds are waited for after a window; 0 means 15
	PseudonymKey       string         `json:"-"` // key of the HMAC that stands for user ids in storage; "": ids are stored as sent
}

// DayOf returns the local day of t.
func (s Shop) DayOf(t time.Time) Day {
	if s.Location != nil {
		t = t.In(s.Location)
	} else {
		t = t.UTC()
	}
	y, m, d := t.Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Midnight returns the instant at which day d begins in the shop.
func (s Shop) Midnight(d Day) time.Time {
	y, m, day := d.Date()
	loc := s.Location
	if loc == nil {
		loc = time.UTC
	}
	return time.Date(y, m, day, 0, 0, 0, 0, loc).UTC()
}

// Date returns the calendar date of d.
func (d Day) Date() (int, time.Month, int) { return time.Unix(int64(d)*86400, 0).UTC().Date() }

// String returns d as YYYY-MM-DD.
func (d Day) String() string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// ParseDay reads YYYY-MM-DD.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a date (YYYY-MM-DD)", clip(text))
	}
	return Day(t.Unix() / 86400), nil
}

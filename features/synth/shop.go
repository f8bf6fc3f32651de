package synth

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"perennial/features"
)

// Config of a made-up shop. The zero value of every optional field is usable.
type Config struct {
	Seed  uint64
	Users int           // 0 means 1,000
	Start features.Day  // first day on which customers may come
	Days  int           // length of the history; 0 means 365
	Shop  features.Shop // zone, currency and margin rate

	OrderShape, OrderRate       float64 // gamma over customers of orders per week while alive: shape r (0: 0.7) and rate alpha in weeks (0: 6)
	DropoutShape, DropoutRate   float64 // gamma over customers of dropout per week: shape s (0: 0.8) and rate beta in weeks (0: 20)
	Sessions                    float64 // sessions per order besides the one that buys; 0 means 3
	AOV, AOVSpread, OrderSpread float64 // mean order value (0: 100), sigma of its logarithm between customers (0: 0.5) and between orders (0: 0.5)
	Coupons                     float64 // share of the orders with a coupon of 10 %; 0 means 0.2, negative none
	Refunds                     float64 // share of the orders that come back; 0 means 0.05, negative none
	Late                        float64 // share of the events that are learned one to five days late; 0 means 0.01, negative none
	Margins                     float64 // share of the orders that carry their margin; 0 means 0.9, negative none
}

// Truth is what nobody in a real shop knows about a customer.
type Truth struct {
	UserID  string
	Born    time.Time // first possible moment
	Died    time.Time // she never comes back after it; may lie beyond the history
	PerWeek float64   // orders per week while alive (lambda)
	Dropout float64   // dropout per week (mu)
	AOV     float64   // her own mean order value in major units
}

func (c Config) withDefaults() Config {
	def := func(x *float64, d float64) {
		if *x == 0 {
			*x = d
		}
	}
	if c.Users <= 0 {
		c.Users = 1000
	}
	if c.Days <= 0 {
		c.Days = 365
	}
	if c.Shop.Currency == "" {
		c.Shop.Currency = "CNY"
	}
	if c.Shop.MarginRate == 0 {
		c.Shop.MarginRate = 0.3
	}
	def(&c.OrderShape, 0.7)
	def(&c.OrderRate, 6)
	def(&c.DropoutShape, 0.8)
	def(&c.DropoutRate, 20)
	def(&c.Sessions, 3)
	def(&c.AOV, 100)
	def(&c.AOVSpread, 0.5)
	def(&c.OrderSpread, 0.5)
	def(&c.Coupons, 0.2)
	def(&c.Refunds, 0.05)
	def(&c.Late, 0.01)
	def(&c.Margins, 0.9)
	return c
}

// userID is the id of customer i: byte order is numeric order.
func userID(i int) string { return fmt.Sprintf("user-%08d", i) }

// Truth returns the hidden truth of customer i in [0, Users): purchasing is Poisson at a gamma-distributed rate until an exponential
// dropout at a gamma-distributed rate (Schmittlein, Morrison, Colombo 1987: Pareto/NBD).
func (c Config) Truth(i int) Truth {
	c = c.withDefaults()
	t, _ := c.customer(i)
	return t
}

func (c Config) customer(i int) (Truth, *rand.Rand) {
	id := userID(i)
	rng := stream(c.Seed, "shop", id)
	week := 7 * 24 * float64(time.Hour)
	born := c.Shop.Midnight(c.Start).Add(time.Duration(rng.Float64() * float64(c.Days) * 0.8 * 24 * float64(time.Hour)))
	t := Truth{UserID: id, Born: born, PerWeek: gamma(rng, c.OrderShape) / c.OrderRate, Dropout: gamma(rng, c.DropoutShape) / c.DropoutRate, AOV: lognormal(rng, c.AOV, c.AOVSpread)}
	life := 10 * float64(c.Days) * 24 * float64(time.Hour)
	if t.Dropout > 0 {
		life = math.Min(life, rng.ExpFloat64()/t.Dropout*week)
	}
	t.Died = born.Add(time.Duration(life))
	return t, rng
}

// Shop yields the events of the whole history, customer after customer in the byte order of their ids and each customer's in the order of time.
// It holds one customer in memory, so a hundred million events stream. Times are set as an import does: received and available when they
// happened, or days later for the late share.
func Shop(c Config) iter.Seq[features.Event] {
	c = c.withDefaults()
	return func(yield func(features.Event) bool) {
		for i := range c.Users {
			for _, e := range c.Customer(i) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Customer returns the events of customer i in the order of time. Her first order is at Born: everybody in the shop has bought.
func (c Config) Customer(i int) []features.Event {
	c = c.withDefaults()
	t, rng := c.customer(i)
	v := &visit{c: &c, t: t, rng: rng, ids: newIdentity(c.Seed, "shop", t.UserID), end: c.Shop.Midnight(c.Start + features.Day(c.Days)), channel: channels[rng.IntN(len(channels))]}
	week := 7 * 24 * float64(time.Hour)
	v.buy(t.Born)
	until := t.Died
	if v.end.Before(until) {
		until = v.end
	}
	walk := func(perWeek float64, do func(time.Time)) {
		if perWeek <= 0 {
			return
		}
		for at := t.Born; ; {
			gap := rng.ExpFloat64() / perWeek * week // beyond what a Duration holds for the rarest customers
			if gap >= float64(until.Sub(at)) {
				return
			}
			at = at.Add(max(1, time.Duration(gap)))
			do(at)
		}
	}
	walk(t.PerWeek, v.buy)
	walk(t.PerWeek*c.Sessions, func(at time.Time) { v.browse(at) })
	slices.SortStableFunc(v.out, func(a, b features.Event) int { return a.TS.Compare(b.TS) })
	return v.out
}

var (
	channels   = []string{"wechat", "app", "web", "store"}
	categories = []string{"food", "home", "beauty", "toys", "sport", "books", "garden", "pets"}
)

// visit writes one customer's sessions.
type visit struct {
	c       *Config
	t       Truth
	rng     *rand.Rand
	ids     *identity
	end     time.Time
	channel string
	orders  int
	session int
	out     []features.Event
}

func (v *visit) put(e features.Event) {
	e.TS = e.TS.UTC().Truncate(time.Millisecond)
	if !e.TS.Before(v.end) {
		return
	}
	e.EventID, e.UserID, e.Channel, e.Currency = v.ids.next(), v.t.UserID, v.channel, v.c.Shop.Currency
	e.AvailableAt = e.TS
	if v.rng.Float64() < v.c.Late {
		e.AvailableAt = e.TS.Add(time.Duration((1 + 4*v.rng.Float64()) * 24 * float64(time.Hour))).Truncate(time.Millisecond)
	}
	e.ReceivedAt = e.AvailableAt
	e.BizDay, e.KnownDay, e.IDDay = v.c.Shop.DayOf(e.TS), v.c.Shop.DayOf(e.AvailableAt), features.Shop{}.DayOf(e.TS)
	v.out = append(v.out, e)
}

// browse is a session without an order.
func (v *visit) browse(at time.Time) string {
	v.session++
	session := fmt.Sprintf("%s-s%d", v.t.UserID, v.session)
	v.put(features.Event{Name: features.SessionStarted, TS: at, SessionID: session})
	category := categories[v.rng.IntN(len(categories))]
	for k := range 1 + v.rng.IntN(5) {
		at = at.Add(time.Duration(20+v.rng.IntN(120)) * time.Second)
		v.put(features.Event{Name: features.ProductViewed, TS: at, SessionID: session, Category: category, ProductID: fmt.Sprintf("%s-%d", category, v.rng.IntN(200))})
		if k > 1 && v.rng.IntN(3) == 0 {
			v.put(features.Event{Name: features.ProductAdded, TS: at.Add(5 * time.Second), SessionID: session, Category: category})
		}
	}
	return session
}

// buy is a session that ends in an order, and perhaps in a refund.
func (v *visit) buy(at time.Time) {
	session := v.browse(at)
	at = at.Add(15 * time.Minute)
	v.orders++
	list := math.Max(0.01, math.Round(lognormal(v.rng, v.t.AOV, v.c.OrderSpread)*100)/100)
	off, coupon := 0.0, ""
	if v.rng.Float64() < v.c.Coupons {
		off, coupon = math.Round(list*10)/100, "ten-percent"
	}
	margin := cents(list*v.c.Shop.MarginRate - off)
	if v.rng.Float64() >= v.c.Margins {
		margin = features.Amount{}
	}
	e := features.Event{Name: features.OrderCompleted, TS: at, SessionID: session, OrderID: fmt.Sprintf("%s-o%d", v.t.UserID, v.orders), Category: categories[v.rng.IntN(len(categories))],
		Value: cents(list - off), Discount: cents(off), Margin: margin, CouponID: coupon}
	v.put(e)
	if v.rng.Float64() < v.c.Refunds {
		back := time.Duration((1 + 20*v.rng.Float64()) * 24 * float64(time.Hour))
		v.put(features.Event{Name: features.OrderRefunded, TS: at.Add(back), OrderID: e.OrderID, Value: e.Value, Margin: e.Margin})
	}
}

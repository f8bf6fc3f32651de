package synth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"perennial/features"
)

// Customer is what is known of a real customer when her behaviour under a promotion is made up.
type Customer struct {
	ID     string
	Orders float64 // expected orders in the response's window without a promotion; ≥ 0
	AOV    float64 // mean value of her orders in major units; > 0 for somebody who can buy
	Stage  features.Stage
	Score  float64 // any score in 0..1 that an arm's effect may depend on, such as churn risk
}

// Arm is what a variant does to a customer: its terms, and the effect that is planted.
type Arm struct {
	Lift      float64                // relative change of the expected number of orders; -1 stops them
	LiftOf    func(Customer) float64 // nil: Lift for everybody
	SpendLift float64                // relative change of the value before the discount
	Percent   float64                // share of every order that is taken off; 0.1 is ten per cent
	Threshold float64                // orders of at least so much, before the discount, get Off off; major units
	Off       float64                // see Threshold
	Stretch   float64                // share of the orders within 30 % below Threshold that are filled up to it
	Contact   float64                // cost of the message that every exposed customer gets; 0 sends none
	Coupon    string                 // coupon_id of its orders
}

// Response makes the simulated behaviour of customers in the window after they met their variant. The same seed, experiment and customer
// give the same events, and two arms share their randomness, so that a customer's answers differ by the arm alone.
type Response struct {
	Seed       uint64
	Experiment string
	Days       int            // length of the window; 0 means 14
	MarginRate float64        // margin ÷ value before the discount; 0 means 0.3
	Commission float64        // share of what was paid that the platform keeps
	RefundRate float64        // share of the orders that come back within twelve days
	Sigma      float64        // of the logarithm of an order's value; 0 means 0.6
	Currency   string         // of the events
	Arms       map[string]Arm // by variant; a variant without one changes nothing
	Until      time.Time      // events at or after it are left out: the simulated shop's now; zero leaves none out
}

func (r *Response) withDefaults() Response {
	d := *r
	if d.Days <= 0 {
		d.Days = 14
	}
	if d.MarginRate <= 0 {
		d.MarginRate = 0.3
	}
	if d.Sigma <= 0 {
		d.Sigma = 0.6
	}
	return d
}

// lift is the arm's relative change of this customer's orders, never below -1.
func (a Arm) lift(c Customer) float64 {
	lift := a.Lift
	if a.LiftOf != nil {
		lift = a.LiftOf(c)
	}
	return math.Max(-1, lift)
}

// basket is one order before and after the arm's terms, in major units.
func (a Arm) basket(rng *rand.Rand, aov, sigma float64) (list, off float64) {
	list = lognormal(rng, aov, sigma) * (1 + a.SpendLift)
	fill := rng.Float64() // drawn for every arm, so that arms stay in step
	if a.Off > 0 && list < a.Threshold && list >= 0.7*a.Threshold && fill < a.Stretch {
		list = a.Threshold
	}
	list = math.Max(0.01, math.Round(list*100)/100)
	off = list * a.Percent
	if a.Off > 0 && list >= a.Threshold {
		off += a.Off
	}
	return list, math.Min(list, math.Round(off*100)/100)
}

// Events returns what a customer does after she met her variant at a time: the message that told her, orders and refunds, in the order of
// time. Amounts have two decimals. A customer without expected orders or value does nothing.
func (r *Response) Events(c Customer, variant string, seen time.Time) []features.Event {
	d := r.withDefaults()
	arm := d.Arms[variant]
	rng := stream(d.Seed, d.Experiment, c.ID)
	ids := newIdentity(d.Seed, d.Experiment, c.ID)
	var out []features.Event
	put := func(e features.Event) {
		e.EventID, e.UserID, e.Currency, e.TS = ids.next(), c.ID, d.Currency, e.TS.UTC().Truncate(time.Millisecond)
		if d.Until.IsZero() || e.TS.Before(d.Until) {
			out = append(out, e)
		}
	}
	if arm.Contact > 0 {
		put(features.Event{Name: features.MessageSent, TS: seen.Add(time.Second), Cost: cents(arm.Contact), Properties: fmt.Appendf(nil, `{"experiment":%q}`, d.Experiment)})
	}
	if c.Orders <= 0 || c.AOV <= 0 {
		return out
	}
	// Orders are thinned from a process at the rate of the strongest arm, which is how arms share their draws.
	top := 0.0
	for _, a := range d.Arms {
		top = math.Max(top, a.lift(c))
	}
	window := time.Duration(d.Days) * 24 * time.Hour
	for n := range poisson(rng, c.Orders*(1+top)) {
		when := seen.Add(2*time.Second + time.Duration(rng.Float64()*float64(window-3*time.Second)))
		keep := rng.Float64() < (1+arm.lift(c))/(1+top)
		list, off := arm.basket(rng, c.AOV, d.Sigma)
		back, lag := rng.Float64() < d.RefundRate, time.Duration((1+11*rng.Float64())*24*float64(time.Hour))
		if !keep {
			ids.n += 2
			continue
		}
		value := list - off
		order := fmt.Sprintf("%s-%s-%d", d.Experiment, c.ID, n+1)
		margin := cents(list*d.MarginRate - off)
		coupon := ""
		if off > 0 {
			coupon = arm.Coupon
		}
		put(features.Event{Name: features.OrderCompleted, TS: when, Value: cents(value), Margin: margin, Discount: cents(off), Commission: cents(value * d.Commission),
			OrderID: order, CouponID: coupon})
		if back {
			put(features.Event{Name: features.OrderRefunded, TS: when.Add(lag), Value: cents(value), Margin: margin, OrderID: order})
		} else {
			ids.n++
		}
	}
	slices.SortStableFunc(out, func(a, b features.Event) int { return a.TS.Compare(b.TS) })
	return out
}

// Expect returns the planted truth for one customer under a variant: expected orders and expected profit in the window, in major units.
// Terms with a threshold have no closed form, so the profit of an order is the mean over 4,000 baskets of a fixed stream.
func (r *Response) Expect(c Customer, variant string) (orders, profit float64) {
	d := r.withDefaults()
	arm := d.Arms[variant]
	profit = -arm.Contact
	if c.Orders <= 0 || c.AOV <= 0 {
		return 0, profit
	}
	orders = c.Orders * (1 + arm.lift(c))
	const baskets = 4000
	rng := stream(d.Seed, "expect", "")
	var sum float64
	for range baskets {
		list, off := arm.basket(rng, c.AOV, d.Sigma)
		sum += (list*d.MarginRate-off)*(1-d.RefundRate) - (list-off)*d.Commission
	}
	return orders, profit + orders*sum/baskets
}

// cents is an amount of major units rounded to two decimals.
func cents(units float64) features.Amount {
	return features.AmountOf(features.Micros(math.Round(units*100)) * (features.MicrosPerUnit / 100))
}

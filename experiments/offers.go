package experiments

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"
)

// Cart is what a customer is about to buy. Money is in micros of the shop's currency.
type Cart struct {
	Items          []CartItem
	ShippingMicros int64
	FirstOrder     bool // the customer has never ordered
	Points         int64
	Time           time.Time // zero means: schedules are not looked at
}

// CartItem is a line: Quantity pieces of PriceMicros each.
type CartItem struct {
	ProductID   string
	Category    string
	Quantity    int64
	PriceMicros int64
}

// Quote is what an offer does to a cart. The customer pays PayMicros = subtotal + shipping − discount; CostMicros is what the offer costs the shop
// beside the discount (a gift, a service). Applied is false with a reason when the offer does not hold.
type Quote struct {
	Applied        bool
	Reason         string
	SubtotalMicros int64
	ShippingMicros int64 // after the offer
	DiscountMicros int64
	CostMicros     int64
	PointsUsed     int64
	PayMicros      int64
}

// Reasons why an offer does not apply.
const (
	OfferEmptyCart      = "empty_cart"
	OfferNotStarted     = "not_started"
	OfferEnded          = "ended"
	OfferBelowThreshold = "below_threshold"
	OfferTooFewItems    = "too_few_items"
	OfferNotFirstOrder  = "not_first_order"
	OfferNoPoints       = "no_points"
)

// OfferTerms is the union of the terms of all kinds; which fields matter is said beside each. Money in major units, shares as fractions.
type OfferTerms struct {
	Share      *float64 `json:"share,omitempty"`       // timed_discount, bundle: 0.1 is ten per cent off
	Off        *float64 `json:"off,omitempty"`         // spend_threshold, bundle, first_order: money off
	Threshold  *float64 `json:"threshold,omitempty"`   // spend_threshold, free_shipping: subtotal from which it holds
	Repeat     bool     `json:"repeat,omitempty"`      // spend_threshold: once for every full threshold
	Tiers      []Tier   `json:"tiers,omitempty"`       // spend_threshold: instead of threshold and off; the highest that is reached holds
	Quantity   *int64   `json:"quantity,omitempty"`    // bundle: pieces from which it holds
	Buy        *int64   `json:"buy,omitempty"`         // buy_x_get_y
	Get        *int64   `json:"get,omitempty"`         // buy_x_get_y: the cheapest pieces are free
	PointValue *float64 `json:"point_value,omitempty"` // points: money for one point
	MaxPoints  *int64   `json:"max_points,omitempty"`  // points: at most so many an order
	Categories []string `json:"categories,omitempty"`  // only items of these
}

// Tier is one step of a tiered spend_threshold: 满60减6, 满150减20, 满300减40.
type Tier struct {
	Threshold float64 `json:"threshold"`
	Off       float64 `json:"off"`
}

// UnmarshalJSON also takes spend for threshold.
func (t *Tier) UnmarshalJSON(raw []byte) error {
	type plain Tier
	both := struct {
		*plain
		Spend float64 `json:"spend"`
	}{plain: (*plain)(t)}
	if err := json.Unmarshal(raw, &both); err != nil {
		return err
	}
	if t.Threshold == 0 {
		t.Threshold = both.Spend
	}
	return nil
}

// tierFaults says what is wrong with tiers: they rise in both numbers, and no step gives more than it asks for.
func tierFaults(t OfferTerms) (f []Fault) {
	if t.Threshold != nil || t.Off != nil || t.Repeat {
		f = append(f, Fault{"terms.tiers", "stand instead of threshold, off and repeat"})
	}
	before := Tier{}
	for i, tier := range t.Tiers {
		at := fmt.Sprintf("terms.tiers[%d]", i)
		switch {
		case !(tier.Threshold > before.Threshold && tier.Threshold <= 1e9):
			f = append(f, Fault{at + ".threshold", fmt.Sprintf("%v does not rise above %v", tier.Threshold, before.Threshold)})
		case !(tier.Off > before.Off && tier.Off <= tier.Threshold):
			f = append(f, Fault{at + ".off", fmt.Sprintf("%v is not between the tier before (%v) and its threshold %v", tier.Off, before.Off, tier.Threshold)})
		}
		before = tier
	}
	return f
}

// UnmarshalJSON also takes the short names that promotions are often written with: pct for share, spend and min for threshold, qty for quantity.
func (t *OfferTerms) UnmarshalJSON(raw []byte) error {
	type plain OfferTerms
	both := struct {
		*plain
		Pct   *float64 `json:"pct"`
		Spend *float64 `json:"spend"`
		Min   *float64 `json:"min"`
		Qty   *int64   `json:"qty"`
	}{plain: (*plain)(t)}
	if err := json.Unmarshal(raw, &both); err != nil {
		return err
	}
	for _, short := range []struct {
		from *float64
		into **float64
	}{{both.Pct, &t.Share}, {both.Spend, &t.Threshold}, {both.Min, &t.Threshold}} {
		if *short.into == nil {
			*short.into = short.from
		}
	}
	if t.Quantity == nil {
		t.Quantity = both.Qty
	}
	return nil
}

// ParsedTerms reads and checks an offer's terms; faults name the field.
func (o *Offer) ParsedTerms() (OfferTerms, error) {
	var t OfferTerms
	if len(o.Terms) > 0 {
		if err := json.Unmarshal(o.Terms, &t); err != nil {
			return t, Invalid("terms", "%v", err)
		}
	}
	var f []Fault
	money := func(name string, v *float64) {
		if v == nil {
			f = append(f, Fault{"terms." + name, "is missing for " + o.Kind})
		} else if !(*v > 0 && *v <= 1e9) {
			f = append(f, Fault{"terms." + name, fmt.Sprintf("%v is not within 0..1e9", *v)})
		}
	}
	count := func(name string, v *int64) {
		if v == nil {
			f = append(f, Fault{"terms." + name, "is missing for " + o.Kind})
		} else if *v < 1 || *v > 1000 {
			f = append(f, Fault{"terms." + name, fmt.Sprintf("%d is not within 1..1000", *v)})
		}
	}
	share := func(v *float64) {
		if v == nil {
			f = append(f, Fault{"terms.share", "is missing for " + o.Kind})
		} else if !(*v > 0 && *v < 1) {
			f = append(f, Fault{"terms.share", fmt.Sprintf("%v is not within 0..1; 0.1 is ten per cent off", *v)})
		}
	}
	switch o.Kind {
	case "timed_discount":
		share(t.Share)
	case "spend_threshold":
		if len(t.Tiers) > 0 {
			f = append(f, tierFaults(t)...)
			break
		}
		money("threshold", t.Threshold)
		money("off", t.Off)
		if t.Threshold != nil && t.Off != nil && *t.Off > *t.Threshold {
			f = append(f, Fault{"terms.off", fmt.Sprintf("%v is more than the threshold %v", *t.Off, *t.Threshold)})
		}
	case "bundle":
		count("quantity", t.Quantity)
		if (t.Share == nil) == (t.Off == nil) {
			f = append(f, Fault{"terms.share", "a bundle has either share or off"})
		} else if t.Share != nil {
			share(t.Share)
		} else {
			money("off", t.Off)
		}
	case "buy_x_get_y":
		count("buy", t.Buy)
		count("get", t.Get)
	case "first_order":
		money("off", t.Off)
	case "free_shipping":
		money("threshold", t.Threshold)
	case "points":
		money("point_value", t.PointValue)
	}
	if f != nil {
		return t, &InvalidError{Faults: f}
	}
	return t, nil
}

// Price applies an offer to a cart. The discount is never more than what the items cost, so nobody is ever paid to take them; prices and quantities
// below zero are an *InvalidError. Gifts and services change no price: they cost the shop UnitCost.
func (o *Offer) Price(c Cart) (Quote, error) {
	t, err := o.ParsedTerms()
	if err != nil {
		return Quote{}, err
	}
	q := Quote{ShippingMicros: c.ShippingMicros}
	var pieces []int64 // prices of the pieces that the offer speaks of
	var base int64     // their sum
	for i, item := range c.Items {
		if item.Quantity < 0 || item.PriceMicros < 0 || item.Quantity > 1e5 || item.PriceMicros > 1e15 {
			return Quote{}, Invalid(fmt.Sprintf("items[%d]", i), "quantity %d or price %d is out of range", item.Quantity, item.PriceMicros)
		}
		q.SubtotalMicros += item.Quantity * item.PriceMicros
		if len(t.Categories) > 0 && !containsText(t.Categories, item.Category) {
			continue
		}
		base += item.Quantity * item.PriceMicros
		for range item.Quantity {
			pieces = append(pieces, item.PriceMicros)
		}
	}
	q.Reason = o.refusal(t, c, pieces, base)
	if q.Applied = q.Reason == ""; q.Applied {
		o.apply(t, c, pieces, base, &q)
	}
	q.PayMicros = q.SubtotalMicros + q.ShippingMicros - q.DiscountMicros
	return q, nil
}

// refusal is why an offer does not hold for a cart; "" when it does.
func (o *Offer) refusal(t OfferTerms, c Cart, pieces []int64, base int64) string {
	switch {
	case len(pieces) == 0:
		return OfferEmptyCart
	case !c.Time.IsZero() && o.StartsAt != nil && c.Time.Before(*o.StartsAt):
		return OfferNotStarted
	case !c.Time.IsZero() && o.EndsAt != nil && !c.Time.Before(*o.EndsAt):
		return OfferEnded
	case t.Threshold != nil && base < micros(*t.Threshold), len(t.Tiers) > 0 && base < micros(t.Tiers[0].Threshold):
		return OfferBelowThreshold
	case o.Kind == "bundle" && int64(len(pieces)) < *t.Quantity,
		o.Kind == "buy_x_get_y" && int64(len(pieces)) < *t.Buy+*t.Get:
		return OfferTooFewItems
	case o.Kind == "first_order" && !c.FirstOrder:
		return OfferNotFirstOrder
	case o.Kind == "points" && c.Points <= 0:
		return OfferNoPoints
	}
	return ""
}

// apply writes what an offer that holds does.
func (o *Offer) apply(t OfferTerms, c Cart, pieces []int64, base int64, q *Quote) {
	switch o.Kind {
	case "timed_discount":
		q.DiscountMicros = part(base, *t.Share)
	case "spend_threshold":
		if len(t.Tiers) > 0 {
			for _, tier := range t.Tiers {
				if base >= micros(tier.Threshold) {
					q.DiscountMicros = micros(tier.Off)
				}
			}
			break
		}
		times := int64(1)
		if t.Repeat {
			times = base / micros(*t.Threshold)
		}
		q.DiscountMicros = times * micros(*t.Off)
	case "bundle":
		if t.Share != nil {
			q.DiscountMicros = part(base, *t.Share)
		} else {
			q.DiscountMicros = micros(*t.Off)
		}
	case "buy_x_get_y":
		sort.Slice(pieces, func(a, b int) bool { return pieces[a] < pieces[b] })
		for _, price := range pieces[:int64(len(pieces))/(*t.Buy+*t.Get)*(*t.Get)] {
			q.DiscountMicros += price
		}
	case "first_order":
		q.DiscountMicros = micros(*t.Off)
	case "free_shipping":
		q.DiscountMicros, q.ShippingMicros = 0, 0
		q.CostMicros = c.ShippingMicros
	case "points":
		one := micros(*t.PointValue)
		use := c.Points
		if t.MaxPoints != nil {
			use = min(use, *t.MaxPoints)
		}
		use = min(use, base/max(1, one))
		q.PointsUsed, q.DiscountMicros = use, use*one
	case "gift", "service":
		if o.UnitCost != nil {
			q.CostMicros = micros(*o.UnitCost)
		}
	}
	q.DiscountMicros = min(q.DiscountMicros, base)
}

// micros rounds major units to micros.
func micros(units float64) int64 { return int64(math.Round(units * 1e6)) }

// part is a share of an amount, rounded down to a micro, in integers so that it is the same everywhere: shares have a millionth as step.
func part(amount int64, share float64) int64 {
	ppm := int64(math.Round(share * 1e6))
	return amount/1e6*ppm + amount%1e6*ppm/1e6
}

func containsText(list []string, text string) bool {
	for _, x := range list {
		if x == text {
			return true
		}
	}
	return false
}

// LintFinding is a fault of an offer's rules that a person should repair before customers read them. Level is error or warning.
type LintFinding struct {
	Level  string `json:"level"`
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail Text   `json:"detail"`
}

// forbidden are phrases that Chinese consumer law takes for unfair standard terms, and why.
var forbidden = []struct {
	phrase string
	why    Text
}{
	{"最终解释权", Text{"“最终解释权”属于无效的格式条款，会引来投诉，请删掉。", "A clause that reserves the “final interpretation” is void as a standard term and draws complaints: remove it."}},
	{"概不退换", Text{"“概不退换”排除了消费者的法定权利，请删掉。", "“No returns whatsoever” excludes statutory rights: remove it."}},
	{"解释权归", Text{"保留解释权属于无效的格式条款，请删掉。", "Reserving the interpretation is void as a standard term: remove it."}},
	{"right of final interpretation", Text{"保留最终解释权的条款无效，请删掉。", "A right of final interpretation is void in consumer terms: remove it."}},
}

// Lint reads an offer as a careful colleague would: rules in both languages, nothing void in them, an end and a quota where they are promised.
func (o *Offer) Lint() []LintFinding {
	var list []LintFinding
	add := func(level, field, code string, detail Text) {
		list = append(list, LintFinding{level, field, code, detail})
	}
	for field, text := range map[string]string{"rules.zh": o.Rules.ZH, "rules.en": o.Rules.EN} {
		if strings.TrimSpace(text) == "" {
			add("error", field, "rules_missing", Text{"没有写活动规则；没有规则的活动不能发布。", "The rules are missing; an offer without rules must not be published."})
			continue
		}
		for _, f := range forbidden {
			if strings.Contains(strings.ToLower(text), f.phrase) {
				add("warning", field, "void_clause", f.why)
				break
			}
		}
	}
	if o.Kind == "first_order" && len(o.Eligibility) == 0 {
		add("warning", "eligibility", "anyone", Text{"首单优惠没有限定资格，老顾客也会进入实验；请加上 orders_all < 1。", "A first-order offer without eligibility lets old customers in: add orders_all < 1."})
	}
	if o.EndsAt == nil && o.Kind == "timed_discount" {
		add("warning", "ends_at", "no_end", Text{"限时优惠没有结束时间。", "A timed discount has no end."})
	}
	if o.UnitCost == nil && (o.Kind == "gift" || o.Kind == "service") {
		add("warning", "unit_cost", "no_cost", Text{"没有填单位成本，利润会被高估。", "Without unit_cost profit is overstated."})
	}
	if _, err := o.ParsedTerms(); err != nil {
		add("error", "terms", "terms_invalid", Text{"条款不完整：" + err.Error(), "The terms are incomplete: " + err.Error()})
	}
	sort.Slice(list, func(a, b int) bool { return list[a].Field+list[a].Code < list[b].Field+list[b].Code })
	return list
}

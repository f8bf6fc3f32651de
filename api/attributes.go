package api

import (
	"time"

	"perennial/experiments"
	"perennial/features"
	"perennial/features/lake"
)

// serverAttributes is what the server knows of a unit: scores and features of the newest snapshot, and today's counts.
type serverAttributes struct {
	p     *features.Profiles
	row   int32
	found bool

	unit   string
	person []string // every id of the unit's person; nil when it has one id
	now    time.Time
	shop   *features.Shop
	lake   *lake.Lake
	today  bool // one of today's counts was asked for
}

// Attribute returns a score, a feature or one of today's counts (orders_today, cart_today, days_since_last_order). A unit without a row is a prospect
// without orders; everything else about it is missing (CONTRACT §5).
func (a *serverAttributes) Attribute(name string) experiments.Value {
	switch name {
	case "orders_today", "cart_today", "days_since_last_order":
		a.today = true
		return a.overlay(name)
	}
	if !a.found {
		return prospect(name)
	}
	number, text, isText, null, ok := a.p.At(a.row, name)
	switch {
	case !ok || null: // of a user whose traits were imported and who never ordered, too
		return prospect(name)
	case isText:
		return experiments.Value{Kind: experiments.Text_, Text: text}
	}
	return experiments.Value{Kind: experiments.Number, Num: number}
}

// prospect is what is known of a unit without orders.
func prospect(name string) experiments.Value {
	switch name {
	case "stage":
		return experiments.Value{Kind: experiments.Text_, Text: "prospect"}
	case "orders_all":
		return experiments.Value{Kind: experiments.Number}
	}
	return experiments.Value{}
}

// overlay reads what became known since midnight, unsealed events included, over last night's snapshot.
func (a *serverAttributes) overlay(name string) experiments.Value {
	orders, carts, last := recentOf(a.lake, a.unit, a.person)
	switch name {
	case "orders_today":
		return experiments.Value{Kind: experiments.Number, Num: float64(orders)}
	case "cart_today":
		return experiments.Value{Kind: experiments.Number, Num: float64(carts)}
	}
	today := a.shop.DayOf(a.now)
	if !last.IsZero() {
		return experiments.Value{Kind: experiments.Number, Num: max(0, float64(today-a.shop.DayOf(last)))}
	}
	if a.found {
		if days, _, isText, null, ok := a.p.At(a.row, "recency_days"); ok && !null && !isText {
			return experiments.Value{Kind: experiments.Number, Num: days + float64(today-a.p.AsOf)}
		}
	}
	return experiments.Value{}
}

// add keeps a sent attribute. The evaluator never reads one whose name the server owns.
func (a *sentAttributes) add(name string, v experiments.Value) {
	if v.Kind != experiments.Missing {
		a.list = append(a.list, sentAttribute{name, v})
	}
}

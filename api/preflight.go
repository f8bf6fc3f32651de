package api

import (
	"context"
	"math"

	"perennial/experiments"
)

// historyDays is how far back the features reach that a preflight plans with.
const historyDays = 90

// managePreflight registers POST /v1/experiments/preflight.
func (s *Server) managePreflight() {
	manageOp(s, readers, "experiments", "POST", "/v1/experiments/preflight", "preflight-experiment", "What would this experiment need?", s.before,
		describe("Nothing is stored: whom the definition reaches now, how many customers and days it needs, what its offers cost, and what should be looked at before a start. Planned from the newest features."))
}

func (s *Server) before(ctx context.Context, in *struct{ Body experiments.Definition }) (*body[experiments.Preflight], error) {
	d := in.Body
	offers, err := s.o.Store.Offers(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.o.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	a, p := s.audience(ctx, &d, offers)
	if p != nil {
		return nil, p
	}
	for _, e := range list {
		if e.Status == experiments.Running && e.Key != d.Key {
			a.RunningOthers = append(a.RunningOthers, e.Key)
		}
	}
	return &body[experiments.Preflight]{experiments.PreflightOf(d, offers, a, s.o.Shop.MarginRate, s.o.Shop.Currency)}, nil
}

// audience counts who meets the targeting now, and what they did in the last 90 days, scaled to the outcome window.
func (s *Server) audience(ctx context.Context, d *experiments.Definition, offers []experiments.Offer) (experiments.Audience, *Problem) {
	days := d.Plan.WithDefaults().HorizonDays
	out := experiments.Audience{WindowDays: days, HistoryDays: historyDays}
	q, no := s.newAsk(ctx)
	if no != nil {
		return out, no
	}
	defer q.free()
	profiles := q.p.profiles
	if profiles == nil {
		return out, unscored()
	}
	rules := d.Targeting
	for _, v := range d.Variants {
		for i := range offers {
			if offers[i].Key == v.Offer {
				rules = append(rules[:len(rules):len(rules)], offers[i].Eligibility...)
			}
		}
	}
	match := experiments.NewMatcher(rules, q.p.owns())
	scale := float64(days) / historyDays
	var came, ordered, n, orders, revenue, squares, all float64
	for row, user := range profiles.Users() {
		if len(rules) > 0 {
			q.about(user)
			if !match.Hold(&q.unit) {
				continue
			}
		}
		n++
		at := func(column string) float64 {
			if v := number(profiles, int32(row), column); v != nil {
				return *v
			}
			return 0
		}
		k, r := at("orders_90d"), at("revenue_90d")
		orders += k
		revenue += r
		squares += r * r
		all += at("orders_all")
		came += math.Max(at("active_days_30")/30, at("orders_30d")/30)
		if k > 0 {
			ordered += 1 - math.Pow(1-math.Min(1, scale), k)
		}
	}
	out.Users, out.Known = int64(n), int64(profiles.Len())
	if n == 0 {
		return out, nil
	}
	mean := revenue / n
	out.Orders, out.OrderRate, out.Revenue, out.PerDay = orders/n*scale, ordered/n, mean*scale, came
	// Spend of disjoint windows is close to independent given the customer, so its variance grows with the window's length, not with its square.
	out.RevenueSD = math.Sqrt(math.Max(0, squares/n-mean*mean) * scale)
	if orders > 0 {
		out.AOV = revenue / orders
	}
	return out, nil
}

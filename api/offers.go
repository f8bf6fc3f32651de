package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"perennial/experiments"
	"perennial/features"
)

// priceBody asks what an offer does to a cart: one of the catalogue by key, or one that is not stored yet.
type priceBody struct {
	Key        string             `json:"key,omitempty" maxLength:"128"`
	Offer      *experiments.Offer `json:"offer,omitempty"`
	Items      []priceItem        `json:"items" maxItems:"500"`
	Shipping   float64            `json:"shipping,omitempty" minimum:"0" maximum:"1e6"`
	FirstOrder bool               `json:"first_order,omitempty"`
	Points     int64              `json:"points,omitempty" minimum:"0"`
	At         *time.Time         `json:"at,omitempty" doc:"When the cart is paid; now by default"`
}

type priceItem struct {
	ProductID string  `json:"product_id,omitempty"`
	Category  string  `json:"category,omitempty"`
	Quantity  int64   `json:"quantity" minimum:"1" maximum:"100000"`
	Price     float64 `json:"price" minimum:"0" maximum:"1e9"`
}

// Priced is what an offer does to a cart, in the shop's currency.
type Priced struct {
	Applied    bool    `json:"applied"`
	Reason     *string `json:"reason" doc:"Why not: empty_cart not_started ended below_threshold too_few_items not_first_order no_points"`
	Subtotal   float64 `json:"subtotal"`
	Shipping   float64 `json:"shipping" doc:"After the offer"`
	Discount   float64 `json:"discount"`
	Pay        float64 `json:"pay"`
	Cost       float64 `json:"cost" doc:"What the offer costs the shop beside the discount: a gift, a service, the shipping"`
	PointsUsed int64   `json:"points_used"`
	Currency   string  `json:"currency"`
}

// manageOffers registers what the catalogue answers about offers: the cart calculator, the check of the rules, and earlier versions.
func (s *Server) manageOffers() {
	const tag = "catalogue"
	manageOp(s, readers|client, tag, "POST", "/v1/offers/price", "price-offer", "What does an offer do to a cart?", s.price,
		describe("For an offer of the catalogue by key, or one that is only being written."))
	type findings struct {
		Findings []experiments.LintFinding `json:"findings"`
	}
	manageOp(s, readers, tag, "POST", "/v1/offers/lint", "lint-offer", "What is wrong with an offer's rules?", func(_ context.Context, in *struct{ Body experiments.Offer }) (*body[findings], error) {
		return &body[findings]{findings{orEmpty(in.Body.Lint())}}, nil
	}, describe("An offer with a finding of level error cannot be given by a running experiment."))
	type versions struct {
		Versions []experiments.Offer `json:"versions"`
	}
	manageOp(s, readers, tag, "GET", "/v1/offers/{key}/versions", "list-offer-versions", "Every version of an offer, oldest first", func(ctx context.Context, in *ByKey) (*body[versions], error) {
		list, err := s.o.Store.OfferVersions(ctx, in.Key)
		return &body[versions]{versions{orEmpty(list)}}, err
	})
}

func (s *Server) price(ctx context.Context, in *struct{ Body priceBody }) (*body[Priced], error) {
	o := in.Body.Offer
	if o == nil {
		list, err := s.o.Store.Offers(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(x experiments.Offer) bool { return x.Key == in.Body.Key })
		if i < 0 {
			return nil, problem(http.StatusNotFound, "no offer %.64q", in.Body.Key)
		}
		o = &list[i]
	}
	cart := experiments.Cart{FirstOrder: in.Body.FirstOrder, Points: in.Body.Points, Time: s.o.Now()}
	if in.Body.At != nil {
		cart.Time = *in.Body.At
	}
	shipping, err := features.MicrosOf(in.Body.Shipping)
	if err != nil {
		return nil, invalid("shipping", "%v", err)
	}
	cart.ShippingMicros = int64(shipping)
	for _, x := range in.Body.Items {
		price, err := features.MicrosOf(x.Price)
		if err != nil {
			return nil, invalid("items", "%v", err)
		}
		cart.Items = append(cart.Items, experiments.CartItem{ProductID: x.ProductID, Category: x.Category, Quantity: x.Quantity, PriceMicros: int64(price)})
	}
	q, err := o.Price(cart)
	if err != nil {
		return nil, err
	}
	units := func(micros int64) float64 { return features.Micros(micros).Float64() }
	out := Priced{Applied: q.Applied, Subtotal: units(q.SubtotalMicros), Shipping: units(q.ShippingMicros), Discount: units(q.DiscountMicros), Pay: units(q.PayMicros), Cost: units(q.CostMicros),
		PointsUsed: q.PointsUsed, Currency: s.o.Shop.Currency}
	if q.Reason != "" {
		out.Reason = &q.Reason
	}
	return &body[Priced]{out}, nil
}

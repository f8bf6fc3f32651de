package api

import (
	"context"

	"perennial/experiments"
)

// manageCatalogue registers layers, holdouts, offers and metrics: lists, and creation or replacement by key.
func (s *Server) manageCatalogue() {
	type layerList struct {
		Layers []experiments.Layer `json:"layers"`
	}
	type holdoutList struct {
		Holdouts []experiments.Holdout `json:"holdouts"`
	}
	type offerList struct {
		Offers []experiments.Offer `json:"offers"`
	}
	type metricList struct {
		Metrics []experiments.MetricDef `json:"metrics"`
	}
	const tag = "catalogue"
	manageOp(s, readers, tag, "GET", "/v1/layers", "list-layers", "Every layer", func(ctx context.Context, _ *none) (*body[layerList], error) {
		list, err := s.o.Store.Layers(ctx)
		return &body[layerList]{layerList{orEmpty(list)}}, err
	})
	manageOp(s, writers, tag, "POST", "/v1/layers", "put-layer", "Create or replace a layer", func(ctx context.Context, in *struct{ Body experiments.Layer }) (*body[*experiments.Layer], error) {
		out, err := s.o.Store.PutLayer(ctx, in.Body, callerOf(ctx).By())
		return stored(ctx, s, out, err)
	}, created)
	manageOp(s, readers, tag, "GET", "/v1/holdouts", "list-holdouts", "Every holdout", func(ctx context.Context, _ *none) (*body[holdoutList], error) {
		list, err := s.o.Store.Holdouts(ctx)
		return &body[holdoutList]{holdoutList{orEmpty(list)}}, err
	})
	manageOp(s, writers, tag, "POST", "/v1/holdouts", "put-holdout", "Create or replace a holdout", func(ctx context.Context, in *struct{ Body experiments.Holdout }) (*body[*experiments.Holdout], error) {
		out, err := s.o.Store.PutHoldout(ctx, in.Body, callerOf(ctx).By())
		return stored(ctx, s, out, err)
	}, created)
	manageOp(s, readers, tag, "GET", "/v1/offers", "list-offers", "The promotions of the catalogue", func(ctx context.Context, _ *none) (*body[offerList], error) {
		list, err := s.o.Store.Offers(ctx)
		return &body[offerList]{offerList{orEmpty(list)}}, err
	})
	manageOp(s, writers, tag, "POST", "/v1/offers", "put-offer", "Create or replace an offer", func(ctx context.Context, in *struct{ Body experiments.Offer }) (*body[*experiments.Offer], error) {
		out, err := s.o.Store.PutOffer(ctx, in.Body, callerOf(ctx).By())
		return stored(ctx, s, out, err)
	}, created)
	s.manageOffers()
	manageOp(s, readers, tag, "GET", "/v1/metrics", "list-metrics", "Built-in and own metrics", func(ctx context.Context, _ *none) (*body[metricList], error) {
		list, err := s.o.Store.MetricDefs(ctx)
		return &body[metricList]{metricList{orEmpty(list)}}, err
	})
	manageOp(s, writers, tag, "POST", "/v1/metrics", "put-metric", "Create or replace a metric", func(ctx context.Context, in *struct{ Body experiments.MetricDef }) (*body[*experiments.MetricDef], error) {
		out, err := s.o.Store.PutMetric(ctx, in.Body, callerOf(ctx).By())
		return stored(ctx, s, out, err)
	}, created)
}

func stored[T any](ctx context.Context, s *Server, out T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{out}, s.reload(ctx)
}

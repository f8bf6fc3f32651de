package api

import (
	"context"
	"fmt"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
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
	manageOp(s, readers, catalogueTag, "GET", "/v1/layers", "list-layers", "Every layer", func(ctx context.Context, _ *none) (*body[layerList], error) {
		list, err := s.o.Store.Layers(ctx)
		return &body[layerList]{layerList{orEmpty(list)}}, err
	})
	catalogued(s, "layer", s.o.Store.Layers, s.o.Store.PutLayer, func(l *experiments.Layer) string { return l.Key })
	manageOp(s, readers, catalogueTag, "GET", "/v1/holdouts", "list-holdouts", "Every holdout", func(ctx context.Context, _ *none) (*body[holdoutList], error) {
		list, err := s.o.Store.Holdouts(ctx)
		return &body[holdoutList]{holdoutList{orEmpty(list)}}, err
	})
	catalogued(s, "holdout", s.o.Store.Holdouts, s.o.Store.PutHoldout, func(h *experiments.Holdout) string { return h.Key })
	manageOp(s, readers, catalogueTag, "GET", "/v1/offers", "list-offers", "The promotions of the catalogue", func(ctx context.Context, _ *none) (*body[offerList], error) {
		list, err := s.o.Store.Offers(ctx)
		return &body[offerList]{offerList{orEmpty(list)}}, err
	})
	catalogued(s, "offer", s.o.Store.Offers, s.o.Store.PutOffer, func(o *experiments.Offer) string { return o.Key })
	s.manageOffers()
	manageOp(s, readers, catalogueTag, "GET", "/v1/metrics", "list-metrics", "The metrics that the shop defined; built-in ones need no definition", func(ctx context.Context, _ *none) (*body[metricList], error) {
		list, err := s.o.Store.MetricDefs(ctx)
		return &body[metricList]{metricList{orEmpty(list)}}, err
	})
	catalogued(s, "metric", s.o.Store.MetricDefs, s.o.Store.PutMetric, func(m *experiments.MetricDef) string { return m.Key })
	type revisions struct {
		Revisions []experiments.MetricDef `json:"revisions"`
	}
	manageOp(s, readers, catalogueTag, "GET", "/v1/metrics/{key}/revisions", "list-metric-revisions", "Every revision of a metric, oldest first", func(ctx context.Context, in *ByKey) (*body[revisions], error) {
		list, err := s.o.Store.MetricRevisions(ctx, in.Key)
		return &body[revisions]{revisions{orEmpty(list)}}, err
	}, describe("POST an older one to /v1/metrics to make it the newest."))
}

const catalogueTag = "catalogue"

// object is one object of the catalogue with its ETag.
type object[T any] struct {
	ETag string `header:"ETag" doc:"Of what is stored: send it in If-Match"`
	Body *T
}

// catalogued registers the reading of one object of a kind and its creation or replacement.
func catalogued[T any](s *Server, kind string, list func(context.Context) ([]T, error), put func(context.Context, T, string) (*T, error), key func(*T) string) {
	answer := func(v *T, err error) (*object[T], error) {
		if err != nil {
			return nil, err
		}
		tag, err := sqlstore.TagOf(v)
		return &object[T]{tag, v}, err
	}
	manageOp(s, writers, catalogueTag, "POST", "/v1/"+kind+"s", "put-"+kind, "Create or replace "+article(kind), func(ctx context.Context, in *struct {
		IfMatch string `header:"If-Match" doc:"ETag of what was read; 412 when it has changed since"`
		Body    T
	}) (*object[T], error) {
		v, err := put(sqlstore.IfMatch(ctx, in.IfMatch), in.Body, callerOf(ctx).By())
		if err == nil {
			err = s.reload(ctx)
		}
		return answer(v, err)
	}, created)
	manageOp(s, readers, catalogueTag, "GET", "/v1/"+kind+"s/{key}", "get-"+kind, "One "+kind, func(ctx context.Context, in *ByKey) (*object[T], error) {
		all, err := list(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if key(&all[i]) == in.Key {
				return answer(&all[i], nil)
			}
		}
		return nil, fmt.Errorf("%s %s: %w", kind, in.Key, experiments.ErrNotFound)
	})
}

func article(kind string) string {
	if kind == "offer" {
		return "an offer"
	}
	return "a " + kind
}

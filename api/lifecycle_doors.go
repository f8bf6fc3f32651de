package api

import (
	"context"
	"net/http"

	"perennial/features"
)

// Lifecycle answers the questions about customers over time; every answer is of complete days, as known at its cut.
type Lifecycle interface {
	Stages(context.Context, LifecycleQuery) (*features.StageHistory, error)
	Transitions(context.Context, LifecycleQuery) (*features.Transitions, error)
	Retention(context.Context, LifecycleQuery) (*features.Retention, error)
	Cohorts(context.Context, LifecycleQuery) (*features.Cohorts, error)
	Economics(context.Context, LifecycleQuery) (*features.Economics, error)
}

// LifecycleQuery narrows a question; zero fields take the defaults that the answers show.
type LifecycleQuery struct {
	AsOf, From, To string
	Step           int
	Vocabulary     string
	Unit           string
	Definition     string
	Born, Activity string
	Days           []int
	Horizon        int
}

type span struct {
	AsOf string `query:"as_of" format:"date" doc:"The cut: only what was known before it counts. Default: after the last complete day"`
	From string `query:"from" format:"date" doc:"First day"`
}

type words struct {
	Vocabulary string `query:"vocabulary" enum:"stages,growth,phases,operations,viral,purchase,funnel" doc:"The words for the stages. Default: the configured ones"`
}

type comeback struct {
	To       string `query:"to" format:"date" doc:"The day after the last"`
	Born     string `query:"born" enum:"order,any" doc:"What begins a user: her first order (default), or the first thing she did"`
	Activity string `query:"activity" enum:"order,any" doc:"What counts as coming back: any activity (default), or an order"`
}

// manageLifecycle registers the doors of customers over time.
func (s *Server) manageLifecycle() {
	const tag = "customers"
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/stages", "list-stages", "Customers by stage, day by day", func(ctx context.Context, in *struct {
		span
		words
		Step int `query:"step" minimum:"1" maximum:"31" default:"1" doc:"Days between two counts"`
	}) (*body[*features.StageHistory], error) {
		return answerLifecycle(ctx, s, Lifecycle.Stages, LifecycleQuery{AsOf: in.AsOf, From: in.From, Vocabulary: in.Vocabulary, Step: in.Step})
	})
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/transitions", "list-transitions", "How customers moved between the stages, day by day", func(ctx context.Context, in *struct {
		span
		words
	}) (*body[*features.Transitions], error) {
		return answerLifecycle(ctx, s, Lifecycle.Transitions, LifecycleQuery{AsOf: in.AsOf, From: in.From, Vocabulary: in.Vocabulary})
	}, describe("The moves out of a stage sum to the users that stood in it the day before."))
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/retention", "get-retention", "Who came back on day n, and on day n or later", func(ctx context.Context, in *struct {
		span
		comeback
		Days []int `query:"days" maxItems:"60" doc:"Days after the first one. Default: 1, 7, 30"`
	}) (*body[*features.Retention], error) {
		return answerLifecycle(ctx, s, Lifecycle.Retention, LifecycleQuery{AsOf: in.AsOf, From: in.From, To: in.To, Born: in.Born, Activity: in.Activity, Days: in.Days})
	}, describe("Only users who have lived through the day are counted."))
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/cohorts", "list-cohorts", "Retention by the period of the first day: the heat map", func(ctx context.Context, in *struct {
		span
		comeback
		Unit       string `query:"unit" enum:"day,week,month" doc:"Length of a period: a day, 7 days, or 30 days (default)"`
		Definition string `query:"definition" enum:"classic,unbounded" doc:"Back in the period (default), or in it or later"`
	}) (*body[*features.Cohorts], error) {
		return answerLifecycle(ctx, s, Lifecycle.Cohorts, LifecycleQuery{AsOf: in.AsOf, From: in.From, To: in.To, Born: in.Born, Activity: in.Activity, Unit: in.Unit, Definition: in.Definition})
	})
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/economics", "get-economics", "ARPU, repurchase, refunds, reactivation; CAC, LTV:CAC and payback by channel", func(ctx context.Context, in *struct {
		span
		To      string `query:"to" format:"date" doc:"The day after the last"`
		Horizon int    `query:"horizon" minimum:"0" maximum:"730" doc:"Days of margin that are held against the cost of a customer. Default: 90"`
	}) (*body[*features.Economics], error) {
		return answerLifecycle(ctx, s, Lifecycle.Economics, LifecycleQuery{AsOf: in.AsOf, From: in.From, To: in.To, Horizon: in.Horizon})
	}, describe("Costs come from `perennial import costs`. What cannot be computed is null beside a reason."))
	manageOp(s, readers, tag, "GET", "/v1/lifecycle/vocabularies", "list-vocabularies", "The presets of words for the seven stages", func(context.Context, *none) (*body[vocabulariesAnswer], error) {
		return &body[vocabulariesAnswer]{vocabulariesAnswer{features.Vocabularies}}, nil
	})
}

type vocabulariesAnswer struct {
	Vocabularies []features.Vocabulary `json:"vocabularies"`
}

// answerLifecycle asks the program behind the doors, where there is one.
func answerLifecycle[T any](ctx context.Context, s *Server, ask func(Lifecycle, context.Context, LifecycleQuery) (T, error), q LifecycleQuery) (*body[T], error) {
	if s.o.Lifecycle == nil {
		return nil, problem(http.StatusServiceUnavailable, "the lifecycle is not available on this server")
	}
	doc, err := ask(s.o.Lifecycle, ctx, q)
	if err != nil {
		return nil, err
	}
	return &body[T]{doc}, nil
}

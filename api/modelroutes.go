package api

import (
	"context"
	"net/http"
)

// manageModels registers model cards, promotion and published runs.
func (s *Server) manageModels() {
	const tag = "models"
	call := func(ctx context.Context, f func(context.Context) (any, error), what string) (*body[any], error) {
		if f == nil {
			return nil, problem(http.StatusServiceUnavailable, "%s are not available on this server", what)
		}
		doc, err := f(ctx)
		return &body[any]{doc}, err
	}
	manageOp(s, readers, tag, "GET", "/v1/models", "list-models", "Model cards, newest first", func(ctx context.Context, _ *none) (*body[any], error) {
		return call(ctx, s.o.Models, "models")
	})
	type promoteBody struct {
		Version string `json:"version" required:"true" doc:"Version of the model that becomes champion"`
	}
	manageOp(s, owners, tag, "POST", "/v1/models/{name}/promote", "promote-model", "Make a challenger the champion", func(ctx context.Context, in *struct {
		Name string `path:"name" enum:"churn,ltv" doc:"churn or ltv"`
		Body promoteBody
	}) (*body[any], error) {
		if s.o.Promote == nil {
			return nil, problem(http.StatusServiceUnavailable, "promotion is not available on this server")
		}
		doc, err := s.o.Promote(ctx, in.Name, in.Body.Version, callerOf(ctx).By())
		return &body[any]{doc}, err
	}, describe("The next night scores with it."))
	manageOp(s, readers, "customers", "GET", "/v1/users/{id}/why", "why-user", "Why a user's score moved between two nights", func(ctx context.Context, in *struct {
		ID     string `path:"id" maxLength:"512"`
		Target string `query:"target" enum:"churn,ltv" default:"churn"`
		From   string `query:"from" maxLength:"10" doc:"The older cut; the run before the newer one without it"`
		To     string `query:"to" maxLength:"10" doc:"The newer cut; the newest run without it"`
	}) (*body[any], error) {
		if s.o.Why == nil {
			return nil, problem(http.StatusServiceUnavailable, "explanations are not available on this server")
		}
		doc, err := s.o.Why(ctx, in.ID, in.Target, in.From, in.To)
		return &body[any]{doc}, err
	}, describe("features_part and model_part make the difference; moves share features_part among the features."))
	manageOp(s, readers, "customers", "GET", "/v1/scores/changes", "list-score-changes", "Who changed band or stage, oldest first", func(ctx context.Context, in *struct {
		Since  string `query:"since" maxLength:"10" doc:"Changes of runs after this date; of the newest run alone without it"`
		Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before, with the same since"`
		Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
	}) (*body[any], error) {
		if s.o.Changes == nil {
			return nil, problem(http.StatusServiceUnavailable, "changes are not available on this server")
		}
		doc, err := s.o.Changes(ctx, in.Since, in.Cursor, in.Limit)
		return &body[any]{doc}, err
	})
	manageOp(s, readers, tag, "GET", "/v1/runs", "list-runs", "Published score runs, newest first", func(ctx context.Context, _ *none) (*body[any], error) {
		return call(ctx, s.o.Runs, "runs")
	})
}

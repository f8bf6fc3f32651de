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
	manageOp(s, readers, tag, "GET", "/v1/runs", "list-runs", "Published score runs, newest first", func(ctx context.Context, _ *none) (*body[any], error) {
		return call(ctx, s.o.Runs, "runs")
	})
}

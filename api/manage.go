package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
)

// none is an operation without input beyond its path.
type none struct{}

// ByKey is an operation on one object by key.
type ByKey struct {
	Key string `path:"key" doc:"Key of the object" maxLength:"128"`
}

// body is an answer that is only a body.
type body[T any] struct{ Body T }

// tagged is one experiment with its ETag.
type tagged struct {
	ETag string `header:"ETag" doc:"The revision: send it in If-Match"`
	Body *experiments.Experiment
}

func withTag(e *experiments.Experiment, err error) (*tagged, error) {
	if err != nil {
		return nil, err
	}
	return &tagged{ETag: etagOf(e.Revision), Body: e}, nil
}

func created(op *huma.Operation)     { op.DefaultStatus = http.StatusCreated }
func accepted202(op *huma.Operation) { op.DefaultStatus = http.StatusAccepted }
func noContent(op *huma.Operation)   { op.DefaultStatus = http.StatusNoContent }
func describe(text string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Description = text + " " + op.Description }
}

// manage registers the management doors.
func (s *Server) manage() {
	s.manageExperiments()
	s.manageCatalogue()
	s.manageAdministration()
	s.manageCustomers()
	s.manageModels()
	s.manageJobs()
	s.manageExplain()
	s.manageUpstream()
	s.manageMeasures()
	s.managePreflight()
	s.manageErasure()
}

// changeInput is an action on an experiment. A merge patch has raw members, so that a payload's 2.0 stays 2.0.
type changeInput[T any] struct {
	ByKey
	IfMatch string `header:"If-Match" doc:"ETag of the revision that was read; 412 when it has changed since"`
	Body    *T     `required:"false"`
}

type (
	rampBody struct {
		Coverage float64 `json:"coverage" required:"true" doc:"New share of all buckets, 0 to 1; a ramp only adds units"`
	}
	decideBody struct {
		Variant string `json:"variant" required:"true"`
		Reason  string `json:"reason,omitempty"`
	}
	emptyBody struct{}
)

func (s *Server) manageExperiments() {
	type experimentList struct {
		Experiments []experiments.Experiment `json:"experiments"`
	}
	const tag, root = "experiments", "/v1/experiments"
	manageOp(s, readers, tag, "GET", root, "list-experiments", "Every experiment, newest first", func(ctx context.Context, _ *none) (*body[experimentList], error) {
		list, err := s.o.Store.List(ctx)
		return &body[experimentList]{experimentList{orEmpty(list)}}, err
	})
	manageOp(s, writers, tag, "POST", root, "create-experiment", "Create a draft", func(ctx context.Context, in *struct{ Body experiments.Definition }) (*tagged, error) {
		e, err := s.o.Store.Create(ctx, in.Body, callerOf(ctx).By())
		return s.changed(ctx, e, err)
	}, created, describe("Salt and allocation are filled in when they are not given; an allocation that is given wins over weights and coverage."))
	manageOp(s, readers, tag, "GET", root+"/{key}", "get-experiment", "One experiment", func(ctx context.Context, in *ByKey) (*tagged, error) {
		return withTag(s.o.Store.Get(ctx, in.Key))
	})
	manageOp(s, writers, tag, "PATCH", root+"/{key}", "patch-experiment", "Change a definition by merge patch (RFC 7386)", func(ctx context.Context, in *changeInput[map[string]json.RawMessage]) (*tagged, error) {
		return s.change(ctx, in.Key, "patch", in.IfMatch, in.Body)
	}, describe("New weights keep every enrolled unit that can stay."))
	for action, summary := range map[string]string{"start": "Start a draft, or start again", "stop": "Stop: everybody gets the control", "archive": "Put a stopped experiment away"} {
		manageOp(s, writers, tag, "POST", root+"/{key}/"+action, action+"-experiment", summary, func(ctx context.Context, in *changeInput[emptyBody]) (*tagged, error) {
			return s.change(ctx, in.Key, action, in.IfMatch, nil)
		})
	}
	manageOp(s, writers, tag, "POST", root+"/{key}/ramp", "ramp-experiment", "Raise the coverage", func(ctx context.Context, in *changeInput[rampBody]) (*tagged, error) {
		return s.change(ctx, in.Key, "ramp", in.IfMatch, in.Body)
	})
	manageOp(s, writers, tag, "POST", root+"/{key}/decide", "decide-experiment", "Record the decision of a person", func(ctx context.Context, in *changeInput[decideBody]) (*tagged, error) {
		return s.decide(ctx, in)
	}, describe("What is known now is frozen with it as evidence."))
	manageOp(s, readers, tag, "GET", root+"/{key}/revisions", "list-revisions", "Every stored revision, oldest first", func(ctx context.Context, in *ByKey) (*body[struct {
		Revisions []experiments.Experiment `json:"revisions"`
	}], error) {
		list, err := s.o.Store.Revisions(ctx, in.Key)
		out := &body[struct {
			Revisions []experiments.Experiment `json:"revisions"`
		}]{}
		out.Body.Revisions = orEmpty(list)
		return out, err
	})
	manageOp(s, readers, tag, "GET", root+"/{key}/looks", "list-looks", "The recorded looks, oldest first", func(ctx context.Context, in *ByKey) (*body[struct {
		Looks []sqlstore.Look `json:"looks"`
	}], error) {
		out := &body[struct {
			Looks []sqlstore.Look `json:"looks"`
		}]{}
		if _, err := s.o.Store.Get(ctx, in.Key); err != nil {
			return nil, err
		}
		list, err := s.o.Store.Looks(ctx, in.Key)
		out.Body.Looks = orEmpty(list)
		return out, err
	})
	manageOp(s, writers, tag, "POST", root+"/{key}/look", "record-look", "Record a look of a sequential experiment", func(ctx context.Context, in *ByKey) (*body[any], error) {
		if s.o.Look == nil {
			return nil, problem(http.StatusServiceUnavailable, "looks are not available on this server")
		}
		doc, err := s.o.Look(ctx, in.Key)
		return &body[any]{doc}, err
	}, describe("A recorded look never changes afterwards; the first crossing stands."))
	manageOp(s, readers, tag, "GET", root+"/{key}/results", "get-results", "Effects, intervals, profit, health and decision", func(ctx context.Context, in *struct {
		ByKey
		Segment string `query:"segment" doc:"stage, churn_decile, ltv_decile or channel: one row per value" maxLength:"128"`
		Metric  string `query:"metric" doc:"Only this metric" maxLength:"128"`
		Until   string `query:"until" doc:"Facts known up to this time (RFC 3339) or date" maxLength:"64"`
	}) (*body[any], error) {
		if s.o.Results == nil {
			return nil, problem(http.StatusServiceUnavailable, "results are not available on this server")
		}
		if _, err := s.o.Store.Get(ctx, in.Key); err != nil {
			return nil, err
		}
		doc, err := s.o.Results(ctx, in.Key, ResultsQuery{Segment: in.Segment, Metric: in.Metric, Until: in.Until})
		return &body[any]{doc}, err
	})
}

// manageMeasures registers what is read beside an experiment's results: the rows behind them, and a holdout's worth.
func (s *Server) manageMeasures() {
	s.handle(http.MethodGet, "/v1/experiments/:key/dataset", doorway{who: readers}, s.dataset)
	s.document(readers, "experiments", "GET", "/v1/experiments/{key}/dataset", "get-dataset", "The rows behind the results, one per exposed unit", "Query: format (ndjson or csv), until (a date), segment. "+
		"Columns: unit_id, variant, stratum, exposed_at, the metrics with what they divide by (null until the unit's window is over), and what was known before the exposure. Every number of the results can be recomputed from it.", 200, nil, nil)
	manageOp(s, readers, "experiments", "GET", "/v1/holdouts/{key}/results", "get-holdout-results", "What everything that a holdout is kept out of was worth, in money", func(ctx context.Context, in *struct {
		ByKey
		From   string `query:"from" doc:"First day of the period; 90 days before its end by default" maxLength:"32"`
		Until  string `query:"until" doc:"The day after the period; today by default" maxLength:"32"`
		Points int    `query:"points" doc:"Also the answer at so many equal steps of the period" default:"1" minimum:"1" maximum:"12"`
	}) (*body[any], error) {
		if s.o.Holdout == nil {
			return nil, problem(http.StatusServiceUnavailable, "results are not available on this server")
		}
		doc, err := s.o.Holdout(ctx, in.Key, in.From, in.Until, in.Points)
		return &body[any]{doc}, err
	}, describe("Customers who were known before the period, by their bucket alone and whatever they met (intention to treat); intervals of a confidence sequence, valid every day."))
}

// decide records a decision together with what is known at the moment. Without results it is recorded without evidence.
func (s *Server) decide(ctx context.Context, in *changeInput[decideBody]) (*tagged, error) {
	if in.Body == nil {
		return nil, invalid("body", "is empty")
	}
	doc := map[string]any{"variant": in.Body.Variant, "reason": in.Body.Reason}
	if s.o.Results != nil {
		answer, err := s.o.Results(ctx, in.Key, ResultsQuery{})
		switch results, ok := answer.(*experiments.Results); {
		case err != nil:
			s.log.Warn("a decision has no evidence", "experiment", in.Key, "error", err)
		case ok:
			doc["evidence"] = experiments.EvidenceOf(results)
		}
	}
	return s.change(ctx, in.Key, "decide", in.IfMatch, doc)
}

// change applies an action and reloads, so that the caller's next assignment sees it.
func (s *Server) change(ctx context.Context, key, action, ifMatch string, doc any) (*tagged, error) {
	raw, err := experiments.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if string(raw) == "null" {
		raw = []byte("{}")
	}
	if action == "ramp" || action == "decide" || action == "patch" {
		if string(raw) == "{}" {
			return nil, invalid("body", "is empty")
		}
	}
	e, err := s.o.Store.Change(ctx, key, action, raw, revisionOf(ifMatch), callerOf(ctx).By())
	return s.changed(ctx, e, err)
}

func (s *Server) changed(ctx context.Context, e *experiments.Experiment, err error) (*tagged, error) {
	if err != nil {
		return nil, err
	}
	return &tagged{ETag: etagOf(e.Revision), Body: e}, s.reload(ctx)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"perennial/experiments"
	"perennial/features"
	"perennial/features/lake"
)

// FieldFault is one wrong field of a request and why.
type FieldFault struct {
	Field  string `json:"field" doc:"Path of the field, such as variants[1].weight"`
	Reason string `json:"reason" doc:"What is wrong with it"`
}

// Problem is an RFC 9457 problem document: the body of every answer that is not a success.
type Problem struct {
	Type   string       `json:"type" doc:"Always about:blank: the status says the kind"`
	Title  string       `json:"title" doc:"The status in words"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty" doc:"What happened, and the next step where there is one"`
	Errors []FieldFault `json:"errors,omitempty"`

	retryAfter int // seconds; 0 means no header
	cause      error
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// Unwrap returns the internal error of a 500, for the log.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus lets huma answer with the problem's status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders lets huma send Retry-After.
func (p *Problem) GetHeaders() http.Header {
	if p.retryAfter == 0 {
		return nil
	}
	return http.Header{"Retry-After": {strconv.Itoa(p.retryAfter)}}
}

// ContentType lets huma send application/problem+json.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problem returns a problem document of a status.
func problem(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// invalid returns a 422 of one field.
func invalid(field, format string, args ...any) *Problem {
	p := problem(http.StatusUnprocessableEntity, "the request is not valid")
	p.Errors = []FieldFault{{field, fmt.Sprintf(format, args...)}}
	return p
}

// problemOf is the one table from errors to problems. An error that it does not know is internal: its text goes to the log, not to the caller.
func problemOf(err error) *Problem {
	var p *Problem
	var many *experiments.InvalidError
	var one *features.InvalidError
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &many):
		p = problem(http.StatusUnprocessableEntity, "the request is not valid")
		for _, f := range many.Faults {
			p.Errors = append(p.Errors, FieldFault{f.Field, f.Reason})
		}
		return p
	case errors.As(err, &one):
		return invalid(one.Field, "%s", one.Reason)
	case errors.Is(err, experiments.ErrNotFound):
		return problem(http.StatusNotFound, "%s", err)
	case errors.Is(err, experiments.ErrExists):
		return problem(http.StatusConflict, "%s", err)
	case errors.Is(err, experiments.ErrStale):
		return problem(http.StatusPreconditionFailed, "%s: read the object again and send its new ETag in If-Match", err)
	case errors.Is(err, lake.ErrBehind):
		p = problem(http.StatusTooManyRequests, "the lake is behind: send the same batch again later")
		p.retryAfter = 1
		return p
	case errors.Is(err, lake.ErrDiskFull):
		p = problem(http.StatusServiceUnavailable, "disk_full: nothing was stored; free space on the server's data directory and send the same batch again")
		p.retryAfter = 30
		return p
	case errors.Is(err, lake.ErrNotServing), errors.Is(err, lake.ErrBusy):
		p = problem(http.StatusServiceUnavailable, "the journal is not open yet: nothing was stored; send the same batch again")
		p.retryAfter = 1
		return p
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes, or becomes so when it is decompressed", tooLarge.Limit)
	case errors.As(err, &kind):
		p = problem(http.StatusBadRequest, "the body has a value of the wrong type")
		p.Errors = []FieldFault{{orBody(kind.Field), "is a JSON " + kind.Value}}
		return p
	case errors.As(err, &syntax):
		return problem(http.StatusBadRequest, "the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	}
	p = problem(http.StatusInternalServerError, "the server could not answer; its log says why")
	p.cause = err
	return p
}

func orBody(field string) string {
	if field == "" {
		return "body"
	}
	return field
}

// fail answers with the problem of err and ends the chain.
func (s *Server) fail(c *gin.Context, err error) {
	p := problemOf(err)
	if p.cause != nil {
		s.log.Error("request failed", "method", c.Request.Method, "route", c.FullPath(), "error", p.cause)
	}
	if p.retryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="perennial"`)
	}
	body, _ := json.Marshal(p)
	c.Data(p.Status, "application/problem+json", body)
	c.Abort()
}

// humaError replaces huma's error model by Problem. Locations such as "body.variants[1].weight" lose their "body." so that every door names fields alike.
func humaError(status int, msg string, errs ...error) huma.StatusError {
	p := problem(status, "%s", msg)
	switch {
	case status == 0: // huma asks for the type
		return p
	case status == http.StatusUnprocessableEntity:
		p.Detail = "the request is not valid"
	case status == http.StatusUnsupportedMediaType:
		p.Detail = "send the body as JSON with Content-Type: application/json"
	}
	for _, err := range errs {
		var known *Problem
		var tooLarge *http.MaxBytesError
		if errors.As(err, &known) || errors.As(err, &tooLarge) {
			return problemOf(err)
		}
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			p.cause = err
			continue
		}
		if status == http.StatusBadRequest && d.Location == "body" {
			p.Detail = "the body is not JSON: " + d.Message
			continue
		}
		field, reason := d.Location, d.Message
		if name, ok := strings.CutPrefix(reason, "expected required property "); ok {
			name, _, _ = strings.Cut(name, " ")
			field, reason = field+"."+name, "is missing"
		}
		for _, place := range []string{"body.", "query.", "path.", "header."} {
			field = strings.TrimPrefix(field, place)
		}
		p.Errors = append(p.Errors, FieldFault{field, reason})
	}
	return p
}

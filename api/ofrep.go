package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
)

// OFREP 0.3 (open-feature/protocol), with the rules that the strictest provider of each language needs: always key, value, reason, variant and
// metadata; only the reasons of the SDKs' enums; numbers spelled as they were created; every error with key, errorCode, errorDetails and metadata.

// OFREPRequest is the question of both evaluation doors.
type OFREPRequest struct {
	Context map[string]any `json:"context" required:"true" doc:"targetingKey (the unit) and any attributes"`
}

// OFREPFlag is one answer.
type OFREPFlag struct {
	Key      string         `json:"key" required:"true"`
	Value    any            `json:"value" doc:"The variant's payload, or its key when it has none; the control's for a unit that is not enrolled"`
	Reason   string         `json:"reason" enum:"SPLIT,TARGETING_MATCH,DEFAULT,DISABLED" doc:"SPLIT: by bucket; TARGETING_MATCH: forced; DEFAULT: not enrolled; DISABLED: stopped"`
	Variant  string         `json:"variant" required:"true" doc:"not_enrolled for a unit that is not"`
	Metadata map[string]any `json:"metadata" required:"true"`
}

// OFREPBulk is every flag of one unit.
type OFREPBulk struct {
	Flags []OFREPFlag `json:"flags" required:"true"`
}

// ofrepError is the body of every OFREP answer that is not a success.
type ofrepError struct {
	Key     string   `json:"key"`
	Code    string   `json:"errorCode"`
	Details string   `json:"errorDetails"`
	Meta    struct{} `json:"metadata"`
}

// contextFault is a question that cannot be evaluated.
type contextFault struct{ code, details string }

func (f *contextFault) Error() string { return f.details }

// ofrepFail answers a problem in OFREP's form.
func ofrepFail(s *Server, c *gin.Context, err error) {
	body := ofrepError{Key: c.Param("key"), Code: "GENERAL"}
	status := http.StatusBadRequest
	var fault *contextFault
	if errors.As(err, &fault) {
		body.Code, body.Details = fault.code, fault.details
	} else {
		p := problemOf(err)
		status, body.Details = p.Status, p.Detail
		if p.cause != nil {
			s.log.Error("request failed", "route", c.FullPath(), "error", p.cause)
		}
		if p.Status == http.StatusBadRequest {
			body.Code = "PARSE_ERROR"
		}
		if p.retryAfter > 0 {
			c.Header("Retry-After", strconv.Itoa(p.retryAfter))
		}
		if p.Status == http.StatusUnauthorized {
			c.Header("WWW-Authenticate", `Bearer realm="perennial"`)
		}
	}
	if body.Key == "" {
		body.Key = "*" // the bulk door, and paths that are none
	}
	raw, _ := json.Marshal(body)
	send(c, status, raw)
	c.Abort()
}

// ofrep registers OpenFeature's doors.
func (s *Server) ofrep() {
	const root = ofrepPath
	s.handle(http.MethodPost, root+"/:key", doorway{who: apps, hot: true, cors: true, fail: ofrepFail}, s.ofrepOne)
	s.handle(http.MethodPost, root, doorway{who: browser, hot: true, knows: true, cors: true, fail: ofrepFail}, s.ofrepAll)
	s.preflight(root, root+"/:key")
	s.document(apps, "openfeature", "POST", root+"/{key}", "ofrep-evaluate", "Evaluate one flag", "OFREP 0.3. One evaluation is an exposure. Errors have key, errorCode, errorDetails and metadata.", 200, OFREPRequest{}, OFREPFlag{})
	s.document(browser, "openfeature", "POST", root, "ofrep-evaluate-all", "Evaluate every flag", "OFREP 0.3 with ETag and If-None-Match. Assignments only: report exposures when a unit meets its variant.", 200, OFREPRequest{}, OFREPBulk{})
}

// ofrepOne is POST /ofrep/v1/evaluate/flags/{key}.
func (s *Server) ofrepOne(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		ofrepFail(s, c, p)
		return
	}
	defer a.free()
	if err := a.readContext(c.Request); err != nil {
		ofrepFail(s, c, err)
		return
	}
	a.expose = exposeYes
	key := c.Param("key")
	x, err := a.answer(key)
	switch {
	case err != nil:
		ofrepFail(s, c, err)
		return
	case x.Reason == experiments.ReasonUnknown:
		raw, _ := json.Marshal(ofrepError{Key: key, Code: "FLAG_NOT_FOUND", Details: "no such experiment"})
		send(c, http.StatusNotFound, raw)
		return
	}
	a.appendFlag(&x)
	send(c, http.StatusOK, a.out)
}

// ofrepAll is POST /ofrep/v1/evaluate/flags.
func (s *Server) ofrepAll(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		ofrepFail(s, c, p)
		return
	}
	defer a.free()
	if err := a.readContext(c.Request); err != nil {
		ofrepFail(s, c, err)
		return
	}
	if err := a.signed(c); err != nil {
		ofrepFail(s, c, err)
		return
	}
	if a.unchanged(c, "ofrep", a.asked) {
		return
	}
	if err := a.appendFlags(); err != nil {
		ofrepFail(s, c, err)
		return
	}
	send(c, http.StatusOK, a.out)
}

// appendFlags evaluates every started experiment.
func (a *ask) appendFlags() error {
	a.out = append(a.out, `{"flags":[`...)
	for i, key := range a.p.keys {
		if i > 0 {
			a.out = append(a.out, ',')
		}
		x, err := a.answer(key)
		if err != nil {
			return err
		}
		a.appendFlag(&x)
	}
	a.out = append(a.out, "]}"...)
	return nil
}

// unchanged sets the ETag of the question and answers 304 when the client has it.
func (a *ask) unchanged(c *gin.Context, surface string, question []byte) bool {
	tag := a.etag(surface, question)
	h := c.Writer.Header()
	h["Etag"], h["Cache-Control"] = []string{tag}, noCache
	if sent := c.Request.Header["If-None-Match"]; len(sent) == 0 || sent[0] != tag {
		return false
	}
	c.Status(http.StatusNotModified)
	c.Writer.WriteHeaderNow()
	return true
}

var noCache = []string{"no-cache"}

// readContext reads an OFREPRequest and sets the unit.
func (a *ask) readContext(r *http.Request) error {
	if err := a.read(r); err != nil {
		return err
	}
	return a.ofrepQuestion(a.body)
}

// ofrepQuestion is readContext of a body that is read; what it keeps points into it.
func (a *ask) ofrepQuestion(body []byte) error {
	if len(body) == 0 {
		return &contextFault{"PARSE_ERROR", "the body is empty"}
	}
	if p := valid(body); p != nil {
		return &contextFault{"PARSE_ERROR", p.Detail}
	}
	missing := &contextFault{"TARGETING_KEY_MISSING", "context.targetingKey is missing or empty: it is the unit that is asked about"}
	sc := scanner{b: body}
	if sc.peek() != '{' {
		return &contextFault{"PARSE_ERROR", "the body is not a JSON object"}
	}
	a.asked = nil
	sc.enter()
	for {
		name, ok := sc.next()
		if !ok {
			break
		}
		v := sc.raw()
		if name == "context" {
			a.asked = v
		}
	}
	switch {
	case a.asked == nil || a.asked[0] == 'n':
		return missing
	case a.asked[0] != '{':
		return &contextFault{"INVALID_CONTEXT", "context is not an object"}
	}
	id := ""
	in := scanner{b: a.asked}
	in.enter()
	for {
		name, ok := in.next()
		if !ok {
			break
		}
		v := in.raw()
		if name != "targetingKey" {
			a.sent.add(name, valueOf(v))
			continue
		}
		switch v[0] {
		case '"':
			id = textOf(v)
		case 'n':
			id = ""
		default:
			return &contextFault{"INVALID_CONTEXT", "context.targetingKey is not a text"}
		}
	}
	switch fault := unitFault(id); {
	case id == "":
		return missing
	case fault != "":
		return &contextFault{"INVALID_CONTEXT", "context.targetingKey " + fault}
	}
	a.about(id)
	return nil
}

// appendFlag writes one assignment as an OFREP success.
func (a *ask) appendFlag(x *experiments.Assignment) {
	variant, reason := x.Variant, "SPLIT"
	switch {
	case x.Enrolled && x.Reason == experiments.ReasonForced:
		reason = "TARGETING_MATCH"
	case x.Enrolled:
	case x.Reason == experiments.ReasonStopped || x.Reason == experiments.ReasonUpstreamOff:
		variant, reason = experiments.NotEnrolled, "DISABLED"
	default:
		variant, reason = experiments.NotEnrolled, "DEFAULT"
	}
	b := append(a.out, `{"key":`...)
	b = appendText(b, x.Experiment)
	b = append(b, `,"value":`...)
	if x.Payload != nil {
		b = append(b, x.Payload.Value...)
	} else if x.Enrolled {
		b = appendText(b, x.Variant)
	} else if e, ok := a.p.snap.Experiment(x.Experiment); ok {
		b = appendText(b, e.Control)
	} else {
		b = append(b, `""`...)
	}
	b = append(b, `,"reason":"`...)
	b = append(b, reason...)
	b = append(b, `","variant":`...)
	b = appendText(b, variant)
	b = append(b, `,"metadata":{"reason":"`...)
	b = append(b, x.Reason...)
	b = append(b, `","allocation_revision":`...)
	b = strconv.AppendInt(b, x.AllocationRevision, 10)
	if version := a.scoreVersion(x); version != "" {
		b = append(b, `,"score_version":`...)
		b = appendText(b, version)
	}
	a.out = append(b, "}}"...)
}

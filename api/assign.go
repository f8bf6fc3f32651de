package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
	"perennial/experiments/unleash"
	"perennial/features/lake"
)

// AssignRequest asks what one unit gets. The hot path reads it with the scanner; the type is its documentation.
type AssignRequest struct {
	UnitID      string         `json:"unit_id" minLength:"1" maxLength:"256" required:"true" doc:"What is randomised, as the app knows it (UTF-8)"`
	Attributes  map[string]any `json:"attributes,omitempty" doc:"Texts, numbers and booleans for targeting; scores, stage and features cannot be sent"`
	Experiments []string       `json:"experiments,omitempty" doc:"Keys; without them every started experiment"`
	Expose      any            `json:"expose,omitempty" doc:"true (default): the unit meets its variants now; false: only ask; \"sync\": answer after the exposures are on disk"`
}

// AssignAnswer is the answer for one unit.
type AssignAnswer struct {
	UnitID      string             `json:"unit_id" required:"true"`
	Assignments []AssignmentAnswer `json:"assignments" required:"true"`
	OverlayAt   *time.Time         `json:"overlay_at,omitempty" doc:"When today's counts were read, where an experiment asks for them; stage and scores stay last night's"`
}

// AssignmentAnswer is one assignment on the wire (CONTRACT §5).
type AssignmentAnswer struct {
	Experiment         string               `json:"experiment" required:"true"`
	Variant            *string              `json:"variant" nullable:"true" doc:"null when the unit is not enrolled"`
	Payload            *experiments.Payload `json:"payload" doc:"The variant's payload; the control's for a unit that is not enrolled"`
	Enrolled           bool                 `json:"enrolled" required:"true"`
	Reason             string               `json:"reason" enum:"forced,stopped,not_started,opted_out,holdout,layer,targeting,not_enrolled,split,sticky,offer_exhausted,unknown_experiment,upstream_off"`
	PAssign            *float64             `json:"p_assign" nullable:"true" doc:"Probability of this variant among the enrolled; null when not enrolled"`
	AllocationRevision *int64               `json:"allocation_revision" nullable:"true"`
	Policy             string               `json:"policy,omitempty" enum:"exploration" doc:"exploration: an even split chose, not the weights"`
	ScoreVersion       *string              `json:"score_version" nullable:"true"`
	Offer              *offerDoc            `json:"offer,omitempty"`
}

// BatchRequest asks for up to 1,000 units.
type BatchRequest struct {
	Units       []BatchUnit `json:"units" minItems:"1" maxItems:"1000" required:"true"`
	Experiments []string    `json:"experiments,omitempty"`
	Expose      any         `json:"expose,omitempty" doc:"false (default), true or \"sync\""`
}

// BatchUnit is one unit of a batch.
type BatchUnit struct {
	UnitID     string         `json:"unit_id" required:"true"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// BatchAnswer answers in the order of the units.
type BatchAnswer struct {
	Results []AssignAnswer `json:"results"`
}

// maxBatch is how many units one batch may hold, maxAsked how many experiments one question may name.
const (
	maxBatch = 1000
	maxAsked = 1000
)

// exposeMode says what an evaluation does about exposures.
type exposeMode uint8

const (
	exposeNo exposeMode = iota
	exposeYes
	exposeSync
)

// ask is the state of one question, pooled so that a usual one allocates little.
type ask struct {
	s      *Server
	p      *plan
	flags  *unleash.Document // of an upstream Unleash; nil without one
	unit   experiments.Unit
	person []string // every id of the unit's person, the user first; nil when it has one id
	sent   sentAttributes
	server serverAttributes
	keys   []string
	expose exposeMode
	peek   bool // only looked at by a person: nothing is kept
	ctx    context.Context
	body   []byte
	asked  []byte // the part of the body that is the whole question
	out    []byte
	asking string // the experiment that is being answered
	kept   func(experiment string) (experiments.StickyAnswer, bool)
	whose  func(experiment string) string
	used   func(offer string) bool
	split  func(flag string) (variant string, on bool)
}

var asks = sync.Pool{New: func() any {
	a := &ask{}
	a.kept, a.used, a.whose, a.split = a.sticky, a.usedUp, a.first, a.upstreamVariant
	return a
}}

// usedUp tells whether an offer's quota is used up for the unit. Who was shown it before keeps it: the quota closes the door behind her.
func (a *ask) usedUp(offer string) bool {
	if a.s.o.OfferOut == nil || !a.s.o.OfferOut(offer) {
		return false
	}
	e, ok := a.p.snap.Experiment(a.asking)
	if !ok {
		return true
	}
	for revision := e.AllocationRevision; revision > 0; revision-- {
		if a.exposed(a.asking, revision) {
			return false
		}
	}
	return true
}

// newAsk takes a question from the pool; free returns it. It fails before the definitions are loaded.
func (s *Server) newAsk(ctx context.Context) (*ask, *Problem) {
	p := s.current()
	if p == nil {
		no := problem(http.StatusServiceUnavailable, "the definitions are not loaded yet")
		no.retryAfter = 1
		return nil, no
	}
	a := asks.Get().(*ask)
	a.s, a.p, a.ctx = s, p, ctx
	if s.o.Flags != nil {
		a.flags = s.o.Flags()
	}
	a.keys, a.sent.list, a.body, a.out, a.expose, a.peek = a.keys[:0], a.sent.list[:0], a.body[:0], a.out[:0], exposeNo, false
	return a, nil
}

func (a *ask) free() {
	clear(a.sent.list)
	clear(a.keys)
	a.unit, a.server, a.ctx, a.p, a.flags, a.person = experiments.Unit{}, serverAttributes{}, nil, nil, nil, nil
	if cap(a.body) > maxPooled || cap(a.out) > maxPooled {
		return
	}
	asks.Put(a)
}

// about sets the unit that is asked about. id may point into the body.
func (a *ask) about(id string) {
	now := a.s.now()
	stored := a.s.o.Shop.Pseudonym(id)
	a.person = a.s.o.Lake.Person(stored)
	a.server = serverAttributes{p: a.p.profiles, unit: id, person: a.person, now: now, shop: &a.s.o.Shop, lake: a.s.o.Lake}
	user := stored // scores are the user's
	if len(a.person) > 0 {
		user = a.person[0]
	}
	if a.p.profiles != nil {
		a.server.row, a.server.found = a.p.profiles.Row(user)
	}
	out := *a.s.optedOut.Load()
	a.unit = experiments.Unit{ID: id, Server: &a.server, Sent: &a.sent, Now: now, Sticky: a.kept, Upstream: a.s.o.Upstream, OfferOut: a.used, Split: a.split,
		OptedOut: len(out) > 0 && (out[stored] || out[user])}
	if len(a.person) > 0 {
		if a.s.o.Shop.PseudonymKey == "" { // buckets hash ids as they are sent: of another id only the pseudonym is known
			a.unit.First = a.whose
		}
		for _, other := range a.person {
			a.unit.OptedOut = a.unit.OptedOut || out[other]
		}
	}
}

// answer evaluates one experiment, keeps a sticky first answer and records the exposure.
func (a *ask) answer(key string) (experiments.Assignment, error) {
	a.asking = key
	x := a.p.snap.Assign(&a.unit, key)
	if x.Keep && !a.peek {
		k := lake.Kept{Variant: x.Variant, AllocationRevision: x.AllocationRevision, PAssign: x.PAssign, ScoreVersion: a.p.version, Least: x.KeepFrom}
		stands, err := a.s.o.Lake.Keep(a.ctx, strings.Clone(key), strings.Clone(a.unit.ID), k)
		if err != nil {
			a.s.count.stickyFailed.Inc()
		} else if stands.Variant != x.Variant { // another request was first
			x = a.p.snap.Assign(&a.unit, key)
		}
	}
	if !x.Enrolled || a.expose == exposeNo || x.Reason == experiments.ReasonForced {
		return x, nil
	}
	known := a.s.o.Lake.Exposed(a.unit.ID, x.Experiment, x.AllocationRevision)
	if known && a.expose == exposeYes {
		return x, nil
	}
	shown := known || a.exposed(x.Experiment, x.AllocationRevision)
	err := a.s.o.Lake.Expose(a.ctx, lake.Exposure{Unit: strings.Clone(a.unit.ID), By: a.by(x.Experiment), Experiment: x.Experiment, Variant: x.Variant,
		AllocationRevision: x.AllocationRevision, PAssign: x.PAssign, Policy: x.Policy(), ScoreVersion: a.scoreVersion(&x), At: a.unit.Now}, a.expose == exposeSync)
	if err != nil {
		a.s.count.exposureFailed.Inc()
		if a.expose == exposeSync {
			return x, err
		}
	} else if !shown {
		a.s.given(&x)
	}
	return x, nil
}

// given counts the offer of a first exposure against its quota.
func (s *Server) given(x *experiments.Assignment) {
	if x.Offer != nil && x.Offer.Quota != nil && s.o.Given != nil {
		s.o.Given(x.Offer.Key)
	}
}

// scoreVersion returns the scores that decided: tonight's, or for a kept answer those of the night that it was given.
func (a *ask) scoreVersion(x *experiments.Assignment) string {
	if x.Reason == experiments.ReasonSticky {
		return x.ScoreVersion
	}
	return a.p.version
}

// appendAssignment writes one assignment in the form of CONTRACT §5.
func (a *ask) appendAssignment(x *experiments.Assignment) {
	b := append(a.out, `{"experiment":`...)
	b = appendText(b, x.Experiment)
	if x.Enrolled {
		b = append(b, `,"variant":`...)
		b = appendText(b, x.Variant)
	} else {
		b = append(b, `,"variant":null`...)
	}
	b = append(b, `,"payload":`...)
	if x.Payload == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, `{"type":`...)
		b = appendText(b, x.Payload.Type)
		b = append(b, `,"value":`...)
		b = append(b, x.Payload.Value...)
		b = append(b, '}')
	}
	b = append(b, `,"enrolled":`...)
	b = strconv.AppendBool(b, x.Enrolled)
	b = append(b, `,"reason":"`...)
	b = append(b, x.Reason...)
	b = append(b, `","p_assign":`...)
	if x.Enrolled {
		b = appendNumber(b, x.PAssign)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"allocation_revision":`...)
	if x.Reason == experiments.ReasonUnknown {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, x.AllocationRevision, 10)
	}
	if x.Explored {
		b = append(b, `,"policy":"exploration"`...)
	}
	b = append(b, `,"score_version":`...)
	if version := a.scoreVersion(x); version == "" {
		b = append(b, "null"...)
	} else {
		b = appendText(b, version)
	}
	if x.Offer != nil {
		b = append(b, `,"offer":`...)
		b = append(b, a.p.offer(x.Offer)...)
	}
	a.out = append(b, '}')
}

// appendAnswer evaluates every asked experiment of the unit.
func (a *ask) appendAnswer() error {
	a.out = append(a.out, `{"unit_id":`...)
	a.out = appendText(a.out, a.unit.ID)
	a.out = append(a.out, `,"assignments":`...)
	err := a.appendList()
	if a.server.today {
		a.out = append(a.out, `,"overlay_at":"`...)
		a.out = a.unit.Now.UTC().AppendFormat(a.out, time.RFC3339Nano)
		a.out = append(a.out, '"')
	}
	a.out = append(a.out, '}')
	return err
}

// list returns the assignments as a JSON array of its own.
func (a *ask) list() (json.RawMessage, error) {
	err := a.appendList()
	return bytes.Clone(a.out), err
}

func (a *ask) appendList() error {
	a.out = append(a.out, '[')
	keys := a.keys
	if len(keys) == 0 {
		keys = a.p.keys
	}
	for i, key := range keys {
		if i > 0 {
			a.out = append(a.out, ',')
		}
		x, err := a.answer(key)
		if err != nil {
			return err
		}
		a.appendAssignment(&x)
	}
	a.out = append(a.out, ']')
	return nil
}

// assign is POST /v1/assignments.
func (s *Server) assign(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		s.fail(c, p)
		return
	}
	defer a.free()
	err := a.read(c.Request)
	if err == nil {
		err = a.question(a.body)
	}
	if err == nil {
		err = a.appendAnswer()
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	send(c, http.StatusOK, a.out)
}

// read reads the body of a request.
func (a *ask) read(r *http.Request) (err error) {
	a.body, err = readAll(r, a.body)
	return err
}

// question reads an AssignRequest; what it keeps points into the body.
func (a *ask) question(body []byte) error {
	if p := valid(body); p != nil {
		return p
	}
	sc := scanner{b: body}
	if sc.peek() != '{' {
		return problem(http.StatusBadRequest, "the body is not a JSON object")
	}
	a.expose = exposeYes
	return a.readUnit(&sc, true)
}

// readUnit reads an object with unit_id and attributes, and in a single question the rest too.
func (a *ask) readUnit(sc *scanner, single bool) error {
	id, sent := "", []byte(nil)
	a.sent.list = a.sent.list[:0]
	sc.enter()
	for {
		name, ok := sc.next()
		if !ok {
			break
		}
		switch kind := sc.peek(); {
		case name == "unit_id":
			if kind != '"' {
				return invalid("unit_id", "is not a text: send ids as JSON strings, exactly as they are")
			}
			id = textOf(sc.raw())
		case name == "attributes":
			sent = sc.raw()
			if kind != '{' && kind != 'n' {
				return invalid("attributes", "is not an object")
			}
		case name == "experiments" && single:
			if err := a.readKeys(sc); err != nil {
				return err
			}
		case name == "expose" && single:
			if err := a.readExpose(sc.raw()); err != nil {
				return err
			}
		default:
			return invalid(clip(name), "is not known")
		}
	}
	if fault := unitFault(id); fault != "" {
		return invalid("unit_id", "%s", fault)
	}
	if len(sent) > 0 && sent[0] == '{' {
		a.readSent(sent)
	}
	a.about(id)
	return nil
}

// readSent keeps the attributes of an object.
func (a *ask) readSent(raw []byte) {
	in := scanner{b: raw}
	in.enter()
	for {
		name, ok := in.next()
		if !ok {
			return
		}
		a.sent.add(name, valueOf(in.raw()))
	}
}

func (a *ask) readKeys(sc *scanner) error {
	switch sc.peek() {
	case 'n':
		sc.raw()
		return nil
	case '[':
	default:
		return invalid("experiments", "is not an array of keys")
	}
	sc.enter()
	for n := 0; sc.more(); n++ {
		if sc.peek() != '"' {
			return invalid("experiments["+strconv.Itoa(n)+"]", "is not a text")
		}
		if n == maxAsked {
			return invalid("experiments", "has more than %d keys", maxAsked)
		}
		a.keys = append(a.keys, textOf(sc.raw()))
	}
	return nil
}

func (a *ask) readExpose(raw []byte) error {
	switch {
	case bytes.Equal(raw, []byte("true")):
		a.expose = exposeYes
	case bytes.Equal(raw, []byte("false")):
		a.expose = exposeNo
	case bytes.Equal(raw, []byte(`"sync"`)):
		a.expose = exposeSync
	case bytes.Equal(raw, []byte("null")):
	default:
		return invalid("expose", `is not true, false or "sync"`)
	}
	return nil
}

// assignBatch is POST /v1/assignments/batch.
func (s *Server) assignBatch(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		s.fail(c, p)
		return
	}
	defer a.free()
	if err := a.readBatch(c.Request); err != nil {
		s.fail(c, err)
		return
	}
	send(c, http.StatusOK, a.out)
}

// readBatch reads a BatchRequest and writes its answer as it goes. Experiments and expose are read first, wherever they stand.
func (a *ask) readBatch(r *http.Request) (err error) {
	if a.body, err = readAll(r, a.body); err != nil {
		return err
	}
	if p := valid(a.body); p != nil {
		return p
	}
	sc, units := scanner{b: a.body}, []byte(nil)
	if sc.peek() != '{' {
		return problem(http.StatusBadRequest, "the body is not a JSON object")
	}
	sc.enter()
	for {
		name, ok := sc.next()
		if !ok {
			break
		}
		switch kind := sc.peek(); name {
		case "units":
			if units = sc.raw(); kind != '[' {
				return invalid("units", "is not an array")
			}
		case "experiments":
			if err := a.readKeys(&sc); err != nil {
				return err
			}
		case "expose":
			if err := a.readExpose(sc.raw()); err != nil {
				return err
			}
		default:
			return invalid(clip(name), "is not known")
		}
	}
	if units == nil {
		return invalid("units", "is missing")
	}
	a.out = append(a.out, `{"results":[`...)
	in := scanner{b: units}
	in.enter()
	for n := 0; in.more(); n++ {
		if n == maxBatch {
			return invalid("units", "has more than %d units: send several batches", maxBatch)
		}
		if n > 0 {
			a.out = append(a.out, ',')
		}
		if in.peek() != '{' {
			return invalid("units["+strconv.Itoa(n)+"]", "is not an object")
		}
		if err := a.readUnit(&in, false); err != nil {
			return under("units["+strconv.Itoa(n)+"].", err)
		}
		if err := a.appendAnswer(); err != nil {
			return err
		}
	}
	a.out = append(a.out, "]}"...)
	return nil
}

// under puts a path before the fields of a problem.
func under(path string, err error) error {
	p := problemOf(err)
	for i := range p.Errors {
		p.Errors[i].Field = path + p.Errors[i].Field
	}
	return p
}

// appendText writes a JSON string.
func appendText(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			raw, _ := json.Marshal(text)
			return append(b, raw...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// appendNumber writes the shortest decimal that reads back as v.
func appendNumber(b []byte, v float64) []byte {
	if v == 1 {
		return append(b, '1')
	}
	if abs := max(v, -v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

var jsonType = []string{"application/json"}

// send answers with JSON bytes.
func send(c *gin.Context, status int, body []byte) {
	h := c.Writer.Header()
	h["Content-Type"] = jsonType
	if len(body) > 2000 { // net/http counts short ones itself
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.Status(status)
	c.Writer.Write(body)
}

func clip(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}

// now is the shop's clock.
func (s *Server) now() time.Time {
	if s.o.Now == nil {
		return time.Now().UTC()
	}
	return s.o.Now()
}

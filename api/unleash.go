package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
	"perennial/experiments/unleash"
	"perennial/experiments/unleash/flags"
)

// unleashDocument is GET /api/client/features for one spec version, encoded once per snapshot.
type unleashDocument struct {
	body []byte
	etag string
}

// maxSpecs bounds how many versions of Unleash-Client-Spec are kept: the header is the caller's.
const maxSpecs = 16

// documents keeps the encoded documents of one snapshot.
type documents struct {
	mu  sync.Mutex
	of  *experiments.Snapshot
	all map[string]unleashDocument
}

func (d *documents) get(s *experiments.Snapshot, spec string) unleashDocument {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of != s || len(d.all) >= maxSpecs {
		d.of, d.all = s, map[string]unleashDocument{}
	}
	doc, ok := d.all[spec]
	if !ok {
		doc.body, doc.etag = unleash.EncodeFeatures(s, spec)
		d.all[spec] = doc
	}
	return doc
}

// unleash registers the doors of Unleash SDKs.
func (s *Server) unleash() {
	backend := doorway{who: apps, hot: true}
	s.handle(http.MethodGet, "/api/client/features", backend, s.unleashFeatures)
	s.handle(http.MethodPost, "/api/client/register", backend, drained(http.StatusAccepted))
	s.handle(http.MethodPost, "/api/client/metrics", backend, s.unleashMetrics(http.StatusAccepted))
	s.handle(http.MethodPost, "/api/client/metrics/bulk", backend, s.unleashBulk)
	page := doorway{who: browser, hot: true, knows: true, cors: true}
	s.handle(http.MethodGet, "/api/frontend", page, s.unleashFrontend)
	s.handle(http.MethodPost, "/api/frontend", page, s.unleashFrontend)
	s.handle(http.MethodPost, "/api/frontend/client/register", page, drained(http.StatusOK))
	s.handle(http.MethodPost, "/api/frontend/client/metrics", page, s.unleashMetrics(http.StatusOK))
	s.preflight("/api/frontend", "/api/frontend/client/register", "/api/frontend/client/metrics")
	const tag = "unleash"
	s.document(apps, tag, "GET", "/api/client/features", "unleash-features", "Definitions for SDKs that evaluate locally", "With ETag. Experiments that need the server's knowledge are left out.", 200, nil, nil)
	s.document(apps, tag, "POST", "/api/client/register", "unleash-register", "An SDK says hello", "", 202, nil, nil)
	s.document(apps, tag, "POST", "/api/client/metrics", "unleash-metrics", "Counts of evaluations", "Counts without units: exposures come as events.", 202, nil, nil)
	s.document(apps, tag, "POST", "/api/client/metrics/bulk", "unleash-metrics-bulk", "Counts that an Edge has gathered", "", 202, nil, nil)
	s.document(browser, tag, "GET", "/api/frontend", "unleash-frontend", "Every flag that is on for a context", "userId and properties[NAME] in the query; ETag depends on the whole context.", 200, nil, nil)
	s.document(browser, tag, "POST", "/api/frontend", "unleash-frontend-post", "Every flag that is on for a context", "The context in the body.", 200, nil, nil)
}

// drained reads the body and answers without one.
func drained(status int) gin.HandlerFunc {
	return func(c *gin.Context) { c.Status(status) }
}

func (s *Server) unleashFeatures(c *gin.Context) {
	p := s.current()
	if p == nil {
		s.fail(c, problem(http.StatusServiceUnavailable, "the definitions are not loaded yet"))
		return
	}
	spec := c.GetHeader("Unleash-Client-Spec")
	if len(spec) > 32 {
		spec = ""
	}
	doc := s.specs.get(p.snap, spec)
	h := c.Writer.Header()
	h["Etag"], h["Cache-Control"] = []string{doc.etag}, noCache
	if match := c.GetHeader("If-None-Match"); match == doc.etag || match == "W/"+doc.etag {
		c.Status(http.StatusNotModified)
		c.Writer.WriteHeaderNow()
		return
	}
	send(c, http.StatusOK, doc.body)
}

// unleashCounts is what an SDK reports of one flag.
type unleashCounts struct {
	Yes      float64            `json:"yes"`
	No       float64            `json:"no"`
	Variants map[string]float64 `json:"variants"`
}

// counted adds reported counts of known experiments and their variants; a label never holds a text that an SDK made up.
func (s *Server) counted(flag string, n unleashCounts) {
	p := s.current()
	if p == nil {
		return
	}
	e, ok := p.snap.Experiment(flag)
	if !ok {
		return
	}
	add := func(variant string, n float64) {
		if n > 0 && n < 1e12 {
			s.count.unleash.WithLabelValues(flag, variant).Add(n)
		}
	}
	for _, v := range e.Variants {
		add(v.Key, n.Variants[v.Key])
	}
	add(experiments.NotEnrolled, n.Variants[experiments.NotEnrolled])
	add("off", n.No)
}

// unleashMetrics takes an SDK's counts. A body that cannot be read is answered alike: an SDK must never fail because of its statistics.
func (s *Server) unleashMetrics(status int) gin.HandlerFunc {
	return func(c *gin.Context) {
		raw, err := readAll(c.Request, nil)
		if err != nil {
			s.fail(c, err)
			return
		}
		var in struct {
			Bucket *struct {
				Toggles map[string]unleashCounts `json:"toggles"`
			} `json:"bucket"`
		}
		if json.Unmarshal(raw, &in) == nil && in.Bucket != nil {
			for flag, n := range in.Bucket.Toggles {
				s.counted(flag, n)
			}
		}
		c.Status(status)
	}
}

func (s *Server) unleashBulk(c *gin.Context) {
	raw, err := readAll(c.Request, nil)
	if err != nil {
		s.fail(c, err)
		return
	}
	var in struct {
		Metrics []struct {
			FeatureName string `json:"featureName"`
			unleashCounts
		} `json:"metrics"`
	}
	if json.Unmarshal(raw, &in) == nil {
		for _, m := range in.Metrics {
			s.counted(m.FeatureName, m.unleashCounts)
		}
	}
	c.Status(http.StatusAccepted)
}

// unleashFrontend is GET and POST /api/frontend.
func (s *Server) unleashFrontend(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		s.fail(c, p)
		return
	}
	defer a.free()
	var err error
	if c.Request.Method == http.MethodGet {
		err = a.readQuery(c.Request.URL.RawQuery)
	} else {
		err = a.readFrontend(c.Request)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := a.signed(c); err != nil {
		s.fail(c, err)
		return
	}
	remote := c.RemoteIP()
	if a.sent.Attribute("remoteAddress").Kind == experiments.Missing {
		a.sent.add("remoteAddress", experiments.Value{Kind: experiments.Text_, Text: remote})
	}
	if a.unchanged(c, "frontend\x00"+remote, a.asked) {
		return
	}
	toggles := make([]unleash.Toggle, 0, len(a.p.keys))
	for _, key := range a.p.keys {
		x, err := a.answer(key)
		if err != nil {
			s.fail(c, err)
			return
		}
		if t, on := unleash.NewToggle(x); on {
			toggles = append(toggles, t)
		}
	}
	toggles = append(toggles, a.upstreamToggles()...)
	c.JSON(http.StatusOK, struct {
		Toggles []unleash.Toggle `json:"toggles"`
	}{toggles})
}

// upstreamToggles answers the flags of the upstream server that no started experiment is named after, so that a page which moves from it to
// this server keeps its flags.
func (a *ask) upstreamToggles() (toggles []unleash.Toggle) {
	d := a.flags
	if d == nil {
		return nil
	}
	names := d.Names()
	slices.Sort(names)
	context := a.context()
	for _, name := range names {
		if _, own := slices.BinarySearch(a.p.keys, name); own {
			continue
		}
		if t, on := unleash.UpstreamToggle(d, name, context); on {
			toggles = append(toggles, t)
		}
	}
	return toggles
}

// upstreamVariant is what a flag of the upstream server gives the unit.
func (a *ask) upstreamVariant(flag string) (variant string, on bool) {
	if a.flags == nil {
		return "", false
	}
	r := a.flags.Evaluate(flag, a.context())
	if r.Enabled && r.Variant != nil {
		variant = r.Variant.Name
	}
	return variant, r.Enabled
}

// context is the question as an Unleash context.
func (a *ask) context() *flags.Context {
	return unleash.ContextOf(&a.unit, func(add func(string, experiments.Value)) {
		for _, x := range a.sent.list {
			add(strings.Clone(x.name), experiments.Value{Kind: x.value.Kind, Text: strings.Clone(x.value.Text), Num: x.value.Num})
		}
	})
}

// readQuery reads an Unleash context from a query: userId, properties[NAME], and any other name as a property too.
func (a *ask) readQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return problem(http.StatusBadRequest, "the query cannot be read: %s", err)
	}
	a.asked = append(a.asked[:0:0], query...)
	for name, list := range values {
		if name == "userId" || len(list) == 0 {
			continue
		}
		if inner, ok := strings.CutPrefix(name, "properties["); ok {
			name = strings.TrimSuffix(inner, "]")
		}
		a.sent.add(name, experiments.Value{Kind: experiments.Text_, Text: list[len(list)-1]})
	}
	return a.user(values.Get("userId"))
}

// readFrontend reads {"context":{"userId",…,"properties":{…}}}.
func (a *ask) readFrontend(r *http.Request) (err error) {
	if a.body, err = readAll(r, a.body); err != nil {
		return err
	}
	if p := valid(a.body); p != nil {
		return p
	}
	sc, id := scanner{b: a.body}, ""
	if sc.peek() != '{' {
		return problem(http.StatusBadRequest, "the body is not a JSON object")
	}
	a.asked = nil
	sc.enter()
	for {
		name, ok := sc.next()
		if !ok {
			break
		}
		if v := sc.raw(); name == "context" && v[0] == '{' {
			a.asked = v
		}
	}
	if a.asked == nil {
		return a.user("")
	}
	in := scanner{b: a.asked}
	in.enter()
	for {
		name, ok := in.next()
		if !ok {
			return a.user(id)
		}
		switch v := in.raw(); {
		case name == "userId" && v[0] == '"':
			id = textOf(v)
		case name == "userId":
			if v[0] != 'n' {
				return invalid("context.userId", "is not a text: send ids as JSON strings, exactly as they are")
			}
		case name == "properties" && v[0] == '{':
			a.readSent(v)
		default:
			a.sent.add(name, valueOf(v))
		}
	}
}

// user sets the unit; an empty one is never enrolled, as in the SDKs.
func (a *ask) user(id string) error {
	if fault := unitFault(id); id != "" && fault != "" {
		return invalid("userId", "%s", fault)
	}
	a.about(id)
	return nil
}

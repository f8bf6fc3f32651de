package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// doorway says how a route is entered.
type doorway struct {
	who   role  // anyone: no key is asked for
	limit int64 // bytes of body; 0 means usualBody
	cors  bool  // browsers of configured origins may come
	hot   bool  // successes are counted, not logged
	knows bool  // the handler asks callerOf although the door is hot
	page  bool  // a browser without a session is sent to sign in
	fail  func(s *Server, c *gin.Context, err error)
}

// handle registers a plain gin route behind its doorway.
func (s *Server) handle(method, path string, d doorway, h gin.HandlerFunc) {
	s.access[method+" "+path] = d.who
	s.engine.Handle(method, path, s.enter(method, path, d), h)
}

// preflight answers the browser's OPTIONS of CORS routes, without a key as browsers send none.
func (s *Server) preflight(paths ...string) {
	for _, path := range paths {
		s.handle(http.MethodOptions, path, doorway{who: anyone, cors: true, hot: true}, func(c *gin.Context) { c.Status(http.StatusNoContent) })
	}
}

var noSniff, sameReferrer, noFrames = []string{"nosniff"}, []string{"same-origin"}, []string{"DENY"}

// enter is everything that happens before and after a handler: recovery, security headers, CORS, authentication, limits, counts and the access log.
func (s *Server) enter(method, path string, d doorway) gin.HandlerFunc {
	count := s.count.route(method, path)
	if d.limit == 0 {
		d.limit = usualBody
	}
	fail := d.fail
	if fail == nil {
		fail = (*Server).fail
	}
	return func(c *gin.Context) {
		start := time.Now()
		var who *Caller
		defer func() {
			if fault := recover(); fault != nil {
				if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(fault)
				}
				s.log.Error("panic", "method", method, "route", path, "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
				c.Abort()
				if !c.Writer.Written() {
					fail(s, c, problem(http.StatusInternalServerError, "the server could not answer; its log says why"))
				}
			}
			took, status := time.Since(start), c.Writer.Status()
			count.done(status, took)
			if !d.hot || status >= 500 {
				name := ""
				if who != nil {
					name = who.Role
				}
				s.log.Info("request", "method", method, "route", path, "status", status, "bytes", c.Writer.Size(), "ms", float64(took.Microseconds())/1000, "role", name)
			}
		}()
		h := c.Writer.Header()
		h["X-Content-Type-Options"] = noSniff
		if !d.hot || d.page {
			h["Referrer-Policy"], h["X-Frame-Options"] = sameReferrer, noFrames
		}
		if d.cors {
			s.allowOrigin(c)
		}
		if d.who != anyone {
			var p *Problem
			if who, p = s.authenticate(c, d.who); p != nil {
				if d.page && p.Status == http.StatusUnauthorized && method == http.MethodGet {
					s.toSignIn(c)
					return
				}
				fail(s, c, p)
				return
			}
			if who.limiter != nil {
				if wait := who.limiter.take(start); wait > 0 {
					p := problem(http.StatusTooManyRequests, "this frontend key asks too often")
					p.retryAfter = 1 + int(wait/time.Second)
					fail(s, c, p)
					return
				}
			}
			if !d.hot || d.knows {
				c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), callerKey{}, who))
			}
		}
		if p := bound(c, d.limit); p != nil {
			fail(s, c, p)
			return
		}
		c.Next()
	}
}

var (
	corsMethods = []string{"GET, POST, OPTIONS"}
	corsHeaders = []string{"authorization, content-type, content-encoding, if-none-match, x-api-key, unleash-appname, unleash-instanceid, unleash-sdk, unleash-connection-id, unleash-client-spec, x-unit-signature, x-ofrep-event-streams"}
	corsExposed = []string{"ETag, Retry-After"}
	corsAny     = []string{"*"}
	corsAge     = []string{"600"}
	varyOrigin  = []string{"Origin"}
)

// allowOrigin sends the CORS headers of a configured origin. Credentials are never allowed: cookies do not count on these routes.
func (s *Server) allowOrigin(c *gin.Context) {
	h := c.Writer.Header()
	if s.cors != nil {
		h["Vary"] = varyOrigin
	}
	origin := c.Request.Header["Origin"]
	switch {
	case len(origin) == 0: // no browser
		return
	case s.cors == nil:
		h["Access-Control-Allow-Origin"] = corsAny
	case s.cors[origin[0]]:
		h["Access-Control-Allow-Origin"] = origin[:1]
	default:
		return
	}
	h["Access-Control-Expose-Headers"] = corsExposed
	if c.Request.Method == http.MethodOptions {
		h["Access-Control-Allow-Methods"], h["Access-Control-Allow-Headers"], h["Access-Control-Max-Age"] = corsMethods, corsHeaders, corsAge
	}
}

// route registers every door.
func (s *Server) route() {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed, e.UseRawPath, e.UnescapePathValues, e.RedirectTrailingSlash = true, true, true, false
	e.ContextWithFallback = true
	e.SetTrustedProxies(nil)
	s.engine = e
	s.describe()

	app := doorway{who: apps, hot: true}
	s.handle(http.MethodPost, assignPath, app, s.assign)
	s.handle(http.MethodPost, "/v1/assignments/batch", app, s.assignBatch)
	s.document(apps, "assignment", "POST", "/v1/assignments", "assign", "What does this unit get?", "One evaluation is an assignment and, unless expose is false, an exposure.", 200, AssignRequest{}, AssignAnswer{})
	s.document(apps, "assignment", "POST", "/v1/assignments/batch", "assign-batch", "What do these units get?", "Up to 1,000 units; no exposures unless asked for.", 200, BatchRequest{}, BatchAnswer{})
	s.handle(http.MethodPost, "/v1/assignments/stream", doorway{who: apps, limit: streamBody}, s.assignStream)
	s.document(apps, "assignment", "POST", "/v1/assignments/stream", "assign-stream", "What do the units of a long list get?", "NDJSON in (unit_id and attributes a line), NDJSON out, a line for a line; "+
		"experiments (keys with commas) and expose (false) in the query. A bad line is answered by {\"line\",\"error\"} and the stream goes on.", 200, BatchUnit{}, AssignAnswer{})
	s.handle(http.MethodPost, "/v1/exposures", doorway{who: browser, hot: true, knows: true, cors: true}, s.exposures)
	s.document(browser, "events", "POST", "/v1/exposures", "send-exposures", "Units have met their variants", "After a bulk evaluation: once per unit, experiment and allocation revision, however often it is reported. "+
		"One exposure or an array; Unleash's impression events are read as they are.", 202, []ExposureDoc{}, EventsAnswer{})
	s.handle(http.MethodPost, "/v1/events", doorway{who: browser, hot: true, knows: true, cors: true, limit: eventBody}, s.events)
	s.document(browser, "events", "POST", "/v1/events", "send-events", "Send events", "A JSON array or NDJSON, gzip allowed, at most 10 MiB and 10,000 events, after decompression too. "+
		"202 after they are on disk; bad events never take good ones with them. A frontend key sends views, sessions and exposures only.", 202, []EventDoc{}, EventsAnswer{})
	s.preflight("/v1/events", "/v1/exposures")
	s.adapters()

	s.ofrep()
	s.unleash()
	s.segment()
	s.manage()
	s.operations()
	s.pages()
	s.hot = hotCounts{s.count.route(http.MethodPost, assignPath), s.count.route(http.MethodPost, ofrepPath+"/:key"), s.count.route(http.MethodPost, ofrepPath)}
}

// etagOf writes a revision as an ETag; revisionOf reads If-Match: 0 when nothing is asked, -1 when it can match nothing.
func etagOf(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func revisionOf(ifMatch string) int64 {
	tag := strings.TrimPrefix(strings.TrimSpace(ifMatch), "W/")
	if tag == "" || tag == "*" {
		return 0
	}
	n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}

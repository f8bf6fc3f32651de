package api

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed docs.html
var docsPage []byte

//go:embed docs.js
var docsScript []byte

// operations registers health, metrics, the API description and its page, and what answers when nothing else does.
func (s *Server) operations() {
	open := doorway{who: anyone, hot: true}
	s.handle(http.MethodGet, "/healthz", open, func(c *gin.Context) { send(c, http.StatusOK, []byte(`{"status":"ok"}`)) })
	s.handle(http.MethodHead, "/healthz", open, func(c *gin.Context) { c.Status(http.StatusOK) })
	s.document(anyone, "operations", "GET", "/healthz", "healthz", "Alive?", "200 while the process answers.", 200, nil, nil)
	s.handle(http.MethodGet, "/readyz", open, s.ready)
	s.document(anyone, "operations", "GET", "/readyz", "readyz", "Ready?", "200 when definitions are loaded and events can be taken, else 503 with the reason.", 200, nil, nil)
	metrics := s.count.handler()
	s.handle(http.MethodGet, "/metrics", doorway{who: readers, hot: true}, func(c *gin.Context) { metrics.ServeHTTP(c.Writer, c.Request) })
	s.document(readers, "operations", "GET", "/metrics", "metrics", "Prometheus metrics", "", 200, nil, nil)
	s.handle(http.MethodGet, "/openapi.json", open, func(c *gin.Context) { c.Data(http.StatusOK, "application/openapi+json", s.openapi) })
	s.handle(http.MethodGet, "/docs", open, func(c *gin.Context) {
		c.Header("Content-Security-Policy", contentPolicy)
		c.Data(http.StatusOK, "text/html; charset=utf-8", docsPage)
	})
	s.handle(http.MethodGet, "/docs/docs.js", open, func(c *gin.Context) { c.Data(http.StatusOK, "text/javascript; charset=utf-8", docsScript) })
	s.openapi = s.OpenAPI()

	s.engine.NoMethod(s.enter("*", "no method", doorway{who: anyone}), func(c *gin.Context) {
		s.fail(c, problem(http.StatusMethodNotAllowed, "%s is not allowed here; allowed: %s", c.Request.Method, c.Writer.Header().Get("Allow")))
	})
	s.engine.NoRoute(s.enter("*", "no route", doorway{who: anyone}), func(c *gin.Context) {
		if strings.HasPrefix(c.Request.URL.Path, "/ofrep/") {
			ofrepFail(s, c, problem(http.StatusNotFound, "no such path"))
			return
		}
		s.fallback(c)
	})
}

// ready is GET /readyz.
func (s *Server) ready(c *gin.Context) {
	why := ""
	switch {
	case s.o.Snapshot() == nil:
		why = "the definitions are not loaded yet"
	case s.o.Unready != nil:
		why = s.o.Unready()
	}
	if why != "" {
		p := problem(http.StatusServiceUnavailable, "%s", why)
		p.retryAfter = 1
		s.fail(c, p)
		return
	}
	send(c, http.StatusOK, []byte(`{"status":"ready"}`))
}

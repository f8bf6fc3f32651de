package api

import (
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/gin-gonic/gin"
)

// contentPolicy is what every page may load: its own scripts, its own styles and the inline ones of the component library.
const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// pages registers sign-in and the embedded page. Everything of the page needs a session, like every other read.
func (s *Server) pages() {
	s.signIn()
	d := doorway{who: readers, page: true, hot: true}
	s.handle(http.MethodGet, "/", d, s.page)
	s.handle(http.MethodGet, "/index.html", d, s.page)
	s.handle(http.MethodGet, "/assets/*file", doorway{who: readers, hot: true}, s.asset)
}

// fallback answers for paths without a route: the page's own paths for a browser that is signed in, a JSON problem for everybody else.
func (s *Server) fallback(c *gin.Context) {
	p := c.Request.URL.Path
	own := strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/api/") || strings.HasPrefix(p, "/ofrep/") || strings.HasPrefix(p, "/docs/") || strings.HasPrefix(p, "/assets/")
	if own || c.Request.Method != http.MethodGet || !strings.Contains(c.GetHeader("Accept"), "text/html") {
		s.fail(c, problem(http.StatusNotFound, "no such path; /docs lists them all"))
		return
	}
	if path.Ext(p) == "" {
		if _, no := s.authenticate(c, readers); no != nil {
			if no.Status == http.StatusUnauthorized {
				s.toSignIn(c)
				return
			}
			s.fail(c, no)
			return
		}
		s.page(c)
		return
	}
	s.fail(c, problem(http.StatusNotFound, "no such file"))
}

// page serves index.html, or says how to build it.
func (s *Server) page(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Cache-Control", "no-cache")
	if s.o.Web != nil {
		if index, err := fs.ReadFile(s.o.Web, "index.html"); err == nil {
			c.Data(http.StatusOK, "text/html; charset=utf-8", index)
			return
		}
	}
	c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Perennial</title>
<body style="font:16px/1.6 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem"><h1>Perennial is running</h1>
<p>This binary was built without its pages. Build them with <code>make web</code> (Node 20.19 or newer), then build the binary again with <code>make build</code>.</p>
<p>The API works without them: <a href="/docs">its description</a>.</p><p lang="zh">页面尚未构建：先运行 <code>make web</code>，再运行 <code>make build</code>。API 不受影响。</p></body></html>`))
}

// asset serves a file of the built page. Their names hold a hash of their content, so they may be kept for ever.
func (s *Server) asset(c *gin.Context) {
	name := path.Clean("assets" + c.Param("file"))
	if s.o.Web == nil || !strings.HasPrefix(name, "assets/") {
		s.fail(c, problem(http.StatusNotFound, "no such file"))
		return
	}
	c.Header("Content-Security-Policy", contentPolicy)
	info, err := fs.Stat(s.o.Web, name)
	if err != nil || info.IsDir() {
		s.fail(c, problem(http.StatusNotFound, "no such file"))
		return
	}
	c.Header("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeFileFS(c.Writer, c.Request, s.o.Web, name)
}

// toSignIn sends a browser to the sign-in page and back afterwards.
func (s *Server) toSignIn(c *gin.Context) {
	to := "/signin"
	if p := c.Request.URL.RequestURI(); p != "/" && local(p) {
		to += "?to=" + url.QueryEscape(p)
	}
	c.Redirect(http.StatusSeeOther, to)
	c.Abort()
}

// local reports whether a path stays on this server: "//host" and "/\host" do not.
func local(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") || len(p) > 2048 {
		return false
	}
	u, err := url.Parse(p)
	return err == nil && u.Host == "" && u.Scheme == ""
}

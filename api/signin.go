package api

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
)

// sessionAge is how long a browser stays signed in.
const sessionAge = 12 * time.Hour

var signInPage = template.Must(template.New("signin").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Perennial · sign in · 登录</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,"PingFang SC","Noto Sans CJK SC",sans-serif;display:grid;place-items:center;min-height:95vh;margin:0}
form{width:min(26rem,90vw)}label{display:block;margin:1rem 0 .25rem}input{width:100%;font:inherit;padding:.5rem;box-sizing:border-box}
button{font:inherit;margin-top:1rem;padding:.5rem 1.25rem;background:#1d6f42;color:#fff;border:0;border-radius:6px;cursor:pointer}.no{color:#b3261e}</style></head>
<body><form method="post" action="/signin"><h1>Perennial</h1>{{if .Fault}}<p class="no" role="alert">{{.Fault}}</p>{{end}}
<label for="key">API key of an analyst, marketer or administrator <span lang="zh">· 分析师、营销或管理员密钥</span></label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="to" value="{{.To}}"><button type="submit">Sign in · 登录</button>
<p>No key? <code>perennial keys create --role marketer</code> makes one. <span lang="zh">没有密钥？用上面的命令创建。</span></p></form></body></html>
`))

// signIn registers the sign-in page, its form and sign-out.
func (s *Server) signIn() {
	open := doorway{who: anyone}
	s.handle(http.MethodGet, "/signin", open, s.signInGet)
	s.handle(http.MethodPost, "/signin", open, s.signInPost)
	s.handle(http.MethodPost, "/signout", open, s.signOut)
}

// signInGet redeems a single-use token, or shows the form.
func (s *Server) signInGet(c *gin.Context) {
	to := c.Query("to")
	token := c.Query("token")
	if token == "" {
		s.signInForm(c, http.StatusOK, "", to)
		return
	}
	roleName, name, err := s.o.Store.SignIn(c.Request.Context(), token)
	if err != nil {
		if !errors.Is(err, experiments.ErrNotFound) {
			s.log.Error("sign in", "error", err)
		}
		s.signInForm(c, http.StatusUnauthorized, "This link was used already or has expired; sign in with a key. · 链接已使用或已过期，请用密钥登录。", to)
		return
	}
	s.begin(c, roleName, name, to, false)
}

func (s *Server) signInForm(c *gin.Context, status int, fault, to string) {
	var page strings.Builder
	if err := signInPage.Execute(&page, struct{ Fault, To string }{fault, to}); err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Content-Security-Policy", contentPolicy)
	c.Header("Cache-Control", "no-store")
	c.Data(status, "text/html; charset=utf-8", []byte(page.String()))
}

// signInPost takes a key from the form or from JSON.
func (s *Server) signInPost(c *gin.Context) {
	raw, err := readAll(c.Request, nil)
	if err != nil {
		s.fail(c, err)
		return
	}
	if !sameOrigin(c.Request) {
		s.fail(c, problem(http.StatusForbidden, "sign in from this server's own page"))
		return
	}
	asJSON := strings.HasPrefix(c.GetHeader("Content-Type"), "application/json")
	var in struct {
		Key string `json:"key"`
		To  string `json:"to"`
	}
	if asJSON {
		if err := json.Unmarshal(raw, &in); err != nil {
			s.fail(c, err)
			return
		}
	} else {
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			s.fail(c, problem(http.StatusBadRequest, "the form cannot be read"))
			return
		}
		in.Key, in.To = form.Get("key"), form.Get("to")
	}
	who := s.keys.Load().caller(strings.TrimSpace(in.Key))
	if who == nil || who.bits&(analyst|marketer|admin) == 0 {
		fault, status := "This key is not known. · 密钥无效。", http.StatusUnauthorized
		if who != nil {
			fault, status = "This key is for apps, not for people. · 该密钥供应用使用，不能登录。", http.StatusForbidden
		}
		if asJSON {
			s.fail(c, problem(status, "%s", fault))
			return
		}
		s.signInForm(c, status, fault, in.To)
		return
	}
	s.begin(c, who.Role, who.Name, in.To, asJSON)
}

// begin opens a session.
func (s *Server) begin(c *gin.Context, roleName, name, to string, asJSON bool) {
	token, err := s.o.Store.CreateSession(c.Request.Context(), roleName, name, sessionAge)
	if err != nil {
		s.fail(c, err)
		return
	}
	http.SetCookie(c.Writer, &http.Cookie{Name: sessionCookie, Value: token, Path: "/", MaxAge: int(sessionAge / time.Second), HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: c.Request.TLS != nil})
	c.Header("Cache-Control", "no-store")
	if asJSON {
		c.JSON(http.StatusOK, map[string]string{"role": roleName, "name": name})
		return
	}
	if !local(to) {
		to = "/"
	}
	c.Redirect(http.StatusSeeOther, to)
}

// signOut ends the session.
func (s *Server) signOut(c *gin.Context) {
	if !sameOrigin(c.Request) {
		s.fail(c, problem(http.StatusForbidden, "sign out from this server's own page"))
		return
	}
	if token, err := c.Cookie(sessionCookie); err == nil {
		if err := s.o.Store.EndSession(c.Request.Context(), token); err != nil && !errors.Is(err, experiments.ErrNotFound) {
			s.fail(c, err)
			return
		}
	}
	http.SetCookie(c.Writer, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.Request.TLS != nil})
	c.Status(http.StatusNoContent)
}

// sameOrigin refuses forms that another site posts. A request without Origin is no browser's form.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

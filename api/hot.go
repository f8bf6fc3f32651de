package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"perennial/api/front"
	"perennial/experiments"
)

// The doors that applications ask all the time, answered before net/http sees the request (package front): the same ask, the same bytes. What is not a
// plain success (a refusal, an unknown flag, a browser) is left to the gin route of the door, so every rule of a refusal stands once.

const (
	assignPath = "/v1/assignments"
	ofrepPath  = "/ofrep/v1/evaluate/flags"
)

// hotCounts are the counts of the hot doors' routes.
type hotCounts struct{ assign, one, all *routeCount }

// hotDoor returns the route of a hot path and, at the door of one flag, its key.
func (s *Server) hotDoor(path string) (route *routeCount, key string) {
	if path == assignPath {
		return s.hot.assign, ""
	}
	rest, ok := strings.CutPrefix(path, ofrepPath)
	switch {
	case !ok:
		return nil, ""
	case rest == "":
		return s.hot.all, ""
	case len(rest) > 1 && rest[0] == '/' && strings.IndexByte(rest[1:], '/') < 0:
		return s.hot.one, rest[1:]
	}
	return nil, ""
}

// Wants implements front.Handler: applications at a hot door. Browsers, whose CORS and limits of frontend keys the routes know, are not.
func (s *Server) Wants(r *front.Request) bool {
	route, _ := s.hotDoor(r.Path)
	return route != nil && r.Origin == ""
}

// Answer implements front.Handler.
func (s *Server) Answer(dst []byte, r *front.Request) (answer []byte, ok bool) {
	start := time.Now()
	route, key := s.hotDoor(r.Path)
	who := s.keys.Load().caller(secretFrom(r.Authorization, r.APIKey))
	if who == nil || who.bits&apps == 0 {
		return dst, false
	}
	a, p := s.newAsk(context.Background())
	if p != nil {
		return dst, false
	}
	defer a.free()
	status, tag := http.StatusOK, ""
	switch route {
	case s.hot.assign:
		if a.question(r.Body) != nil || a.appendAnswer() != nil {
			return dst, false
		}
	case s.hot.one:
		if a.ofrepQuestion(r.Body) != nil {
			return dst, false
		}
		a.expose = exposeYes
		x, err := a.answer(key)
		if err != nil || x.Reason == experiments.ReasonUnknown {
			return dst, false
		}
		a.appendFlag(&x)
	case s.hot.all:
		if a.ofrepQuestion(r.Body) != nil {
			return dst, false
		}
		if tag = a.etag("ofrep", a.asked); tag == r.IfNoneMatch {
			status = http.StatusNotModified
		} else if a.appendFlags() != nil {
			return dst, false
		}
	}
	dst = a.appendHead(dst, status, tag, s.cors != nil && route != s.hot.assign, start)
	dst = append(dst, a.out...)
	route.done(status, time.Since(start))
	return dst, true
}

// appendHead writes the head of an answer: what the routes send.
func (a *ask) appendHead(dst []byte, status int, tag string, vary bool, now time.Time) []byte {
	if status == http.StatusNotModified {
		dst = append(dst, "HTTP/1.1 304 Not Modified\r\n"...)
	} else {
		dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
		dst = append(strconv.AppendInt(dst, int64(len(a.out)), 10), "\r\n"...)
	}
	if tag != "" {
		dst = append(append(dst, "Cache-Control: no-cache\r\nEtag: "...), tag...)
		dst = append(dst, "\r\n"...)
	}
	if vary {
		dst = append(dst, "Vary: Origin\r\n"...)
	}
	dst = front.AppendDate(append(dst, "X-Content-Type-Options: nosniff\r\nDate: "...), now)
	return append(dst, "\r\n\r\n"...)
}

package front

import (
	"bytes"
	"strings"
	"unsafe"
)

// Request is a plain POST of an HTTP/1.1 connection. Everything in it points into the connection's buffer and is valid until Answer returns.
type Request struct {
	Path          string // of the request line, without a query and without escapes
	Body          []byte
	Authorization string
	APIKey        string // X-API-Key
	IfNoneMatch   string
	Origin        string
}

// Largest head and body that are read here, in bytes: what is larger goes to net/http, which has limits of its own.
const (
	maxHead = 16 << 10
	maxBody = 64 << 10
)

// verdict is what a head says of its request.
type verdict int

const (
	partial verdict = iota // the head has no end yet
	plain                  // a POST whose length is known and whose body is short and not coded: it may be answered here
	framed                 // its length is known
	strange                // only net/http may judge it
)

// head reads a request's head from b: where it ends and how long the body is. It is strict: a version other than HTTP/1.1, a line that does not end in CRLF, a
// folded or malformed field, Transfer-Encoding, Upgrade, Expect, a Connection other than keep-alive or a second field that counts once is strange.
func (r *Request) head(b []byte) (size, length int, v verdict) {
	*r = Request{}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, 0, unfinished(b)
	}
	post, ok := r.line(b[:end])
	if !ok {
		return 0, 0, strange
	}
	coded, host, sized := false, false, false
	for at := end + 1; ; {
		end = bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return 0, 0, unfinished(b)
		}
		line := b[at : at+end]
		at += end + 1
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, 0, strange
		}
		if line = line[:len(line)-1]; len(line) == 0 {
			if at > maxHead || !host {
				return 0, 0, strange
			}
			if post && sized && !coded && length <= maxBody {
				return at, length, plain
			}
			return at, length, framed
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isToken(line[:colon]) {
			return 0, 0, strange
		}
		name, value := view(line[:colon]), bytes.Trim(line[colon+1:], " \t")
		if !isValue(value) {
			return 0, 0, strange
		}
		once := (*string)(nil)
		switch len(name) {
		case 4:
			if strings.EqualFold(name, "Host") {
				if host || len(value) == 0 || !isHost(value) {
					return 0, 0, strange
				}
				host = true
			}
		case 6:
			switch {
			case strings.EqualFold(name, "Origin"):
				once = &r.Origin
			case strings.EqualFold(name, "Expect"):
				return 0, 0, strange
			}
		case 7:
			if strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Trailer") {
				return 0, 0, strange
			}
		case 9:
			if strings.EqualFold(name, "X-API-Key") {
				once = &r.APIKey
			}
		case 10:
			if strings.EqualFold(name, "Connection") && !strings.EqualFold(view(value), "keep-alive") {
				return 0, 0, strange
			}
		case 13:
			switch {
			case strings.EqualFold(name, "Authorization"):
				once = &r.Authorization
			case strings.EqualFold(name, "If-None-Match"):
				once = &r.IfNoneMatch
			}
		case 14:
			if strings.EqualFold(name, "Content-Length") {
				if sized || len(value) == 0 || len(value) > 9 {
					return 0, 0, strange
				}
				for _, c := range value {
					if c < '0' || c > '9' {
						return 0, 0, strange
					}
					length = 10*length + int(c-'0')
				}
				sized = true
			}
		case 16:
			coded = coded || strings.EqualFold(name, "Content-Encoding")
		case 17:
			if strings.EqualFold(name, "Transfer-Encoding") {
				return 0, 0, strange
			}
		}
		if once != nil {
			if *once != "" || len(value) == 0 {
				return 0, 0, strange
			}
			*once = view(value)
		}
	}
}

// unfinished judges a head that has no end yet.
func unfinished(b []byte) verdict {
	if len(b) > maxHead {
		return strange
	}
	return partial
}

// line reads the request line; post tells whether it is a POST of a path that needs no unescaping.
func (r *Request) line(b []byte) (post, ok bool) {
	const version = " HTTP/1.1\r"
	cut := len(b) - len(version)
	if cut < 0 || string(b[cut:]) != version {
		return false, false
	}
	method, target, found := bytes.Cut(b[:cut], []byte(" "))
	if !found || !isToken(method) || len(target) == 0 || target[0] != '/' {
		return false, false
	}
	post = string(method) == "POST"
	for _, c := range target {
		switch {
		case c <= ' ' || c >= 0x7f:
			return false, false
		case !safe[c] && c != '/':
			post = false
		}
	}
	r.Path = view(target)
	return post, true
}

var token, safe = func() (token, safe [256]bool) {
	for c := '0'; c <= 'z'; c++ {
		letter := c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a'
		token[c], safe[c] = letter, letter
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		token[c] = true
	}
	for _, c := range "-._~" {
		safe[c] = true
	}
	return token, safe
}()

// isToken reports whether a method or a field's name is a token of RFC 9110.
func isToken(b []byte) bool {
	for _, c := range b {
		if !token[c] {
			return false
		}
	}
	return len(b) > 0
}

func isValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isHost accepts names, addresses and ports; the rest of what a Host may hold is left to net/http.
func isHost(b []byte) bool {
	for _, c := range b {
		if !safe[c] && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

// view is a string over bytes that stay as they are while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

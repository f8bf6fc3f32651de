package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"perennial/experiments"
)

// The hot doors read their bodies with this scanner instead of reflection. It runs over bytes that wellFormed has accepted, so it only has to find
// its way, never to judge. Duplicate members count as in encoding/json: the last one wins.

// scanner walks valid JSON.
type scanner struct {
	b []byte
	i int
}

// valid checks a body once; the scanner relies on it.
func valid(body []byte) *Problem {
	if wellFormed(body) {
		return nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		if len(body) == 0 {
			return problem(http.StatusBadRequest, "the body is empty: send a JSON object")
		}
		return problemOf(err)
	}
	return problem(http.StatusBadRequest, "the body is not JSON")
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// peek returns the first byte of the next value.
func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// raw skips the next value and returns its bytes.
func (s *scanner) raw() []byte {
	s.space()
	start := s.i
	switch s.b[s.i] {
	case '"':
		s.skipText()
	case '{', '[':
		depth := 0
		for {
			switch s.b[s.i] {
			case '"':
				s.skipText()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.i++
			if depth == 0 {
				return s.b[start:s.i]
			}
		}
	default:
		for s.i < len(s.b) {
			switch s.b[s.i] {
			case ',', '}', ']', ' ', '\n', '\t', '\r':
				return s.b[start:s.i]
			}
			s.i++
		}
	}
	return s.b[start:s.i]
}

func (s *scanner) skipText() {
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}

// next steps to the next member of an object that enter has opened and returns its name; ok is false at the end.
func (s *scanner) next() (name string, ok bool) {
	s.space()
	if s.b[s.i] == ',' {
		s.i++
		s.space()
	}
	if s.b[s.i] == '}' {
		s.i++
		return "", false
	}
	name = textOf(s.raw())
	s.space()
	s.i++ // the colon
	return name, true
}

// more steps to the next element of an array that enter has opened.
func (s *scanner) more() bool {
	s.space()
	if s.b[s.i] == ',' {
		s.i++
		s.space()
	}
	if s.b[s.i] == ']' {
		s.i++
		return false
	}
	return true
}

// enter opens an object or an array.
func (s *scanner) enter() {
	s.space()
	s.i++
}

// textOf returns the text of a JSON string. Without escapes it points into the body: it lives as long as the request and is copied by who keeps it.
func textOf(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' {
			var out string
			if json.Unmarshal(raw, &out) != nil {
				return ""
			}
			return out
		}
	}
	return unsafe.String(unsafe.SliceData(inner), len(inner))
}

// valueOf reads an attribute: a text, a number or a boolean; anything else is missing.
func valueOf(raw []byte) experiments.Value {
	switch raw[0] {
	case '"':
		return experiments.Value{Kind: experiments.Text_, Text: textOf(raw)}
	case 't':
		return experiments.Value{Kind: experiments.Boolean, Num: 1}
	case 'f':
		return experiments.Value{Kind: experiments.Boolean}
	case 'n', '{', '[':
		return experiments.Value{}
	}
	n, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(raw), len(raw)), 64)
	if err != nil {
		return experiments.Value{}
	}
	return experiments.Value{Kind: experiments.Number, Num: n}
}

// sentAttributes are the attributes that the app sent, in the order of the body.
type sentAttributes struct{ list []sentAttribute }

type sentAttribute struct {
	name  string
	value experiments.Value
}

// Attribute returns the last attribute of that name.
func (a *sentAttributes) Attribute(name string) experiments.Value {
	for i := len(a.list) - 1; i >= 0; i-- {
		if a.list[i].name == name {
			return a.list[i].value
		}
	}
	return experiments.Value{}
}

// unitFault says what is wrong with a unit id; "" when nothing is (DESIGN §4.1: UTF-8, 1 to 256 bytes).
func unitFault(id string) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > 256:
		return "is longer than 256 bytes"
	case !utf8.ValidString(id):
		return "is not UTF-8"
	}
	return ""
}

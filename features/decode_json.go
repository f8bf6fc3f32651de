package features

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// scanner walks one JSON text without building a tree: an event is small and most of it is copied as it stands.
type scanner struct {
	data []byte
	pos  int
}

var errSyntax = &InvalidError{"", "not valid JSON"}

// maxDepth bounds nesting, so that a hostile body cannot exhaust the stack.
const maxDepth = 100

// object calls field for every member of the object that the whole text must be, with the raw value.
func (s *scanner) object(field func(key string, value []byte) error) error {
	s.blank()
	if s.peek() != '{' {
		return &InvalidError{"", "not a JSON object"}
	}
	if err := s.members(field); err != nil {
		return err
	}
	s.blank()
	if s.pos != len(s.data) {
		return errSyntax
	}
	return nil
}

// members reads from '{' to its '}'.
func (s *scanner) members(field func(key string, value []byte) error) error {
	s.pos++
	s.blank()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.blank()
		from := s.pos
		if !s.skipString() {
			return errSyntax
		}
		quoted := s.data[from:s.pos]
		s.blank()
		if s.peek() != ':' {
			return errSyntax
		}
		s.pos++
		s.blank()
		from = s.pos
		if !s.skip(0) {
			return errSyntax
		}
		key, ok := unquote(quoted)
		if ok {
			if err := field(key, s.data[from:s.pos]); err != nil {
				return err
			}
		}
		s.blank()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) blank() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// skip passes one value of any type and reports whether it is valid JSON.
func (s *scanner) skip(depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch c := s.peek(); c {
	case '"':
		return s.skipString()
	case '{', '[':
		s.pos++
		s.blank()
		if s.peek() == c+2 { // '}' is '{'+2 and ']' is '['+2
			s.pos++
			return true
		}
		for {
			s.blank()
			if c == '{' {
				if !s.skipString() {
					return false
				}
				s.blank()
				if s.peek() != ':' {
					return false
				}
				s.pos++
				s.blank()
			}
			if !s.skip(depth + 1) {
				return false
			}
			s.blank()
			switch s.peek() {
			case ',':
				s.pos++
			case c + 2:
				s.pos++
				return true
			default:
				return false
			}
		}
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.skipNumber()
	}
}

func (s *scanner) word(w string) bool {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

// skipString passes a quoted string; escapes are checked, control characters refused.
func (s *scanner) skipString() bool {
	if s.peek() != '"' {
		return false
	}
	for i := s.pos + 1; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return true
		case c < 0x20:
			return false
		case c == '\\':
			i++
			if i >= len(s.data) {
				return false
			}
			switch s.data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(s.data) {
					return false
				}
				for _, h := range s.data[i+1 : i+5] {
					if !(h >= '0' && h <= '9' || h >= 'a' && h <= 'f' || h >= 'A' && h <= 'F') {
						return false
					}
				}
				i += 4
			default:
				return false
			}
		}
	}
	return false
}

// skipNumber passes a number of the JSON grammar: no leading zero, plus sign or bare dot.
func (s *scanner) skipNumber() bool {
	d, i := s.data, s.pos
	digits := func() bool {
		from := i
		for i < len(d) && d[i] >= '0' && d[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(d) && d[i] == '-' {
		i++
	}
	if i < len(d) && d[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(d) && d[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(d) && (d[i] == 'e' || d[i] == 'E') {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	s.pos = i
	return true
}

// unquote returns the text of a valid JSON string; ok is false for another type, and for an unpaired surrogate, which
// encoding/json would silently replace: an id is taken as sent or not at all.
func unquote(value []byte) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	if err := json.Unmarshal(value, &text); err != nil {
		return "", false
	}
	if strings.ContainsRune(text, utf8.RuneError) && !bytes.Contains(inner, []byte("\uFFFD")) && !bytes.Contains(bytes.ToLower(inner), []byte(`\ufffd`)) {
		return "", false
	}
	return text, true
}

// compact returns valid JSON without blanks between tokens, in a slice of its own.
func compact(value []byte) []byte {
	out := make([]byte, 0, len(value))
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case quoted && c == '\\':
			out = append(out, c)
			i++
			c = value[i]
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			continue
		}
		out = append(out, c)
	}
	return out
}

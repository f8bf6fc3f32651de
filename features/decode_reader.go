package features

import (
	"strings"
	"time"
	"unicode/utf8"
)

// reader walks JSON texts in one pass. What it returns shares the memory of its text, so an event costs no allocation but for escaped
// strings. Its plain counterpart, against which it is tested, is scanner.
type reader struct {
	s   string
	pos int
	// arena holds compacted properties; a slice that was taken from it stays valid when it grows.
	arena []byte
}

// class tells the bytes at which a plain run of a JSON string ends: the quote, the backslash and control characters.
var class = func() (c [256]bool) {
	for i := range 0x20 {
		c[i] = true
	}
	c['"'], c['\\'] = true, true
	return c
}()

func (r *reader) blank() {
	for r.pos < len(r.s) {
		switch r.s[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return
		}
	}
}

func (r *reader) peek() byte {
	if r.pos < len(r.s) {
		return r.s[r.pos]
	}
	return 0
}

// quoted passes a string and returns it with its quotes; plain says that it holds no escape.
func (r *reader) quoted() (raw string, plain, ok bool) {
	s, i := r.s, r.pos+1
	if r.pos >= len(s) || s[r.pos] != '"' {
		return "", false, false
	}
	for i < len(s) && !class[s[i]] {
		i++
	}
	if i < len(s) && s[i] == '"' {
		raw = s[r.pos : i+1]
		r.pos = i + 1
		return raw, true, true
	}
	slow := scanner{data: []byte(s[r.pos:min(len(s), r.pos+stringEnd(s[r.pos:]))])}
	if !slow.skipString() {
		return "", false, false
	}
	raw = s[r.pos : r.pos+slow.pos]
	r.pos += slow.pos
	return raw, false, true
}

// stringEnd returns the length of the quoted string that a text begins with, escapes passed over; the whole length where it does not end.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// skip passes one value of any type and reports whether it is valid JSON.
func (r *reader) skip(depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch c := r.peek(); c {
	case '"':
		_, _, ok := r.quoted()
		return ok
	case '{', '[':
		r.pos++
		r.blank()
		if r.peek() == c+2 { // '}' is '{'+2 and ']' is '['+2
			r.pos++
			return true
		}
		for {
			r.blank()
			if c == '{' {
				if _, _, ok := r.quoted(); !ok {
					return false
				}
				r.blank()
				if r.peek() != ':' {
					return false
				}
				r.pos++
				r.blank()
			}
			if !r.skip(depth + 1) {
				return false
			}
			r.blank()
			switch r.peek() {
			case ',':
				r.pos++
			case c + 2:
				r.pos++
				return true
			default:
				return false
			}
		}
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	default:
		return r.number()
	}
}

func (r *reader) word(w string) bool {
	if !strings.HasPrefix(r.s[r.pos:], w) {
		return false
	}
	r.pos += len(w)
	return true
}

// number passes a number of the JSON grammar: no leading zero, plus sign or bare dot.
func (r *reader) number() bool {
	s, i := r.s, r.pos
	digits := func(i int) int {
		for i < len(s) && s[i]-'0' < 10 {
			i++
		}
		return i
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if end := digits(i); end == i {
		return false
	} else {
		i = end
	}
	if i < len(s) && s[i] == '.' {
		end := digits(i + 1)
		if end == i+1 {
			return false
		}
		i = end
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		end := digits(i)
		if end == i {
			return false
		}
		i = end
	}
	r.pos = i
	return true
}

// event reads the object at the position into e. ok is false when the text is not JSON there; fault is the first field that has not the form of
// CONTRACT §3, and the whole object is passed over nevertheless. What is no object is a fault of its own.
func (r *reader) event(e *Event) (fault *InvalidError, ok bool) {
	if r.peek() != '{' {
		return &InvalidError{"", "not a JSON object"}, r.skip(0)
	}
	r.pos++
	r.blank()
	if r.peek() == '}' {
		r.pos++
		return nil, true
	}
	for {
		r.blank()
		quoted, plain, ok := r.quoted()
		if !ok {
			return nil, false
		}
		r.blank()
		if r.peek() != ':' {
			return nil, false
		}
		r.pos++
		r.blank()
		key := quoted[1 : len(quoted)-1]
		if !plain {
			if key, ok = unquote([]byte(quoted)); !ok {
				key = ""
			}
		}
		problem, ok := r.field(e, key)
		if !ok {
			return nil, false
		}
		if problem != "" && fault == nil {
			fault = &InvalidError{key, problem}
		}
		r.blank()
		switch r.peek() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			return fault, true
		default:
			return nil, false
		}
	}
}

// field reads the value at the position into the field that a key names; problem says why it has not the field's form.
func (r *reader) field(e *Event, key string) (problem string, ok bool) {
	if text := e.text(key); text != nil {
		return r.text(text)
	}
	if amount := e.amount(key); amount != nil {
		return r.amount(amount)
	}
	switch key {
	case "ts":
		return r.time(&e.TS)
	case "sent_at":
		return r.time(&e.SentAt)
	case "properties":
		return r.properties(e)
	}
	return "", r.skip(1)
}

func (r *reader) text(into *string) (problem string, ok bool) {
	switch r.peek() {
	case '"':
		raw, plain, ok := r.quoted()
		if !ok {
			return "", false
		}
		if plain {
			*into = raw[1 : len(raw)-1]
			return "", true
		}
		if *into, ok = unquote([]byte(raw)); !ok {
			return "not a JSON string", true
		}
		return "", true
	case 'n':
		return "", r.word("null")
	}
	return "not a JSON string", r.skip(1)
}

func (r *reader) amount(into *Amount) (problem string, ok bool) {
	from := r.pos
	switch r.peek() {
	case 'n':
		return "", r.word("null")
	case '"', '{', '[', 't', 'f':
		return "not a decimal number", r.skip(1)
	}
	if !r.number() {
		return "", false
	}
	m, err := ParseMicros(r.s[from:r.pos])
	if err != nil {
		return "not a decimal number", true
	}
	*into = AmountOf(m)
	return "", true
}

func (r *reader) time(into *time.Time) (problem string, ok bool) {
	switch r.peek() {
	case '"':
		raw, plain, ok := r.quoted()
		if !ok {
			return "", false
		}
		if plain {
			if t, ok := plainRFC3339(raw[1 : len(raw)-1]); ok {
				*into = t
				return "", true
			}
		}
		*into, problem = parseTime([]byte(raw))
		return problem, true
	case 'n':
		return "", r.word("null")
	}
	return "not a JSON string", r.skip(1)
}

// plainRFC3339 reads 2006-01-02T15:04:05 with up to nine decimals and Z or ±hh:mm. ok is false for anything else, which the standard library judges.
func plainRFC3339(s string) (t time.Time, ok bool) {
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	two := func(i int) int {
		a, b := s[i]-'0', s[i+1]-'0'
		if a > 9 || b > 9 {
			return 1 << 20
		}
		return int(a)*10 + int(b)
	}
	y, mo, d := two(0)*100+two(2), two(5), two(8)
	h, mi, sec := two(11), two(14), two(17)
	if y < 1 || y > 9999 || mo < 1 || mo > 12 || d < 1 || d > 28 && (d > 31 || d > daysIn(y, mo)) || h > 23 || mi > 59 || sec > 59 {
		return t, false
	}
	i, micros, unit := 19, int64(0), int64(100_000)
	if s[i] == '.' {
		for i++; i < len(s) && s[i]-'0' < 10; i++ {
			micros += int64(s[i]-'0') * unit
			unit /= 10
		}
		if i == 20 || i > 29 {
			return t, false
		}
	}
	offset := 0
	switch zone := s[i:]; {
	case zone == "Z":
	case len(zone) == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':':
		zh, zm := two(i+1), two(i+4)
		if zh > 23 || zm > 59 {
			return t, false
		}
		if offset = zh*3600 + zm*60; zone[0] == '-' {
			offset = -offset
		}
	default:
		return t, false
	}
	seconds := int64(civilDays(y, mo, d))*86400 + int64(h*3600+mi*60+sec-offset)
	return time.Unix(seconds, micros*1000).UTC(), true
}

// civilDays returns the days since 1970-01-01 of a date of the proleptic Gregorian calendar (Hinnant, days_from_civil).
func civilDays(y, m, d int) int {
	if m <= 2 {
		y--
		m += 12
	}
	era, yoe := y/400, y%400
	doy := (153*(m-3)+2)/5 + d - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

func (r *reader) properties(e *Event) (problem string, ok bool) {
	from := r.pos
	if !r.skip(1) {
		return "", false
	}
	raw := r.s[from:r.pos]
	switch {
	case raw == "null":
		return "", true
	case raw[0] != '{':
		return "not a JSON object", true
	}
	at := len(r.arena)
	r.arena = appendCompact(r.arena, raw)
	p := r.arena[at:len(r.arena):len(r.arena)]
	switch {
	case len(p) > MaxPropertiesBytes:
		r.arena = r.arena[:at]
		return "more than 16 KB", true
	case len(p) == 2:
		r.arena, p = r.arena[:at], nil
	}
	e.Properties = p
	return "", true
}

// appendCompact appends valid JSON without blanks between tokens.
func appendCompact(dst []byte, value string) []byte {
	for len(value) > 0 {
		i := strings.IndexByte(value, '"')
		if i < 0 {
			i = len(value)
		}
		for _, c := range []byte(value[:i]) {
			if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				dst = append(dst, c)
			}
		}
		if value = value[i:]; len(value) == 0 {
			break
		}
		end := stringEnd(value)
		dst = append(dst, value[:end]...)
		value = value[end:]
	}
	return dst
}

// finish judges a read event as a whole: it derives ids and days, corrects the clock and validates.
func finish(e *Event, shop Shop, now time.Time, live bool) *InvalidError {
	if e.EventID == "" {
		e.EventID = deriveOrderID(e)
	}
	e.IDDay = utcDay(e.TS)
	if live && !e.SentAt.IsZero() {
		if skew := now.Sub(e.SentAt); skew > maxSkew || skew < -maxSkew {
			e.TS = e.TS.Add(skew).Truncate(time.Microsecond)
		}
	}
	if fault := e.validate(shop); fault != nil {
		return fault
	}
	if e.TS.Sub(now) > MaxFuture {
		return &InvalidError{"ts", "in the future"}
	}
	return nil
}

// whole reads a text that is one event and nothing else.
func (r *reader) whole(e *Event) *InvalidError {
	if !utf8.ValidString(r.s) {
		return &InvalidError{"", "not valid UTF-8"}
	}
	r.blank()
	fault, ok := r.event(e)
	if !ok {
		return errSyntax
	}
	r.blank()
	if r.pos != len(r.s) {
		return errSyntax
	}
	return fault
}

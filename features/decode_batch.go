package features

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Limits of one request body; the zero value means the contract's.
type Limits struct {
	Bytes  int64 // after decompression; 0 means 10 MiB
	Events int   // 0 means 10,000
}

// ErrTooLarge says that a body holds more bytes or events than its limits allow: 413.
var ErrTooLarge = errors.New("body too large")

// ErrUnreadable says that a body is neither a JSON array nor NDJSON: 400.
var ErrUnreadable = errors.New("body is neither a JSON array of events nor NDJSON")

// Fault is one rejected event of a batch.
type Fault struct {
	Index  int    `json:"index"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// Batch is a decoded body: Events[i] is the event at Index[i] of the body; Rejected holds the others, both in the body's order. The texts of
// the events share the memory of the body: who keeps one for long clones it.
type Batch struct {
	Events   []Event
	Index    []int
	Rejected []Fault
	Texts    []string // Texts[i] is what Rejected[i] was made of; other faults may follow without one
}

// DecodeBatch reads a decompressed body: a JSON array of events, a single event, or NDJSON. Good events are never lost because of
// bad ones: a line or element that cannot be used is in Rejected with field and reason. Errors: ErrTooLarge, ErrUnreadable (an
// array that does not end, an empty body), or the reader's.
func DecodeBatch(body io.Reader, shop Shop, now time.Time, l Limits) (*Batch, error) {
	if l.Bytes == 0 {
		l.Bytes = 10 << 20
	}
	if l.Events == 0 {
		l.Events = 10_000
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooledBody {
			bodies.Put(buf)
		}
	}()
	buf.Reset()
	if n, err := buf.ReadFrom(io.LimitReader(body, l.Bytes+1)); err != nil {
		return nil, err
	} else if n > l.Bytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.Bytes)
	}
	d := batchDecoder{reader: reader{s: string(bytes.TrimPrefix(buf.Bytes(), []byte("\xef\xbb\xbf")))}, shop: shop, now: now, most: l.Events, batch: &Batch{}}
	d.valid = utf8.ValidString(d.s)
	return d.batch, d.decode()
}

// maxPooledBody is the largest buffer that is kept for the next body.
const maxPooledBody = 256 << 10

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// batchDecoder decodes one body.
type batchDecoder struct {
	reader
	valid bool // the whole body is UTF-8
	shop  Shop
	now   time.Time
	most  int
	batch *Batch
	n     int // elements so far
}

func (d *batchDecoder) decode() error {
	d.blank()
	switch d.peek() {
	case '[':
		return d.array()
	case 0:
		return ErrUnreadable
	}
	rest := strings.TrimSpace(d.s[d.pos:])
	if one := (reader{s: rest}); rest[0] == '{' && one.skip(0) && one.pos == len(rest) {
		return d.line(rest, 0) // one event, perhaps over several lines
	}
	objects := false
	text := d.s
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		objects = objects || line[0] == '{'
		if err := d.line(line, len(text)); err != nil {
			return err
		}
	}
	if !objects {
		return ErrUnreadable
	}
	return nil
}

// next makes room for one more element; rest is how much of the body is not read yet.
func (d *batchDecoder) next(rest int) (*Event, error) {
	if d.n == d.most {
		return nil, fmt.Errorf("%w: more than %d events", ErrTooLarge, d.most)
	}
	b := d.batch
	if len(b.Events) == cap(b.Events) { // by what the elements so far took
		each := 300
		if d.n > 0 {
			each = max(1, (len(d.s)-rest)/d.n)
		}
		more := min(d.most, d.n+rest/each+2) - d.n
		b.Events, b.Index = slices.Grow(b.Events, more), slices.Grow(b.Index, more)
	}
	b.Events, b.Index = append(b.Events, Event{}), append(b.Index, d.n)
	d.n++
	return &b.Events[len(b.Events)-1], nil
}

// judge keeps the last event, or its fault.
func (d *batchDecoder) judge(e *Event, fault *InvalidError, text string) {
	if fault == nil {
		fault = finish(e, d.shop, d.now, true)
	}
	if fault == nil {
		return
	}
	b := d.batch
	b.Events, b.Index = b.Events[:len(b.Events)-1], b.Index[:len(b.Index)-1]
	b.Rejected = append(b.Rejected, Fault{d.n - 1, fault.Field, fault.Reason})
	b.Texts = append(b.Texts, text)
}

// line decodes a text that is one event; rest is how much of the body stands behind it.
func (d *batchDecoder) line(text string, rest int) error {
	e, err := d.next(rest)
	if err != nil {
		return err
	}
	one := reader{s: text, arena: d.arena}
	fault := one.whole(e)
	d.arena = one.arena
	d.judge(e, fault, text)
	return nil
}

// array decodes an array; one that is not closed or holds broken JSON cannot be read at all.
func (d *batchDecoder) array() error {
	d.pos++
	d.blank()
	if d.peek() == ']' {
		d.pos++
		return d.end()
	}
	for {
		d.blank()
		from := d.pos
		e, err := d.next(len(d.s) - d.pos)
		if err != nil {
			if !d.skip(0) { // broken JSON is not told apart from too much of it
				return ErrUnreadable
			}
			return err
		}
		fault, ok := d.event(e)
		if !ok {
			return ErrUnreadable
		}
		if !d.valid && !utf8.ValidString(d.s[from:d.pos]) {
			fault = &InvalidError{"", "not valid UTF-8"}
		}
		d.judge(e, fault, d.s[from:d.pos])
		d.blank()
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return d.end()
		default:
			return ErrUnreadable
		}
	}
}

func (d *batchDecoder) end() error {
	d.blank()
	if d.pos != len(d.s) {
		return ErrUnreadable
	}
	return nil
}

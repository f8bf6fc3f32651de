package features

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
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

// Batch is a decoded body: Events[i] is the event at Index[i] of the body; Rejected holds the others, both in the body's order.
type Batch struct {
	Events   []Event
	Index    []int
	Rejected []Fault
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
	var buf bytes.Buffer
	if n, err := buf.ReadFrom(io.LimitReader(body, l.Bytes+1)); err != nil {
		return nil, err
	} else if n > l.Bytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.Bytes)
	}
	parts, err := split(bytes.TrimPrefix(buf.Bytes(), []byte("\xef\xbb\xbf")), l.Events)
	if err != nil {
		return nil, err
	}
	b := &Batch{Events: make([]Event, 0, len(parts)), Index: make([]int, 0, len(parts))}
	for i, raw := range parts {
		e, err := DecodeEvent(raw, shop, now)
		var invalid *InvalidError
		if errors.As(err, &invalid) {
			b.Rejected = append(b.Rejected, Fault{i, invalid.Field, invalid.Reason})
			continue
		}
		b.Events, b.Index = append(b.Events, e), append(b.Index, i)
	}
	return b, nil
}

// split cuts a body into the raw texts of its events.
func split(body []byte, most int) ([][]byte, error) {
	s := scanner{data: body}
	s.blank()
	switch s.peek() {
	case '[':
		return s.elements(most)
	case 0:
		return nil, ErrUnreadable
	}
	rest := bytes.TrimSpace(body[s.pos:])
	if whole := (scanner{data: rest}); rest[0] == '{' && whole.skip(0) && whole.pos == len(rest) {
		return [][]byte{rest}, nil // one event, perhaps over several lines
	}
	var parts [][]byte
	objects := false
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(parts) == most {
			return nil, fmt.Errorf("%w: more than %d events", ErrTooLarge, most)
		}
		objects = objects || line[0] == '{'
		parts = append(parts, line)
	}
	if !objects {
		return nil, ErrUnreadable
	}
	return parts, nil
}

// elements cuts an array; one that is not closed or holds broken JSON cannot be read at all.
func (s *scanner) elements(most int) ([][]byte, error) {
	parts := [][]byte{}
	s.pos++
	s.blank()
	if s.peek() == ']' {
		s.pos++
		return parts, s.end()
	}
	for {
		s.blank()
		from := s.pos
		if !s.skip(0) {
			return nil, ErrUnreadable
		}
		if len(parts) == most {
			return nil, fmt.Errorf("%w: more than %d events", ErrTooLarge, most)
		}
		parts = append(parts, s.data[from:s.pos])
		s.blank()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return parts, s.end()
		default:
			return nil, ErrUnreadable
		}
	}
}

func (s *scanner) end() error {
	s.blank()
	if s.pos != len(s.data) {
		return ErrUnreadable
	}
	return nil
}

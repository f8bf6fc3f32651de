package features

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// MaxLineBytes bounds a line of an imported file, and a CSV record over several lines.
const MaxLineBytes = 1 << 20

// maxRecordLines bounds how many lines one quoted CSV record may take: a stray quote must not swallow the file.
const maxRecordLines = 100

// LineError is a line or record that cannot be read; the lines after it can.
type LineError struct{ Reason string }

func (e *LineError) Error() string { return e.Reason }

// Lines reads a text line by line, with numbers, and survives lines of any length and content.
type Lines struct {
	r      *bufio.Reader
	number int
	spare  []spareLine // lines that were read ahead and given back
	long   []byte
}

type spareLine struct {
	text   []byte
	number int
	err    error
}

// NewLines reads from r. A byte order mark at the start is dropped.
func NewLines(r io.Reader) *Lines {
	l := &Lines{r: bufio.NewReaderSize(r, 256<<10)}
	if mark, err := l.r.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		l.r.Discard(3)
	}
	return l
}

// Next returns the next line without its end and its number from 1. The text is valid until the call after. The error is io.EOF, a
// *LineError (too long, a NUL byte, not UTF-8: the text is then the clipped line) or the reader's.
func (l *Lines) Next() (text []byte, number int, err error) {
	if len(l.spare) > 0 {
		s := l.spare[0]
		l.spare = l.spare[1:]
		return s.text, s.number, s.err
	}
	text, err = l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		text, err = l.readLong(text)
	}
	if err != nil && !errors.Is(err, io.EOF) || len(text) == 0 && err != nil {
		var line *LineError
		if errors.As(err, &line) {
			l.number++
			return text, l.number, err
		}
		return nil, l.number, err
	}
	l.number++
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	return text, l.number, lineFault(text)
}

// readLong gathers a line that is longer than the buffer; beyond MaxLineBytes the rest is passed over.
func (l *Lines) readLong(head []byte) ([]byte, error) {
	l.long = append(l.long[:0], head...)
	tooLong := false
	for {
		more, err := l.r.ReadSlice('\n')
		if len(l.long)+len(more) > MaxLineBytes {
			tooLong = true
		} else if !tooLong {
			l.long = append(l.long, more...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if tooLong {
			return l.long[:min(len(l.long), 1000)], &LineError{"line longer than 1 MiB"}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return l.long, err
	}
}

func lineFault(text []byte) error {
	if bytes.IndexByte(text, 0) >= 0 {
		return &LineError{"line holds binary data"}
	}
	if !utf8.Valid(text) {
		return &LineError{"line is not valid UTF-8"}
	}
	return nil
}

// unread gives lines back; they are returned again, in order.
func (l *Lines) unread(lines []spareLine) { l.spare = append(lines, l.spare...) }

// Records reads delimited records (CSV, TSV). Quotes follow RFC 4180; a quote inside an unquoted cell is text.
type Records struct {
	lines *Lines
	comma byte // 0: cells are separated by runs of blanks
	cells [][]byte
	text  []byte
}

// NewRecords reads records whose cells are separated by comma; 0 means runs of blanks.
func NewRecords(lines *Lines, comma byte) *Records { return &Records{lines: lines, comma: comma} }

// Next returns the cells of the next record that is not empty, the number of its first line and its text. All are valid until the
// next call. Errors are those of Lines.Next; a quoted cell that does not end costs its first line only.
func (r *Records) Next() (cells [][]byte, number int, text []byte, err error) {
	for {
		line, number, err := r.lines.Next()
		if err != nil {
			return nil, number, line, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if r.comma == 0 {
			return bytes.Fields(line), number, line, nil
		}
		if bytes.IndexByte(line, '"') < 0 {
			return r.plain(line), number, line, nil
		}
		return r.quoted(line, number)
	}
}

// plain cuts a line without quotes.
func (r *Records) plain(line []byte) [][]byte {
	r.cells = r.cells[:0]
	for {
		i := bytes.IndexByte(line, r.comma)
		if i < 0 {
			r.cells = append(r.cells, line)
			return r.cells
		}
		r.cells = append(r.cells, line[:i])
		line = line[i+1:]
	}
}

// quoted cuts a record with quotes, reading on while a quoted cell is open.
func (r *Records) quoted(line []byte, number int) ([][]byte, int, []byte, error) {
	r.text = append(r.text[:0], line...)
	var ahead []spareLine
	for {
		open, bad := r.cut(r.text)
		if bad {
			r.lines.unread(ahead)
			return nil, number, r.first(ahead), &LineError{"text after a closing quote"}
		}
		if !open {
			return r.cells, number, r.text, nil
		}
		more, n, err := r.lines.Next()
		if err != nil || len(ahead) >= maxRecordLines || len(r.text)+len(more) > MaxLineBytes {
			if n > 0 && !errors.Is(err, io.EOF) {
				ahead = append(ahead, spareLine{append([]byte{}, more...), n, err})
			}
			r.lines.unread(ahead)
			return nil, number, r.first(ahead), &LineError{"quoted cell does not end"}
		}
		ahead = append(ahead, spareLine{append([]byte{}, more...), n, nil})
		r.text = append(append(r.text, '\n'), more...)
	}
}

// first returns the record's first line when others had been joined to it.
func (r *Records) first(ahead []spareLine) []byte {
	if i := bytes.IndexByte(r.text, '\n'); len(ahead) > 0 && i >= 0 {
		return r.text[:i]
	}
	return r.text
}

// cut fills cells from a record's text; open says that a quoted cell goes on, bad that text follows a closing quote.
func (r *Records) cut(text []byte) (open, bad bool) {
	r.cells = r.cells[:0]
	for {
		if len(text) == 0 || text[0] != '"' {
			i := bytes.IndexByte(text, r.comma)
			if i < 0 {
				r.cells = append(r.cells, text)
				return false, false
			}
			r.cells = append(r.cells, text[:i])
			text = text[i+1:]
			continue
		}
		end, escaped := 1, false
		for {
			i := bytes.IndexByte(text[end:], '"')
			if i < 0 {
				return true, false
			}
			end += i
			if end+1 < len(text) && text[end+1] == '"' {
				end, escaped = end+2, true
				continue
			}
			break
		}
		cell := text[1:end]
		if escaped {
			cell = bytes.ReplaceAll(cell, []byte(`""`), []byte(`"`))
		}
		r.cells = append(r.cells, cell)
		text = text[end+1:]
		if len(text) == 0 {
			return false, false
		}
		if text[0] != r.comma {
			return false, true
		}
		text = text[1:]
	}
}

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	_ "github.com/duckdb/duckdb-go/v2" // Parquet
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// cell is one field of a row; null fields and columns that are absent in an NDJSON line are missing.
type cell struct {
	text    string
	missing bool
}

// rowReader gives the wanted columns of a file row by row. next returns io.EOF at the end, and a *rowError for a row that cannot be read;
// reading goes on after it.
type rowReader interface {
	next() (cells []cell, line int64, err error)
}

type rowError struct{ reason string }

func (e *rowError) Error() string { return e.reason }

// openRows opens a file by its name's endings; end closes everything.
func openRows(ctx context.Context, a *App, path string, columns []string) (rowReader, func(), error) {
	name := strings.ToLower(filepath.Base(path))
	if strings.HasSuffix(name, ".parquet") {
		return openParquet(ctx, path, columns)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	var r io.Reader = f
	end := func() { f.Close() }
	switch {
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		r, name = z, strings.TrimSuffix(name, ".gz")
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		end = func() { z.Close(); f.Close() }
		r, name = z, strings.TrimSuffix(name, ".zst")
	}
	text, note, err := asUTF8(r)
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if note != "" {
		fmt.Fprintf(a.Err, "%s: read as %s\n", path, note)
	}
	var rows rowReader
	switch filepath.Ext(name) {
	case ".ndjson", ".jsonl", ".json":
		rows, err = openNDJSON(text, columns)
	case ".tsv", ".tab":
		rows, err = openCSV(text, '\t', columns)
	default:
		rows, err = openCSV(text, ',', columns)
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, end, nil
}

// asUTF8 strips a byte order mark, and reads what is not UTF-8 as UTF-16 (with its mark) or GB18030, which Excel writes in China.
func asUTF8(r io.Reader) (*bufio.Reader, string, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(1 << 15)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	switch {
	case len(head) == 0:
		return nil, "", errors.New("the file is empty")
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := b.Discard(3)
		return b, "", err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return bufio.NewReader(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Reader(b)), "UTF-16", nil
	}
	for i := 0; i < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); i++ {
		head = head[:len(head)-1] // the window may end inside a character
	}
	if !utf8.Valid(head) && !bytes.ContainsRune(head, 0) {
		return bufio.NewReader(simplifiedchinese.GB18030.NewDecoder().Reader(b)), "GB18030", nil
	}
	return b, "", nil
}

// wrongColumn is the error for a column that a file does not have.
func wrongColumn(name string, have []string) error {
	quoted := make([]string, 0, len(have))
	for i, h := range have {
		if i == 20 {
			quoted = append(quoted, "…")
			break
		}
		quoted = append(quoted, strconv.Quote(clipText(h)))
	}
	return usagef("column %q is not in the file; it has %s", name, strings.Join(quoted, ", "))
}

// csvRows reads CSV and TSV with line numbers of the file.
type csvRows struct {
	r     *csv.Reader
	at    []int
	width int
	cells []cell
}

func openCSV(text io.Reader, comma rune, columns []string) (rowReader, error) {
	r := csv.NewReader(text)
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = comma, -1, true
	head, err := r.Read()
	if err == io.EOF {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	c := &csvRows{r: r, width: len(head), cells: make([]cell, len(columns))}
	for _, name := range columns {
		found := -1
		for i, h := range head {
			if strings.TrimSpace(h) != name && h != name {
				continue
			}
			if found >= 0 {
				return nil, usagef("column %q is in the file twice", name)
			}
			found = i
		}
		if found < 0 {
			return nil, wrongColumn(name, head)
		}
		c.at = append(c.at, found)
	}
	return c, nil
}

func (c *csvRows) next() ([]cell, int64, error) {
	row, err := c.r.Read()
	if err == io.EOF {
		return nil, 0, io.EOF
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return nil, int64(parse.StartLine), &rowError{parse.Err.Error()}
	}
	if err != nil {
		return nil, 0, err
	}
	line, _ := c.r.FieldPos(0)
	if len(row) != c.width {
		return nil, int64(line), &rowError{fmt.Sprintf("%d fields, the header has %d", len(row), c.width)}
	}
	for i, at := range c.at {
		c.cells[i] = cell{text: row[at]}
	}
	return c.cells, int64(line), nil
}

// ndjsonRows reads one JSON object a line; numbers keep their text.
type ndjsonRows struct {
	s       *bufio.Scanner
	columns []string
	line    int64
	cells   []cell
	first   map[string]json.RawMessage // the first line, read to check the columns
}

func openNDJSON(text io.Reader, columns []string) (rowReader, error) {
	s := bufio.NewScanner(text)
	s.Buffer(make([]byte, 1<<16), 16<<20)
	n := &ndjsonRows{s: s, columns: columns, cells: make([]cell, len(columns))}
	for s.Scan() {
		n.line++
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		if err := json.Unmarshal(s.Bytes(), &n.first); err != nil {
			return nil, fmt.Errorf("line %d is not a JSON object: %w", n.line, err)
		}
		for _, c := range columns {
			if _, ok := n.first[c]; !ok {
				have := make([]string, 0, len(n.first))
				for k := range n.first {
					have = append(have, k)
				}
				return nil, wrongColumn(c, have)
			}
		}
		return n, nil
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("the file is empty")
}

func (n *ndjsonRows) next() ([]cell, int64, error) {
	object := n.first
	n.first = nil
	for object == nil {
		if !n.s.Scan() {
			if err := n.s.Err(); err != nil {
				return nil, n.line, err
			}
			return nil, n.line, io.EOF
		}
		n.line++
		if len(bytes.TrimSpace(n.s.Bytes())) == 0 {
			continue
		}
		if err := json.Unmarshal(n.s.Bytes(), &object); err != nil || object == nil {
			return nil, n.line, &rowError{"not a JSON object"}
		}
	}
	for i, c := range n.columns {
		raw, ok := object[c]
		n.cells[i] = cell{missing: !ok || string(raw) == "null"}
		if n.cells[i].missing {
			continue
		}
		n.cells[i].text = string(raw)
		if raw[0] == '"' {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return nil, n.line, &rowError{c + ": " + err.Error()}
			}
			n.cells[i].text = text
		}
	}
	return n.cells, n.line, nil
}

// parquetRows reads a Parquet file through an in-memory DuckDB, every wanted column as text.
type parquetRows struct {
	rows  *sql.Rows
	line  int64
	into  []any
	texts []sql.NullString
	cells []cell
}

func openParquet(ctx context.Context, path string, columns []string) (rowReader, func(), error) {
	if _, err := os.Stat(path); err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("duckdb", "?threads=1&autoinstall_known_extensions=false&autoload_known_extensions=false")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	fail := func(err error) (rowReader, func(), error) {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	from := "read_parquet('" + strings.ReplaceAll(path, "'", "''") + "')"
	head, err := db.QueryContext(ctx, "SELECT * FROM "+from+" LIMIT 0")
	if err != nil {
		return fail(err)
	}
	have, err := head.Columns()
	head.Close()
	if err != nil {
		return fail(err)
	}
	list := make([]string, len(columns))
	for i, c := range columns {
		found := false
		for _, h := range have {
			found = found || h == c
		}
		if !found {
			return fail(wrongColumn(c, have))
		}
		list[i] = `CAST("` + strings.ReplaceAll(c, `"`, `""`) + `" AS VARCHAR)`
	}
	rows, err := db.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+from)
	if err != nil {
		return fail(err)
	}
	p := &parquetRows{rows: rows, texts: make([]sql.NullString, len(columns)), cells: make([]cell, len(columns))}
	for i := range p.texts {
		p.into = append(p.into, &p.texts[i])
	}
	return p, func() { rows.Close(); db.Close() }, nil
}

func (p *parquetRows) next() ([]cell, int64, error) {
	if !p.rows.Next() {
		if err := p.rows.Err(); err != nil {
			return nil, p.line, err
		}
		return nil, p.line, io.EOF
	}
	p.line++
	if err := p.rows.Scan(p.into...); err != nil {
		return nil, p.line, err
	}
	for i, t := range p.texts {
		p.cells[i] = cell{t.String, !t.Valid}
	}
	return p.cells, p.line, nil
}

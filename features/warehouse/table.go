package warehouse

import (
	"bufio"
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"perennial/features"
)

// WriteTable writes a table as .parquet, .csv or .ndjson (the last two also with .gz or .zst), atomically; the extension of path decides.
// Every row begins with user_id and as_of. The same table gives the same bytes: numbers are the shortest text that reads back
// equal, integers have no decimal point, null is empty in CSV and null in NDJSON.
func (e *Engine) WriteTable(ctx context.Context, t *features.Table, path string) error {
	form, pack, err := formOf(path)
	if err != nil {
		return err
	}
	if form == ".parquet" {
		return e.writeParquet(ctx, t, path)
	}
	return replaceFile(path, func(f io.Writer) error {
		out, done, err := packed(f, pack)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(out, 1<<18)
		if form == ".csv" {
			err = writeCSV(ctx, t, w)
		} else {
			err = writeNDJSON(ctx, t, w)
		}
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			return err
		}
		return done()
	})
}

// formOf splits a file name into its form and its compression.
func formOf(path string) (form, pack string, err error) {
	base := strings.ToLower(filepath.Base(path))
	for _, p := range []string{".gz", ".zst"} {
		if strings.HasSuffix(base, p) {
			base, pack = strings.TrimSuffix(base, p), p
		}
	}
	switch form = filepath.Ext(base); {
	case form == ".jsonl":
		form = ".ndjson"
	case form == ".parquet" && pack == "", form == ".csv", form == ".ndjson":
	default:
		return "", "", &features.InvalidError{Field: "out", Reason: fmt.Sprintf("%q ends in none of .parquet, .csv, .ndjson (.csv and .ndjson also with .gz or .zst)", filepath.Base(path))}
	}
	return form, pack, nil
}

// packed wraps a writer in a compressor without a time stamp, so that equal tables give equal files.
func packed(w io.Writer, pack string) (io.Writer, func() error, error) {
	switch pack {
	case ".gz":
		z := gzip.NewWriter(w)
		return z, z.Close, nil
	case ".zst":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return w, func() error { return nil }, nil
}

// replaceFile writes a file beside path, syncs it and renames it, so that a reader sees the old file or the whole new one.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", filepath.Base(path), err)
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func writeCSV(ctx context.Context, t *features.Table, w *bufio.Writer) error {
	w.WriteString("user_id,as_of")
	for i := range t.Columns {
		w.WriteByte(',')
		w.WriteString(csvField(t.Columns[i].Name))
	}
	w.WriteByte('\n')
	asOf := t.AsOf.String()
	var buf []byte
	for row, user := range t.Users {
		if row&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		buf = append(append(append(buf[:0], csvField(user)...), ','), asOf...)
		for i := range t.Columns {
			buf = append(buf, ',')
			if c := &t.Columns[i]; c.Texts != nil {
				buf = append(buf, csvField(c.Texts[row])...)
			} else {
				buf = appendNumber(buf, c.Numbers[row], "")
			}
		}
		if _, err := w.Write(append(buf, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// csvField quotes a text where RFC 4180 needs it.
func csvField(s string) string {
	if !strings.ContainsAny(s, ",\"\n\r") {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// appendNumber appends the shortest text of a number that reads back equal, or null. Whole numbers below 2⁵³ have no exponent.
func appendNumber(buf []byte, x float64, null string) []byte {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return append(buf, null...)
	case x == math.Trunc(x) && math.Abs(x) < 1<<53:
		return strconv.AppendInt(buf, int64(x), 10)
	}
	return strconv.AppendFloat(buf, x, 'g', -1, 64)
}

func writeNDJSON(ctx context.Context, t *features.Table, w *bufio.Writer) error {
	names := make([][]byte, len(t.Columns))
	for i := range t.Columns {
		names[i] = appendJSONText([]byte(","), t.Columns[i].Name)
		names[i] = append(names[i], ':')
	}
	var buf []byte
	for row, user := range t.Users {
		if row&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		buf = appendJSONText(append(buf[:0], `{"user_id":`...), user)
		buf = append(append(append(buf, `,"as_of":"`...), t.AsOf.String()...), '"')
		for i := range t.Columns {
			buf = append(buf, names[i]...)
			switch c := &t.Columns[i]; {
			case c.Texts == nil:
				buf = appendNumber(buf, c.Numbers[row], "null")
			case c.Texts[row] == "":
				buf = append(buf, "null"...)
			default:
				buf = appendJSONText(buf, c.Texts[row])
			}
		}
		if _, err := w.Write(append(buf, "}\n"...)); err != nil {
			return err
		}
	}
	return nil
}

// appendJSONText appends a JSON string; encoding/json escapes what must be.
func appendJSONText(buf []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s)
			return append(buf, quoted...)
		}
	}
	return append(append(append(buf, '"'), s...), '"')
}

// writeParquet fills a temporary table and copies it to a file in the engine's own temporary directory, which is the only place that
// DuckDB may write; from there it is copied beside its final name, synced and renamed.
func (e *Engine) writeParquet(ctx context.Context, t *features.Table, path string) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	if err := s.loadTable(ctx, "out", t); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	dir, err := os.MkdirTemp(filepath.Join(e.dir, "tmp"), "table-")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "table.parquet")
	if _, err := s.ExecContext(ctx, "COPY (SELECT * FROM out ORDER BY user_id) TO "+quoteText(made)+" (FORMAT parquet, COMPRESSION zstd)"); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return replaceFile(path, func(w io.Writer) error {
		f, err := os.Open(made)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

// loadTable makes a temporary table from a feature table: user_id, as_of, then its columns.
func (s *session) loadTable(ctx context.Context, name string, t *features.Table) error {
	defs := []string{"user_id VARCHAR", "as_of DATE"}
	for i := range t.Columns {
		kind := "DOUBLE"
		switch c := &t.Columns[i]; {
		case c.Texts != nil:
			kind = "VARCHAR"
		case c.Integer:
			kind = "BIGINT"
		}
		defs = append(defs, quoteName(t.Columns[i].Name)+" "+kind)
	}
	if _, err := s.ExecContext(ctx, "CREATE TEMP TABLE "+quoteName(name)+" ("+strings.Join(defs, ", ")+")"); err != nil {
		return err
	}
	y, m, d := t.AsOf.Date()
	asOf := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	values := make([]driver.Value, len(defs))
	return s.append(ctx, "temp", name, func(row func(...driver.Value) error) error {
		for i, user := range t.Users {
			if i&0xfff == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			values[0], values[1] = user, asOf
			for j := range t.Columns {
				c, v := &t.Columns[j], &values[j+2]
				*v = nil
				switch {
				case c.Texts != nil && c.Texts[i] != "":
					*v = c.Texts[i]
				case c.Texts != nil || math.IsNaN(c.Numbers[i]):
				case c.Integer:
					*v = int64(c.Numbers[i])
				default:
					*v = c.Numbers[i]
				}
			}
			if err := row(values...); err != nil {
				return err
			}
		}
		return nil
	})
}

// quoteName is a SQL identifier.
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// ReadTable reads a Parquet file that WriteTable wrote. A file outside the data directory is read through a copy in it, because DuckDB
// may open nothing else.
func (e *Engine) ReadTable(ctx context.Context, path string) (*features.Table, error) {
	path, done, err := e.inside(path)
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	defer done()
	s, err := e.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	defer s.done()
	from := " FROM read_parquet(" + quoteText(path) + ")"
	t, err := s.table(ctx, "SELECT * EXCLUDE (as_of)"+from)
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	if t.AsOf, err = s.day(ctx, "SELECT max(as_of)"+from); err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	return t, nil
}

// inside returns a path that DuckDB may read: the file itself when it lies in the data directory, else a copy.
func (e *Engine) inside(path string) (string, func(), error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if strings.HasPrefix(abs, e.dir+string(filepath.Separator)) {
		return abs, func() {}, nil
	}
	src, err := os.Open(abs)
	if err != nil {
		return "", nil, err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Join(e.dir, "tmp"), "read-*.parquet")
	if err != nil {
		return "", nil, err
	}
	done := func() { os.Remove(dst.Name()) }
	if _, err = io.Copy(dst, src); err == nil {
		err = dst.Close()
	}
	if err != nil {
		dst.Close()
		done()
		return "", nil, err
	}
	return dst.Name(), done, nil
}

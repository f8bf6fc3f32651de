package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
)

// DatasetWriter takes the per-unit rows behind an experiment's results. A cell is a string, a json.Number, a bool, or nil where the unit's window is not over.
type DatasetWriter interface {
	Columns(names []string) error
	Row(cells []any) error
}

// dataset is GET /v1/experiments/{key}/dataset: one row per exposed unit, from which every number of the page can be recomputed.
func (s *Server) dataset(c *gin.Context) {
	if s.o.Dataset == nil {
		s.fail(c, problem(http.StatusServiceUnavailable, "datasets are not available on this server"))
		return
	}
	format := c.DefaultQuery("format", "ndjson")
	if format != "csv" && format != "ndjson" {
		s.fail(c, invalid("format", "%.32q is not csv or ndjson", format))
		return
	}
	w := NewDatasetWriter(format, c.Writer)
	w.begin = func() {
		c.Header("Content-Type", map[string]string{"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}[format])
		c.Header("Content-Disposition", `attachment; filename="`+c.Param("key")+"."+format+`"`)
		c.Status(http.StatusOK)
	}
	err := s.o.Dataset(c.Request.Context(), c.Param("key"), ResultsQuery{Segment: c.Query("segment"), Until: c.Query("until")}, w)
	if err == nil {
		err = w.Flush()
	}
	switch {
	case err == nil || context.Cause(c.Request.Context()) != nil:
	case w.begun:
		s.log.Error("a dataset broke off", "error", err)
		panic(http.ErrAbortHandler) // what was sent must not look complete
	default:
		s.fail(c, err)
	}
}

// Writer writes rows as CSV or NDJSON. Numbers are exact decimals; nothing is quoted for spreadsheets, because programs read this.
type Writer struct {
	out     *bufio.Writer
	csv     *csv.Writer // nil for NDJSON
	begin   func()
	begun   bool
	columns [][]byte // as JSON, with the colon
	names   []string
	record  []string
}

// NewDatasetWriter returns a writer of "csv" or "ndjson"; call Flush at the end.
func NewDatasetWriter(format string, out io.Writer) *Writer {
	w := &Writer{out: bufio.NewWriterSize(out, 64<<10), begin: func() {}}
	if format == "csv" {
		w.csv = csv.NewWriter(w.out)
	}
	return w
}

// Columns begins.
func (w *Writer) Columns(names []string) error {
	w.begin()
	w.begun, w.names, w.record = true, names, make([]string, len(names))
	if w.csv != nil {
		return w.csv.Write(names)
	}
	for i, n := range names {
		text, err := json.Marshal(n)
		if err != nil {
			return err
		}
		lead := byte(',')
		if i == 0 {
			lead = '{'
		}
		w.columns = append(w.columns, append(append([]byte{lead}, text...), ':'))
	}
	return nil
}

// Row writes one unit.
func (w *Writer) Row(cells []any) error {
	if w.csv != nil {
		for i, x := range cells {
			switch v := x.(type) {
			case nil:
				w.record[i] = ""
			case string:
				w.record[i] = v
			case json.Number:
				w.record[i] = v.String()
			case bool:
				w.record[i] = map[bool]string{true: "true", false: "false"}[v]
			}
		}
		return w.csv.Write(w.record)
	}
	for i, x := range cells {
		if _, err := w.out.Write(w.columns[i]); err != nil {
			return err
		}
		if n, ok := x.(json.Number); ok {
			w.out.WriteString(n.String())
			continue
		}
		text, err := json.Marshal(x)
		if err != nil {
			return err
		}
		w.out.Write(text)
	}
	_, err := w.out.WriteString("}\n")
	return err
}

// Flush ends the document.
func (w *Writer) Flush() error {
	if w.csv != nil {
		w.csv.Flush()
		if err := w.csv.Error(); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

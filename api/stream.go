package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Bounds of the stream: a line at a time is in memory, so the body may be long.
const (
	streamBody = 1 << 30
	streamLine = 64 << 10
)

// assignStream is POST /v1/assignments/stream: NDJSON in, NDJSON out, a line for a line, for lists of any length such as a nightly mailing. A line that
// cannot be used is answered by a problem with its number, and the stream goes on.
func (s *Server) assignStream(c *gin.Context) {
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		s.fail(c, p)
		return
	}
	defer a.free()
	var keys []string
	if list := c.Query("experiments"); list != "" {
		keys = strings.Split(list, ",")
	}
	if len(keys) > maxAsked {
		s.fail(c, invalid("experiments", "has more than %d keys", maxAsked))
		return
	}
	expose := exposeNo
	switch c.Query("expose") {
	case "", "false":
	case "true":
		expose = exposeYes
	default:
		s.fail(c, invalid("expose", "is not true or false"))
		return
	}
	if err := http.NewResponseController(c.Writer).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.fail(c, err)
		return
	}
	c.Writer.Header().Set("Content-Type", "application/x-ndjson")
	c.Status(http.StatusOK)
	in, out := bufio.NewReaderSize(c.Request.Body, streamLine), bufio.NewWriterSize(c.Writer, streamLine)
	defer out.Flush()
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 && !errors.Is(err, bufio.ErrBufferFull) {
			a.keys, a.out, a.expose = append(a.keys[:0], keys...), a.out[:0], expose
			if fault := a.streamLine(text); fault != nil {
				a.out = appendProblem(a.out[:0], number, problemOf(fault))
			}
			out.Write(append(a.out, '\n'))
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			out.Write(append(appendProblem(a.out[:0], number, problem(http.StatusRequestEntityTooLarge, "the line is longer than %d bytes", streamLine)), '\n'))
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			if err != nil {
				return
			}
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			out.Write(append(appendProblem(a.out[:0], number, problemOf(unreadable(err))), '\n'))
			return
		}
	}
}

// streamLine answers one line.
func (a *ask) streamLine(text []byte) error {
	if p := valid(text); p != nil {
		return p
	}
	sc := scanner{b: text}
	if sc.peek() != '{' {
		return problem(http.StatusBadRequest, "the line is not a JSON object")
	}
	if err := a.readUnit(&sc, false); err != nil {
		return err
	}
	return a.appendAnswer()
}

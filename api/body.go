package api

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Limits of a body, after decompression too (CONTRACT §6).
const (
	eventBody = 10 << 20
	usualBody = 1 << 20
)

// maxPooled is the largest buffer that goes back to a pool, so that one large request does not stay in memory.
const maxPooled = 64 << 10

// bound limits the body of a request and decompresses it when it is gzip. The limit holds before and after.
func bound(c *gin.Context, limit int64) *Problem {
	r := c.Request
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > limit {
		c.Header("Connection", "close")
		return problemOf(&http.MaxBytesError{Limit: limit})
	}
	if r.ContentLength < 0 { // net/http itself ends a body at its Content-Length
		r.Body = http.MaxBytesReader(c.Writer, r.Body, limit)
	}
	coding := ""
	if sent := r.Header["Content-Encoding"]; len(sent) > 0 {
		coding = sent[0]
	}
	switch strings.ToLower(coding) {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return unreadable(err)
		}
		r.Body = &inflated{zip: z, raw: r.Body, left: limit, limit: limit}
		r.ContentLength = -1
		r.Header.Del("Content-Encoding")
	default:
		return problem(http.StatusUnsupportedMediaType, "Content-Encoding %.40q is not understood: send gzip or nothing", coding)
	}
	return nil
}

// unreadable tells a body that is too large from one that is broken.
func unreadable(err error) *Problem {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problemOf(tooLarge)
	}
	return problem(http.StatusBadRequest, "the body cannot be read: %s", err)
}

// inflated is a gzip body that errs with *http.MaxBytesError as soon as it grows beyond its limit.
type inflated struct {
	zip   *gzip.Reader
	raw   io.ReadCloser
	left  int64
	limit int64
}

func (i *inflated) Read(p []byte) (int, error) {
	if int64(len(p)) > i.left+1 {
		p = p[:i.left+1]
	}
	n, err := i.zip.Read(p)
	if int64(n) > i.left {
		return int(i.left), &http.MaxBytesError{Limit: i.limit}
	}
	i.left -= int64(n)
	if err != nil && err != io.EOF {
		err = unreadable(err)
	}
	return n, err
}

func (i *inflated) Close() error { return i.raw.Close() }

// readAll appends the whole body to dst.
func readAll(r *http.Request, dst []byte) ([]byte, error) {
	if r.Body == nil {
		return dst, nil
	}
	if n := r.ContentLength; n > 0 && n <= eventBody && int(n) > cap(dst)-len(dst) {
		dst = append(make([]byte, 0, len(dst)+int(n)+1), dst...)
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			var known *Problem
			if errors.As(err, &known) {
				return dst, known
			}
			return dst, unreadable(err)
		}
	}
}

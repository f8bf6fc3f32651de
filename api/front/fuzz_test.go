package front

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzHead compares every head that is found plain or framed with what net/http reads: method, path, fields, body and where the next request begins.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"POST /a-b_c.d~e/9 HTTP/1.1\r\nHost: [::1]:80\r\nAuthorization: Bearer x\r\nX-API-Key: k\r\nIf-None-Match: \"t\"\r\nOrigin: o\r\nContent-Length: 0\r\n\r\nGET",
		"GET /x?y=%41 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nPOST",
		"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabcdef",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST //x HTTP/1.1\r\nHost: a\r\ncontent-length:\t007\r\nX-Empty:\r\n\r\n1234567",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		size, length, v := r.head(b)
		if v != plain && v != framed || len(b) < size+length {
			return
		}
		source := bytes.NewReader(b)
		in := bufio.NewReader(source)
		want, err := http.ReadRequest(in)
		if err != nil {
			if v == plain {
				t.Fatalf("plain, but net/http says %v", err)
			}
			return // net/http refuses it and closes the connection
		}
		body, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		if next := len(b) - source.Len() - in.Buffered(); next != size+length {
			t.Fatalf("the request ends at %d, net/http says %d", size+length, next)
		}
		if v == framed {
			return
		}
		field := func(name string) string { return strings.Join(want.Header[http.CanonicalHeaderKey(name)], "|") }
		if want.Method != "POST" || want.URL.Path != r.Path || want.URL.RawQuery != "" || want.Close || len(want.TransferEncoding) > 0 ||
			field("Authorization") != r.Authorization || field("X-API-Key") != r.APIKey || field("If-None-Match") != r.IfNoneMatch || field("Origin") != r.Origin ||
			!bytes.Equal(body, b[size:size+length]) {
			t.Fatalf("got %+v, net/http reads %+v", r, want)
		}
	})
}

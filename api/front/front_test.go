package front_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perennial/api/front"
)

// echo answers every request with its method, path, body and what of its head the hot doors read, by net/http and in front of it alike.
type echo struct{ fronted atomic.Int64 }

func say(method, path, key, match string, body []byte) string {
	return fmt.Sprintf("%s %s key=%q match=%q %d bytes %08x", method, path, key, match, len(body), crc32.ChecksumIEEE(body))
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(400)
		return
	}
	io.WriteString(w, say(r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("If-None-Match"), body))
}

func (e *echo) Wants(r *front.Request) bool { return strings.HasPrefix(r.Path, "/hot") }

func (e *echo) Answer(dst []byte, r *front.Request) ([]byte, bool) {
	if r.Path == "/hot/panic" {
		panic("for the test")
	}
	if strings.Contains(string(r.Body), "refuse") {
		return dst, false
	}
	if strings.Contains(string(r.Body), "wait") {
		time.Sleep(300 * time.Millisecond)
	}
	e.fronted.Add(1)
	text := say("POST", r.Path, r.Authorization, r.IfNoneMatch, r.Body)
	dst = append(front.AppendDate(append(dst, "HTTP/1.1 200 OK\r\nDate: "...), time.Now()), "\r\nContent-Length: "...)
	return append(append(strconv.AppendInt(dst, int64(len(text)), 10), "\r\n\r\n"...), text...), true
}

// serve starts a server, with a front or without, and returns its address and the end of it.
func serve(t testing.TB, e *echo, fronted bool) (address string, h *http.Server, l *front.Listener) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h = &http.Server{Handler: e, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second}
	var listener net.Listener = inner
	if fronted {
		l = front.Listen(inner, e, slog.New(slog.DiscardHandler), 5*time.Second, 5*time.Second)
		listener = l
	}
	go h.Serve(listener)
	t.Cleanup(func() { h.Close() })
	return inner.Addr().String(), h, l
}

// requests are pieces of a client's stream; %s is a body of another request's form, which must never be taken for one.
var requests = []string{
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST /hot/two HTTP/1.1\r\nhost: a:80\r\nAUTHORIZATION:  Bearer x \r\nif-none-match: \"q\"\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
	"POST /hot HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nContent-Length: 6\r\n\r\nrefuse",
	"POST /cold HTTP/1.1\r\nHost: a\r\nContent-Length: 61\r\n\r\nPOST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello......",
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 61\r\n\r\nPOST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello......",
	"GET /hot HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /cold?x=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
	"PUT /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nput",
	"POST /hot?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nq",
	"POST /hot%41 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nq",
	"POST /cold HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\nq",
	"POST /hot HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /cold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3d\r\nPOST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello......\r\n0\r\n\r\n",
	"POST /hot HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("l", 9000) + "\r\nContent-Length: 5\r\n\r\nhello",
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("POST /hot HTTP/1.1\r\nHost: a\r\n\r\n.", 70000/32)[:69984] + strings.Repeat("z", 16),
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("y", 60000),
}

// last are pieces after which net/http closes the connection or that it refuses.
var last = []string{
	"POST /hot HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
	"POST /hot HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
	"POST /hot HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
	"POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
	"POST /hot HTTP/1.1\r\nHost: a\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
	"nonsense\r\n\r\n", "POST /hot", "",
}

// speak sends a stream in pieces of random sizes and returns the statuses and bodies of all answers. cut tells that the server closed with bytes of the
// stream unread: TCP may then lose the last answers.
func speak(t *testing.T, address, stream string, pieces *rand.Rand) (answers []string, cut bool) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		for rest := stream; rest != ""; {
			n := 1 + pieces.IntN(len(rest))
			if pieces.IntN(2) == 0 {
				n = min(len(rest), 1+pieces.IntN(40))
			}
			if _, err := io.WriteString(c, rest[:n]); err != nil {
				break
			}
			if rest = rest[n:]; pieces.IntN(4) == 0 {
				time.Sleep(time.Duration(pieces.IntN(300)) * time.Microsecond)
			}
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	for in := bufio.NewReader(c); ; {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers, errors.Is(err, syscall.ECONNRESET)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return answers, errors.Is(err, syscall.ECONNRESET)
		}
		answers = append(answers, strconv.Itoa(r.StatusCode)+" "+string(body))
	}
}

func without400(answers []string) []string {
	if n := len(answers); n > 0 && strings.HasPrefix(answers[n-1], "400 ") {
		return answers[:n-1]
	}
	return answers
}

// TestStreamsEqualNetHTTP: whatever a client sends, and in whatever pieces, the answers are those of net/http alone.
func TestStreamsEqualNetHTTP(t *testing.T) {
	e := &echo{}
	alone, _, _ := serve(t, &echo{}, false)
	behind, _, _ := serve(t, e, true)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	compared := 0
	for i := range 400 {
		stream := ""
		for range 1 + random.IntN(6) {
			stream += requests[random.IntN(len(requests))]
		}
		stream += last[random.IntN(len(last))]
		want, wantCut := speak(t, alone, stream, rand.New(rand.NewPCG(seed, uint64(i))))
		got, gotCut := speak(t, behind, stream, rand.New(rand.NewPCG(seed, uint64(i))))
		if strings.HasSuffix(stream, "POST /hot") { // half a request: net/http says 400, or nothing when it was still watching
			want, got = without400(want), without400(got)
		}
		if wantCut || gotCut {
			n := min(len(got), len(want))
			got, want = got[:n], want[:n]
		}
		compared += len(want)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("seed %d, stream %d, %t %t:\n%.300q … %.300q\ngot  %q\nwant %q", seed, i, gotCut, wantCut, stream, stream[max(0, len(stream)-300):], got, want)
		}
	}
	if e.fronted.Load() < 100 || compared < 500 {
		t.Errorf("only %d answers were compared, %d of them given in front", compared, e.fronted.Load())
	}
}

// TestClientMixesPaths: a client with keep-alive may send hot and cold requests over one connection, and hot ones stay in front.
func TestClientMixesPaths(t *testing.T) {
	e := &echo{}
	address, _, _ := serve(t, e, true)
	dials := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}}}
	for i := range 300 {
		path := []string{"/hot", "/cold", "/hot/b"}[i%3]
		r, err := client.Post("http://"+address+path, "application/json", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if want := say("POST", path, "", "", []byte("body")); string(body) != want {
			t.Fatalf("%d: %s, want %s", i, body, want)
		}
	}
	if got := e.fronted.Load(); got != 200 || dials != 1 {
		t.Errorf("%d of 200 hot requests were answered in front, over %d connections", got, dials)
	}
}

// TestShutdown: waiting connections are closed, an answer under way is given, and nobody is left behind.
func TestShutdown(t *testing.T) {
	for _, before := range []string{"", "GET /cold HTTP/1.1\r\nHost: a\r\n\r\n"} { // a connection of the front's, and one that net/http knows
		e := &echo{}
		address, h, l := serve(t, e, true)
		connect := func(stream string) (net.Conn, *bufio.Reader) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(10 * time.Second))
			in := bufio.NewReader(c)
			if before != "" {
				io.WriteString(c, before)
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
			}
			io.WriteString(c, stream)
			return c, in
		}
		_, waits := connect(requests[0])
		r, err := http.ReadResponse(waits, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		_, busy := connect("POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwait")
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := l.Wait(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if r, err = http.ReadResponse(busy, nil); err != nil {
			t.Fatalf("the answer under way was cut off: %v", err)
		}
		if body, _ := io.ReadAll(r.Body); !bytes.Contains(body, []byte("4 bytes")) {
			t.Errorf("answer %q", body)
		}
		for _, in := range []*bufio.Reader{waits, busy} {
			if _, err := in.ReadByte(); err != io.EOF {
				t.Errorf("the connection is still open: %v", err)
			}
		}
		if _, err := net.Dial("tcp", address); err == nil {
			t.Error("it still accepts")
		}
	}
}

// TestPanicEndsTheConnectionAlone: a handler that panics is answered by a 500 and takes nobody with it.
func TestPanicEndsTheConnectionAlone(t *testing.T) {
	address, _, _ := serve(t, &echo{}, true)
	got, _ := speak(t, address, "POST /hot/panic HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n."+requests[0], rand.New(rand.NewPCG(1, 1)))
	if len(got) != 1 || got[0] != "500 " {
		t.Errorf("answers %q", got)
	}
	if got, _ := speak(t, address, requests[0], rand.New(rand.NewPCG(1, 1))); len(got) != 1 || got[0][:3] != "200" {
		t.Errorf("afterwards: %q", got)
	}
}

// TestSlowClients: a request that never ends is ended, and a connection that waits too long is closed.
func TestSlowClients(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{}
	h := &http.Server{Handler: e, ReadHeaderTimeout: 200 * time.Millisecond, ReadTimeout: 400 * time.Millisecond, IdleTimeout: 300 * time.Millisecond,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	defer h.Close()
	go h.Serve(front.Listen(inner, e, slog.New(slog.DiscardHandler), 200*time.Millisecond, 300*time.Millisecond))
	for _, stream := range []string{"", "POST /hot HTTP/1.1\r\nHo", "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal", requests[0], "GET /cold HTTP/1.1\r\nHost: a\r\n\r\n" + requests[0], "POST /cold HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal"} {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, stream)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%.30q: %v", stream, err)
		}
		c.Close()
	}
}

package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sink is a ResponseWriter that costs nothing, so that a benchmark sees the handler alone.
type sink struct {
	h      http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header { return s.h }
func (s *sink) WriteHeader(c int)   { s.status = c }
func (s *sink) Write(b []byte) (int, error) {
	s.n += len(b)
	return len(b), nil
}

// replay is a request body that can be read again.
type replay struct{ strings.Reader }

func (*replay) Close() error { return nil }

// hotShop is a server with n experiments; the one that is asked for, "asked", has two constraints.
func hotShop(b *testing.B, n int) *shop {
	s := newShop(b)
	const targeting = `"targeting":[{"attribute":"country","operator":"IN","values":["US","GB","DE"]},{"attribute":"age","operator":"NUM_GT","values":["18"]}]`
	s.run("asked", `{`+targeting+`,"variants":[{"key":"a","weight":1,"payload":{"type":"string","value":"none"}},{"key":"b","weight":1,"payload":{"type":"string","value":"ten-percent"}},{"key":"c","weight":1,"payload":{"type":"string","value":"free-shipping"}}]}`)
	for i := 1; i < n; i++ {
		s.run(fmt.Sprintf("other-%d", i), "")
	}
	return s
}

const contextBody = `{"context":{"targetingKey":"0192f1c2-7b1d-7c3a-9f00-%012d","country":"DE","age":31,"plan":"gold"}}`

// serveOnce runs one request through the handler without a socket.
func serveOnce(b *testing.B, h http.Handler, r *http.Request, body *replay, text string, w *sink, want int) {
	body.Reset(text)
	r.Body, r.ContentLength = body, int64(len(text))
	clear(w.h)
	w.status = 0
	h.ServeHTTP(w, r)
	if w.status != want && w.status != 0 {
		b.Fatalf("status %d, want %d", w.status, want)
	}
}

func post(b *testing.B, s *shop, role, path string) *http.Request {
	r, err := http.NewRequest("POST", path, nil)
	s.must(err)
	r.Header.Set("Authorization", "Bearer "+s.keys[role])
	r.Header.Set("Content-Type", "application/json")
	return r
}

// BenchmarkHandler is the cost of the doors without the network.
func BenchmarkHandler(b *testing.B) {
	s := hotShop(b, 100)
	h, w, body := s.server.Handler(), &sink{h: http.Header{}}, &replay{}
	text := fmt.Sprintf(contextBody, 1)
	b.Run("floor", func(b *testing.B) {
		r := post(b, s, "client", "/")
		floor := floorHandler()
		b.ReportAllocs()
		for b.Loop() {
			serveOnce(b, floor, r, body, text, w, 200)
		}
	})
	b.Run("ofrep one, exposed", func(b *testing.B) {
		r := post(b, s, "client", flags+"/asked")
		b.ReportAllocs()
		for b.Loop() {
			serveOnce(b, h, r, body, text, w, 200)
		}
	})
	b.Run("native one, exposed", func(b *testing.B) {
		r := post(b, s, "client", "/v1/assignments")
		text := `{"unit_id":"0192f1c2-7b1d-7c3a-9f00-000000000001","experiments":["asked"],"attributes":{"country":"DE","age":31,"plan":"gold"}}`
		b.ReportAllocs()
		for b.Loop() {
			serveOnce(b, h, r, body, text, w, 200)
		}
	})
	b.Run("ofrep bulk of 100", func(b *testing.B) {
		r := post(b, s, "client", flags)
		b.ReportAllocs()
		for b.Loop() {
			serveOnce(b, h, r, body, text, w, 200)
		}
	})
	b.Run("ofrep bulk 304", func(b *testing.B) {
		r := post(b, s, "client", flags)
		serveOnce(b, h, r, body, text, w, 200)
		r.Header.Set("If-None-Match", w.h.Get("ETag"))
		b.ReportAllocs()
		for b.Loop() {
			serveOnce(b, h, r, body, text, w, 304)
		}
	})
}

// BenchmarkOverlay is what today's counts add to an evaluation: the difference of its two rows, for a user with orders and carts today among ten thousand.
func BenchmarkOverlay(b *testing.B) {
	s := newShop(b)
	s.run("plain", `{"sticky":false,"targeting":[{"attribute":"country","operator":"IN","values":["DE"]}]}`)
	s.run("today", `{"sticky":false,"targeting":[{"attribute":"orders_today","operator":"NUM_GTE","values":["1"]},{"attribute":"cart_today","operator":"NUM_GTE","values":["1"]},{"attribute":"days_since_last_order","operator":"NUM_LT","values":["5"]}]}`)
	for from := 0; from < 10_000; from += 500 {
		var rows []string
		for i := from; i < from+500; i++ {
			rows = append(rows, fmt.Sprintf(`{"event_id":"o%[1]d","user_id":"u%[1]d","event":"Order Completed","ts":"2026-11-25T07:59:00Z","value":1,"order_id":"o%[1]d"},{"event_id":"c%[1]d","user_id":"u%[1]d","event":"Product Added","ts":"2026-11-25T07:59:00Z"}`, i))
		}
		s.good("client", "POST", "/v1/events", "["+strings.Join(rows, ",")+"]")
	}
	h, w, body := s.server.Handler(), &sink{h: http.Header{}}, &replay{}
	r := post(b, s, "client", "/v1/assignments")
	for _, key := range []string{"plain", "today"} {
		b.Run(key, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				serveOnce(b, h, r, body, fmt.Sprintf(`{"unit_id":"u%d","experiments":[%q],"expose":false,"attributes":{"country":"DE"}}`, i%10_000, key), w, 200)
			}
		})
	}
}

// floorHandler reads the body and answers fixed bytes: what any server on net/http costs at least.
func floorHandler() http.Handler {
	fixed := []byte(`{"key":"asked","value":"ten-percent","reason":"SPLIT","variant":"b","metadata":{"reason":"split","allocation_revision":1}}`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(fixed)
	})
}

// BenchmarkServer compares processor time per request over real sockets, client included, for the floor and for one OFREP evaluation, in turns in one run:
// the difference of the two rows is what our server adds. CPU comes from getrusage, so that other processes do not count.
func BenchmarkServer(b *testing.B) {
	s := hotShop(b, 500)
	for _, c := range []struct {
		name, path string
		h          http.Handler
		units      int
	}{{"floor", "/", floorHandler(), 1000}, {"exposed units", flags + "/asked", s.server.Handler(), 1000}, {"new units", flags + "/asked", s.server.Handler(), 0}} {
		b.Run(c.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			s.must(err)
			srv := &http.Server{Handler: c.h}
			go srv.Serve(l)
			defer srv.Close()
			conn, err := net.Dial("tcp", l.Addr().String())
			s.must(err)
			defer conn.Close()
			buf := make([]byte, 4096)
			seen := 0
			ask := func(i int) {
				body := fmt.Sprintf(contextBody, i)
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.path, s.keys["client"], len(body), body)
				n, err := conn.Read(buf)
				if err != nil || !strings.HasPrefix(string(buf[:12]), "HTTP/1.1 200") {
					b.Fatalf("%v %s", err, buf[:n])
				}
			}
			for i := range c.units {
				ask(i)
			}
			before := cpu(b)
			n := 0
			for b.Loop() {
				if c.units > 0 {
					ask(n % c.units)
				} else {
					seen++
					ask(1_000_000 + int(time.Now().UnixNano()%1e11) + seen)
				}
				n++
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(n), "cpu-ns/op")
		})
	}
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perennial/features/lake"
)

// Batches of the ingest benchmark.
const (
	ingestBatch   = 100
	ingestWriters = 16
)

// ingestServer is `perennial serve` in a process of its own.
type ingestServer struct {
	cmd       *exec.Cmd
	addr, key string
	data      string
}

// startIngest starts a server on a free port and returns when it takes events.
func startIngest(tb testing.TB) *ingestServer {
	tb.Helper()
	s := &ingestServer{data: filepath.Join(tb.TempDir(), "data")}
	program := func(args ...string) *exec.Cmd {
		c := exec.Command(os.Args[0], append(args, "--data", s.data)...)
		c.Env = append(os.Environ(), "PERENNIAL_TEST_IS_PROGRAM=1")
		return c
	}
	out, err := program("keys", "create", "--role", "client", "--json").Output()
	if err != nil {
		tb.Fatal(err)
	}
	var key struct{ Key string }
	if err := json.Unmarshal(out, &key); err != nil {
		tb.Fatal(err)
	}
	s.key = key.Key
	s.cmd = program("serve", "--addr", "127.0.0.1:0")
	said, err := s.cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "ready on http://"); ok {
			s.addr, _, _ = strings.Cut(rest, " ")
			go io.Copy(io.Discard, said)
			return s
		}
	}
	tb.Fatal("the server ended before it was ready")
	return nil
}

// cpu returns the processor time that the server has used, from /proc.
func (s *ingestServer) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime in ticks of 10 ms
		n, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ingestRequest is a whole request with a batch of orders whose ids the writer fills in: the load costs the machine little beside the
// server.
type ingestRequest struct {
	raw   []byte
	holes [][2]int // of each event: where its number stands in event_id and in order_id
	users []int
}

func newIngestRequest(s *ingestServer) *ingestRequest {
	var body bytes.Buffer
	var holes [][2]int
	var users []int
	ts := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	for i := range ingestBatch {
		body.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
		body.WriteString(`{"event_id":"0192f1c2-7d7e-7000-8000-`)
		id := body.Len()
		body.WriteString(`000000000000","user_id":"user-`)
		users = append(users, body.Len())
		body.WriteString(`0000000","anonymous_id":null,"event":"Order Completed","ts":"` + ts + `","value":128.5,"currency":"CNY","margin":40.1,"discount":20,` +
			`"platform_discount":0,"commission":3.2,"cost":0,"order_id":"o`)
		order := body.Len()
		body.WriteString(`000000000000","product_id":null,"category":"food","channel":"wechat","coupon_id":"100-20","session_id":null,"properties":{"page":"/checkout"}}`)
		holes = append(holes, [2]int{id, order})
	}
	body.WriteString("]")
	head := fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", s.addr, s.key, body.Len())
	for i := range holes {
		holes[i][0] += len(head)
		holes[i][1] += len(head)
		users[i] += len(head)
	}
	return &ingestRequest{append([]byte(head), body.Bytes()...), holes, users}
}

// number writes n right-aligned over the zeros at a place.
func number(at []byte, n int64) {
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = byte('0' + n%10)
		n /= 10
	}
}

// send gives the events new ids, sends the batch and reads the answer.
func (r *ingestRequest) send(c net.Conn, answers *bufio.Reader, first int64) error {
	for i, h := range r.holes {
		n := first + int64(i)
		number(r.raw[h[0]:h[0]+12], n)
		number(r.raw[h[1]:h[1]+12], n)
		number(r.raw[r.users[i]:r.users[i]+7], n*2654435761%1_000_000)
	}
	if _, err := c.Write(r.raw); err != nil {
		return err
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	doc, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(`{"accepted":%d,"duplicate":0,"rejected":[]}`, ingestBatch); answer.StatusCode != http.StatusAccepted || strings.TrimSpace(string(doc)) != want {
		return fmt.Errorf("the server answers %d %s, want 202 %s", answer.StatusCode, doc, want)
	}
	return nil
}

// BenchmarkIngest sends batches of 100 orders as JSON over 16 connections to a real server, each acknowledged after its synced commit. One
// operation is one batch. server-µs/event is everything that the server's process spends until the last event is sealed; ingest-µs/event leaves out
// the seal after the end of the load.
func BenchmarkIngest(b *testing.B) {
	s := startIngest(b)
	var next atomic.Int64
	before := s.cpu(b)
	b.SetParallelism(max(1, ingestWriters/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		r, answers := newIngestRequest(s), bufio.NewReader(c)
		for pb.Next() {
			if err := r.send(c, answers, next.Add(ingestBatch)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	events := float64(b.N) * ingestBatch
	during := s.cpu(b) - before
	l, err := lake.Open(context.Background(), lake.Options{Dir: s.data})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := l.Seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	all := s.cpu(b) - before
	snapshot, err := l.Snapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer snapshot.Close()
	stored := int64(0)
	for _, g := range snapshot.Segments {
		stored += g.Rows
	}
	if stored != int64(events) {
		b.Errorf("%d events are stored, want %.0f", stored, events)
	}
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(during.Microseconds())/events, "ingest-µs/event")
	b.ReportMetric(float64(all.Microseconds())/events, "server-µs/event")
	b.ReportMetric(loadAverage(b), "load")
}

// loadAverage is the machine's over the last minute: a figure without it means little on a shared machine.
func loadAverage(tb testing.TB) float64 {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		tb.Fatal(err)
	}
	load, err := strconv.ParseFloat(strings.Fields(string(raw))[0], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return load
}

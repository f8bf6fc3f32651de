// Package front answers the plainest and commonest requests of HTTP/1.1 connections itself and leaves every other to net/http on the same connection. A
// request for a small JSON answer costs net/http about as much as the system calls under it: header maps, contexts, deadlines, a watching
// goroutine. An application that asks millions of times a day for a variant needs none of them.
//
// Each connection is read here first. A request that head finds plain, and that the Handler answers, ends here. Any other is handed, to its last byte and no
// further, to net/http, which reads it from the connection as if nobody stood before it; when it asks for the next request, reading here
// goes on. A request that is not strictly formed, or has a body of unknown length, turns the whole connection over to net/http for good, so a body
// can never be taken for a request.
package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Handler answers plain requests.
type Handler interface {
	// Wants tells by its head alone whether a request may be answered; its body is then waited for.
	Wants(r *Request) bool
	// Answer appends the whole answer, status line and all, to dst. ok is false when it does not answer: net/http then gets the request as if Answer
	// had not been asked, so nothing may have been done that would be wrong to do twice.
	Answer(dst []byte, r *Request) (answer []byte, ok bool)
}

// Listener is what http.Server.Serve takes: connections whose next request the handler did not answer.
type Listener struct {
	net.Listener
	h           Handler
	log         *slog.Logger
	first, idle time.Duration
	ready       chan net.Conn
	done        chan struct{}
	accepting   error // why Accept of the inner listener ended; read after done is closed
	closing     sync.Once
	ours        sync.WaitGroup // connections that net/http has not seen

	mu   sync.Mutex
	open map[*conn]struct{} // those of ours
}

// Listen puts a handler before net/http on a listener. first bounds how long a new connection may take to its first request and any request to arrive as a whole; idle
// how long a connection waits for its next.
func Listen(inner net.Listener, h Handler, log *slog.Logger, first, idle time.Duration) *Listener {
	l := &Listener{Listener: inner, h: h, log: log, first: first, idle: idle, ready: make(chan net.Conn), done: make(chan struct{}), open: map[*conn]struct{}{}}
	go l.accept()
	return l
}

func (l *Listener) accept() {
	pause := time.Duration(0)
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			var passing interface{ Temporary() bool }
			if errors.As(err, &passing) && passing.Temporary() { // as net/http does: too many open files pass
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				l.log.Warn("accept", "error", err, "again_in", pause)
				time.Sleep(pause)
				continue
			}
			l.mu.Lock()
			l.accepting = err
			l.mu.Unlock()
			l.Close()
			return
		}
		pause = 0
		c := &conn{Conn: inner, l: l}
		l.mu.Lock()
		select {
		case <-l.done:
			l.mu.Unlock()
			inner.Close()
			continue
		default:
		}
		l.open[c] = struct{}{}
		l.ours.Add(1)
		l.mu.Unlock()
		go c.begin()
	}
}

// Accept returns the next connection that has something for net/http.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.accepting != nil {
			return nil, l.accepting
		}
		return nil, net.ErrClosed
	}
}

// Close accepts no more and closes the connections that net/http has not seen and that wait for a request.
func (l *Listener) Close() (err error) {
	l.closing.Do(func() {
		err = l.Listener.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.done)
		for c := range l.open {
			c.Close()
		}
	})
	return err
}

// Wait returns when every request that was being answered when the listener was closed is answered.
func (l *Listener) Wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() { l.ours.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// States of a connection, so that closing an idle one never cuts an answer off.
const (
	waiting int32 = iota
	answering
	closed // while answering: the answer is the last
)

// conn is a connection that is read here between the requests that net/http gets.
type conn struct {
	net.Conn
	l     *Listener
	state atomic.Int32
	until time.Time // the read deadline of an idle connection

	buf  []byte // what was read and belongs to nobody yet, after what net/http is to get
	pass int    // bytes of buf that are net/http's
	rest int    // bytes of the request's body that are still to come and net/http's
	raw  bool   // all that comes is net/http's
	out  []byte
	r    Request
}

const usualBuffer = 4 << 10

// begin reads a new connection until a request is for net/http.
func (c *conn) begin() {
	defer c.l.ours.Done()
	c.Conn.SetReadDeadline(time.Now().Add(c.l.first))
	err := c.serve()
	c.l.mu.Lock()
	delete(c.l.open, c)
	c.l.mu.Unlock()
	if err != nil {
		c.Conn.Close()
		return
	}
	select {
	case c.l.ready <- c:
	case <-c.l.done:
		c.Conn.Close()
	}
}

// Read gives net/http its bytes. Asked for a new request, it first answers those that are not net/http's.
func (c *conn) Read(p []byte) (int, error) {
	if !c.raw && c.pass == 0 && c.rest == 0 {
		read := c.serve
		if len(p) == 1 {
			read = c.watch
		}
		if err := read(); err != nil {
			return 0, err
		}
	}
	if c.pass > 0 {
		n := copy(p, c.buf[:c.pass])
		if c.pass -= n; c.pass == 0 && n == len(c.buf) {
			c.drop()
			return n, nil
		}
		c.buf = c.buf[n:]
		return n, nil
	}
	if c.raw {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.rest)])
	c.rest -= n
	return n, err
}

// watch is what net/http does with a byte of room while it answers: it waits for the client to go away, until a deadline calls it off. The next request may come
// instead, since a client can have its answer before net/http has called off the watch; it is kept. More than that, or a client that sends it and then goes
// away, is net/http's.
func (c *conn) watch() error {
	for len(c.buf) < maxHead {
		err := c.fill()
		var passing net.Error
		if err != nil && (len(c.buf) == 0 || errors.As(err, &passing) && passing.Timeout()) {
			return err
		}
		if err != nil {
			break
		}
	}
	c.raw, c.pass = true, len(c.buf)
	return nil
}

// drop empties the buffer, and gives a large one back.
func (c *conn) drop() {
	if cap(c.buf) > usualBuffer {
		c.buf = nil
	}
	c.buf = c.buf[:0]
}

// Close closes a waiting connection at once, and one that is answering after its answer.
func (c *conn) Close() error {
	if c.state.CompareAndSwap(answering, closed) {
		return nil
	}
	c.state.Store(closed)
	return c.Conn.Close()
}

// serve answers requests until one is for net/http, whose bytes then stand in buf[:pass] and to come as rest, or the connection fails.
func (c *conn) serve() error {
	fresh := len(c.buf) > 0 // the next request may stand in the buffer already
	for slow := false; ; {
		if !fresh {
			if err := c.fill(); err != nil {
				if len(c.buf) == 0 {
					return err
				}
				c.raw, c.pass = true, len(c.buf) // net/http answers half a request, and meets the error itself
				return nil
			}
		}
		fresh = false
		size, length, v := c.r.head(c.buf)
		if v == plain && !c.l.h.Wants(&c.r) {
			v = framed
		}
		switch {
		case v == strange:
			c.raw, c.pass = true, len(c.buf)
			return nil
		case v == partial, v == plain && len(c.buf) < size+length:
			if !slow {
				slow = true
				c.until = time.Time{}
				c.Conn.SetReadDeadline(time.Now().Add(c.l.first))
			}
			continue
		case v == framed:
			c.hand(size + length)
			return nil
		}
		c.r.Body = c.buf[size : size+length]
		if !c.state.CompareAndSwap(waiting, answering) {
			return net.ErrClosed
		}
		answer, ok := c.answer()
		if ok {
			_, err := c.Conn.Write(answer)
			if err != nil {
				c.state.Store(waiting)
				return err
			}
		}
		if !c.state.CompareAndSwap(answering, waiting) {
			c.Conn.Close()
			return net.ErrClosed
		}
		if !ok {
			c.hand(size + length)
			return nil
		}
		if cap(answer) <= maxBody {
			c.out = answer
		}
		if more := len(c.buf) - size - length; more > 0 {
			c.buf, fresh = c.buf[size+length:], true
		} else {
			c.drop()
		}
		slow = false
		c.waitIdle()
	}
}

// hand leaves the next n bytes to net/http.
func (c *conn) hand(n int) {
	c.pass = min(n, len(c.buf))
	c.rest = n - c.pass
}

// waitIdle sets the deadline of the next request. The old one is good enough while most of it is left: a deadline costs a timer.
func (c *conn) waitIdle() {
	if now := time.Now(); c.until.Sub(now) < c.l.idle*3/4 {
		c.until = now.Add(c.l.idle)
		c.Conn.SetReadDeadline(c.until)
	}
}

// SetReadDeadline is net/http's: the idle deadline that was set here no longer stands.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.until = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is as SetReadDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	c.until = time.Time{}
	return c.Conn.SetDeadline(t)
}

// fill reads more into the buffer.
func (c *conn) fill() error {
	if len(c.buf) == cap(c.buf) {
		grown := make([]byte, len(c.buf), max(usualBuffer, 2*len(c.buf)))
		copy(grown, c.buf)
		c.buf = grown
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// answer asks the handler; its panic ends the connection, as in net/http.
func (c *conn) answer() (answer []byte, ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			c.l.log.Error("panic", "path", c.r.Path, "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			answer, ok = append(c.out[:0], "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"...), true
			c.state.CompareAndSwap(answering, closed)
		}
	}()
	return c.l.h.Answer(c.out[:0], &c.r)
}

// AppendDate appends the value of a Date field, formatted once a second.
func AppendDate(dst []byte, now time.Time) []byte {
	d := date.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		date.Store(d)
	}
	return append(dst, d.text...)
}

type dated struct {
	second int64
	text   string
}

var date atomic.Pointer[dated]

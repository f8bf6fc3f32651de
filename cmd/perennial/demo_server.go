package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// demoServer is `perennial serve` in this process.
type demoServer struct {
	base   string // of the links
	client *demoClient
	cancel context.CancelFunc
	ended  chan int
	code   int
	over   bool
}

// serve starts the server and waits until it answers.
func (d *demo) serve(ctx context.Context, addr string) (*demoServer, error) {
	d.steps.begin("serve on " + addr)
	key, err := d.adminKey(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usagef("addr: %v", err)
	}
	base := "http://" + addr
	if host == "" || host == "0.0.0.0" || host == "::" || host == "127.0.0.1" {
		base = "http://localhost:" + port
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &demoServer{base: base, client: newDemoClient(base, key), cancel: cancel, ended: make(chan int, 1)}
	go func() {
		s.ended <- run(ctx, []string{"serve", "--addr", addr, "--data", d.dir, "--config", d.path("perennial.yaml")}, io.Discard, d.log)
	}()
	readiness := make(chan error, 1)
	go func() { readiness <- s.client.ready(ctx, "/readyz", 60*time.Second) }()
	select {
	case code := <-s.ended:
		cancel()
		return nil, fmt.Errorf("the server ended with %d: see %s", code, d.log.Name())
	case err := <-readiness:
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	d.steps.done("%s", s.base)
	return s, nil
}

// stop ends the server and waits for it; a second call returns the first one's answer.
func (s *demoServer) stop() error {
	s.cancel()
	return s.wait()
}

// wait waits for the server's end.
func (s *demoServer) wait() error {
	if !s.over {
		s.code, s.over = <-s.ended, true
	}
	if s.code != 0 {
		return fmt.Errorf("the server ended with %d", s.code)
	}
	return nil
}

// adminKey makes the key that the replay uses; those of earlier demos are revoked.
func (d *demo) adminKey(ctx context.Context) (string, error) {
	store, err := d.store(ctx)
	if err != nil {
		return "", err
	}
	defer store.Close()
	const name = "demo replay"
	keys, err := store.Keys(ctx)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if k.Name == name && k.RevokedAt == nil {
			if err := store.RevokeKey(ctx, k.ID); err != nil {
				return "", err
			}
		}
	}
	_, secret, err := store.CreateKey(ctx, "admin", name)
	return secret, err
}

// freeAddr refuses an address that is taken before the long work begins. A demo that does not stay takes any free port.
func freeAddr(addr string, leave bool) (string, error) {
	if leave {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", usagef("addr: %v; name another one, such as --addr :8081", err)
	}
	defer l.Close()
	if !strings.HasSuffix(addr, ":0") {
		return addr, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usagef("addr: %v", err)
	}
	return net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)), nil
}

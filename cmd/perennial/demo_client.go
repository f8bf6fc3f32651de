package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// demoClient speaks to the demo's own server as any program outside would: over HTTP, with a key.
type demoClient struct {
	base string
	key  string
	http *http.Client
}

func newDemoClient(base, key string) *demoClient {
	return &demoClient{base: base, key: key, http: &http.Client{Timeout: 60 * time.Second}}
}

// call sends a JSON body (nil: none) and decodes the answer into out (nil: it is dropped). It returns the status, and an error for any
// status that is neither 2xx nor in allowed.
func (c *demoClient) call(ctx context.Context, method, path string, body, out any, allowed ...int) (int, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode/100 != 2 {
		if slices.Contains(allowed, resp.StatusCode) {
			return resp.StatusCode, nil
		}
		return resp.StatusCode, fmt.Errorf("%s %s: status %d: %.400s", method, path, resp.StatusCode, raw)
	}
	if out == nil {
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return resp.StatusCode, nil
}

// ready waits until the server answers path with 200.
func (c *demoClient) ready(ctx context.Context, path string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		_, err := c.call(ctx, http.MethodGet, path, nil, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready after %s: %w", wait, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

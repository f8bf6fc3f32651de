package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"perennial/experiments"
	"perennial/experiments/unleash/flags"
)

// specVersion tells the server that every operator of this version is known here.
const specVersion = "6.1.0"

// definitions is one answer of /api/client/features, immutable.
type definitions struct {
	document *flags.Document
	local    map[string]local
	etag     string
}

// local is what exposures need beside the flag.
type local struct {
	revision int64
	forced   int // so many strategies come first and hold for forced units only
	payload  *flags.Payload
	shares   map[string]float64 // p_assign by variant
}

// parse reads an answer. Flags without our extra field (layers, holdouts, those of another server) are not experiments.
func parse(raw []byte, etag string) (*definitions, error) {
	document, err := flags.Parse(raw)
	if err != nil {
		return nil, err
	}
	var w struct {
		Features []struct {
			Name       string `json:"name"`
			Strategies []struct {
				Variants []flags.Variant `json:"variants"`
			} `json:"strategies"`
			Perennial *struct {
				AllocationRevision int64          `json:"allocationRevision"`
				Forced             int            `json:"forced"`
				Default            *flags.Payload `json:"default"`
			} `json:"perennial"`
		} `json:"features"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	d := &definitions{document, make(map[string]local, len(w.Features)), etag}
	for _, f := range w.Features {
		if f.Perennial == nil {
			continue
		}
		l := local{revision: f.Perennial.AllocationRevision, forced: f.Perennial.Forced, payload: f.Perennial.Default, shares: map[string]float64{}}
		if len(f.Strategies) > l.forced {
			total := 0
			for _, v := range f.Strategies[l.forced].Variants {
				if v.Name != experiments.NotEnrolled {
					total += v.Weight
				}
			}
			for _, v := range f.Strategies[l.forced].Variants {
				if v.Name != experiments.NotEnrolled && total > 0 {
					l.shares[v.Name] += float64(v.Weight) / float64(total)
				}
			}
		}
		d.local[f.Name] = l
	}
	return d, nil
}

// answer evaluates an experiment that is known here; ok is false for one that the server must answer.
func (d *definitions) answer(unit string, attributes Attributes, experiment string, now time.Time) (a Assignment, ok bool) {
	l, ok := d.local[experiment]
	if !ok {
		return Assignment{}, false
	}
	c := flags.Context{UserID: unit, Now: now, Properties: make(map[string]string, len(attributes))}
	for name, value := range attributes {
		text, known := scalar(value)
		if !known {
			continue
		}
		switch name {
		case "sessionId":
			c.SessionID = text
		case "remoteAddress":
			c.RemoteAddress = text
		case "environment":
			c.Environment = text
		case "appName":
			c.AppName = text
		case "currentTime":
			c.CurrentTime = text
		default:
			c.Properties[name] = text
		}
	}
	r := d.document.Evaluate(experiment, &c)
	a = Assignment{Experiment: experiment, Reason: "off", Payload: payload(l.payload), AllocationRevision: l.revision, Local: true}
	switch {
	case !r.Enabled || r.Variant == nil:
	case r.Variant.Name == experiments.NotEnrolled:
		a.Reason = experiments.ReasonNotEnrolled
	default:
		a.Variant, a.Enrolled, a.Payload, a.PAssign, a.Reason = r.Variant.Name, true, payload(r.Variant.Payload), l.shares[r.Variant.Name], experiments.ReasonSplit
		if r.Strategy < l.forced {
			a.PAssign, a.Reason = 1, experiments.ReasonForced
		}
	}
	return a, true
}

// scalar is an attribute's value as Unleash compares it; anything but a text, a number or a boolean is missing.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), true
	case time.Time:
		return v.Format(time.RFC3339Nano), true
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, json.Number:
		return fmt.Sprint(v), true
	}
	return "", false
}

// payload turns Unleash's text back into JSON; a boolean travels as JSON.
func payload(p *flags.Payload) Payload {
	if p == nil {
		return Payload{}
	}
	switch {
	case p.Type == "string":
		raw, err := experiments.Marshal(p.Value)
		if err != nil {
			return Payload{}
		}
		return Payload{"string", raw}
	case p.Type == "json" && (p.Value == "true" || p.Value == "false"):
		return Payload{"boolean", json.RawMessage(p.Value)}
	}
	return Payload{p.Type, json.RawMessage(p.Value)}
}

// poll fetches at once and then every Refresh.
func (c *Client) poll() {
	ticker := time.NewTicker(c.o.Refresh)
	defer ticker.Stop()
	for {
		if err := c.fetch(); err == nil {
			c.once.Do(func() { close(c.ready) })
		} else if c.ctx.Err() == nil {
			c.failed("definitions cannot be fetched; the last good ones stay", err)
		}
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// fetch replaces the definitions when they have changed.
func (c *Client) fetch() error {
	headers := http.Header{"Unleash-Client-Spec": {specVersion}}
	old := c.definitions.Load()
	if old != nil && old.etag != "" {
		headers.Set("If-None-Match", old.etag)
	}
	status, raw, answer, err := c.do(c.ctx, http.MethodGet, "/api/client/features", nil, headers)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotModified && old != nil:
	case status != http.StatusOK:
		return fmt.Errorf("perennial: GET /api/client/features: status %d: %s", status, detail(raw))
	default:
		d, err := parse(raw, answer.Get("ETag"))
		if err != nil {
			return fmt.Errorf("perennial: GET /api/client/features: %w", err)
		}
		c.definitions.Store(d)
		if c.o.Dir != "" {
			if err := replace(c.path("definitions.json"), raw); err != nil {
				c.o.Logger.Warn("perennial: the last good definitions cannot be kept", "error", err)
			}
		}
	}
	if c.fault.Swap(nil) != nil {
		c.o.Logger.Info("perennial: the server answers again")
	}
	return nil
}

func (c *Client) path(name string) string { return filepath.Join(c.o.Dir, name) }

// loadLastGood reads the kept definitions; without an ETag, so that the first fetch is a whole one.
func (c *Client) loadLastGood() {
	raw, err := os.ReadFile(c.path("definitions.json"))
	var d *definitions
	if err == nil {
		d, err = parse(raw, "")
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			c.o.Logger.Warn("perennial: the kept definitions cannot be read", "error", err)
		}
		return
	}
	c.definitions.Store(d)
}

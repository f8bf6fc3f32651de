package unleash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"perennial/experiments"
	"perennial/experiments/unleash/flags"
)

// Document is the features of the upstream server as our own evaluator reads them, immutable. Unlike the SDK it passes all of Unleash's
// client-specification, and it allocates no goroutine, lock or channel to an evaluation.
type Document struct {
	*flags.Document
	ETag string // of the text
}

// maxDocument is how long an upstream's answer may be, in bytes.
const maxDocument = 64 << 20

// Document returns the newest features that could be read; nil before the first.
func (u *Upstream) Document() *Document { return u.document.Load() }

// NewDocument reads the answer of /api/client/features.
func NewDocument(raw []byte) (*Document, error) {
	d, err := flags.Parse(raw)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &Document{d, hex.EncodeToString(sum[:12])}, nil
}

// mirror copies each answer of /client/features on its way to the SDK.
type mirror struct {
	next http.RoundTripper
	u    *Upstream
}

func (m mirror) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := m.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.HasSuffix(r.URL.Path, "/client/features") {
		return answer, err
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	err = errors.Join(err, answer.Body.Close())
	if err == nil && len(raw) > maxDocument {
		err = fmt.Errorf("the answer is longer than %d bytes", maxDocument)
	}
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(raw))
	m.u.mirrored(raw)
	return answer, nil
}

// mirrored publishes an answer and keeps it; one that cannot be read leaves the last good one.
func (u *Upstream) mirrored(raw []byte) {
	d, err := NewDocument(raw)
	if err != nil {
		u.o.Logger.Warn("unleash: the upstream's features cannot be read; the last good ones stay", "error", err)
		return
	}
	if old := u.document.Swap(d); old != nil && old.ETag == d.ETag || u.o.LastGood == "" {
		return
	}
	if err := replaceFile(u.mirrorFile(), raw); err != nil {
		u.o.Logger.Warn("unleash: the upstream's features cannot be kept", "error", err)
	}
}

func (u *Upstream) mirrorFile() string {
	return strings.TrimSuffix(u.o.LastGood, filepath.Ext(u.o.LastGood)) + "-features.json"
}

// loadMirror reads the kept features, so that a restart while the upstream is down changes nobody's variant.
func (u *Upstream) loadMirror() {
	if u.o.LastGood == "" {
		return
	}
	raw, err := os.ReadFile(u.mirrorFile())
	var d *Document
	if err == nil {
		d, err = NewDocument(raw)
	}
	switch {
	case err == nil:
		u.document.Store(d)
	case !errors.Is(err, os.ErrNotExist):
		u.o.Logger.Warn("unleash: the kept features cannot be read", "error", err)
	}
}

// UpstreamToggle turns the answer of an upstream flag into a toggle; on is false for a flag that is off.
func UpstreamToggle(d *Document, name string, c *flags.Context) (t Toggle, on bool) {
	r := d.Evaluate(name, c)
	if !r.Enabled {
		return Toggle{}, false
	}
	t = Toggle{Name: name, Enabled: true, ImpressionData: d.ImpressionData(name), Variant: ToggleVariant{Name: flags.Disabled, FeatureEnabled: true, FeatureCamel: true}}
	if r.Variant != nil {
		t.Variant.Name, t.Variant.Enabled, t.Variant.Payload = r.Variant.Name, true, (*Payload)(r.Variant.Payload)
	}
	return t, true
}

// ContextOf is what was sent about a unit as an Unleash context: names that Unleash has fields for become fields, everything else a property.
func ContextOf(u *experiments.Unit, sent func(add func(name string, v experiments.Value))) *flags.Context {
	c := &flags.Context{UserID: u.ID, Now: u.Now, Properties: map[string]string{}}
	sent(func(name string, v experiments.Value) {
		text := v.String()
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
	})
	return c
}

// unleash is unleash-client-go: it fetches the features and evaluates locally.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	sdk "github.com/Unleash/unleash-client-go/v4"
	"github.com/Unleash/unleash-client-go/v4/context"

	"perennial-sdk/world"
)

const interval = time.Second

// watch counts HTTP answers by path and status, and keeps what the SDK reports.
type watch struct {
	mu      sync.Mutex
	answers map[string]int
	trouble []string
	ready   chan struct{}
}

func (w *watch) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.answers[fmt.Sprintf("%s %d", r.URL.Path, answer.StatusCode)]++
	}
	return answer, err
}

// note leaves out what this SDK says of every unit without a number or a version.
func (w *watch) note(err error) {
	if text := err.Error(); text != "Version string empty" && text != "EOF" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.trouble = append(w.trouble, text)
	}
}

func (w *watch) OnError(err error)           { w.note(err) }
func (w *watch) OnWarning(err error)         { w.note(err) }
func (w *watch) OnReady()                    { close(w.ready) }
func (w *watch) OnUpdate()                   {}
func (w *watch) OnCount(string, bool)        {}
func (w *watch) OnSent(sdk.MetricsData)      {}
func (w *watch) OnRegistered(sdk.ClientData) {}

func main() {
	all, t, base := world.Load(), &world.Tally{}, os.Getenv("BASE_URL")
	w := &watch{answers: map[string]int{}, ready: make(chan struct{})}
	backup, err := os.MkdirTemp("", "sdk-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(backup)
	c, err := sdk.NewClient(sdk.WithUrl(base+"/api"), sdk.WithAppName("sdk"), sdk.WithRefreshInterval(interval), sdk.WithMetricsInterval(time.Second), sdk.WithBackupPath(backup),
		sdk.WithHttpClient(&http.Client{Timeout: 5 * time.Second, Transport: w}), sdk.WithListener(w), sdk.WithCustomHeaders(http.Header{"Authorization": {os.Getenv("CLIENT_KEY")}}))
	if err != nil {
		panic(err)
	}
	select {
	case <-w.ready:
	case <-time.After(5 * time.Second):
		t.Check("ready within five seconds", false, w.trouble)
	}
	for _, e := range all.Experiments {
		for _, u := range all.Units {
			ctx, want := context.Context{UserId: u.ID, Properties: map[string]string{}}, e.Expected(u)
			for name, v := range u.Attributes {
				ctx.Properties[name] = world.Text(v)
			}
			v := c.GetVariant(e.Key, sdk.WithVariantContext(ctx))
			switch {
			case !e.Local:
				t.Check(e.Key+" stays on the server", v.Name == "disabled", v)
			case want == "":
				t.Check(fmt.Sprintf("%s of %q, want none", e.Key, u.ID), !e.IsVariant(v.Name), v)
			default:
				t.Check(fmt.Sprintf("%s of %q, want %q", e.Key, u.ID, want), v.Enabled && v.Name == want && e.Same(want, decode(v.Payload.Type, v.Payload.Value)), v)
			}
		}
	}
	if name := os.Getenv("SWITCH"); name != "" {
		change(t, c, w, base, name)
	}
	w.mu.Lock()
	t.Check("no trouble", len(w.trouble) == 0, w.trouble)
	t.Finish()
}

func decode(kind, text string) (value any) {
	if kind == "string" {
		return text
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return value
}

// change stops an experiment as a person would and waits until the SDK knows.
func change(t *world.Tally, c *sdk.Client, w *watch, base, name string) {
	on := func() bool { return c.IsEnabled(name, sdk.WithContext(context.Context{UserId: "u"})) }
	time.Sleep(interval * 3 / 2)
	t.Check("the switch is on", on(), nil)
	r, err := http.NewRequest(http.MethodPost, base+"/v1/experiments/"+name+"/stop", strings.NewReader(""))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+os.Getenv("ADMIN_KEY"))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	stopped := time.Now()
	for on() && time.Since(stopped) < 10*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	t.Check("a stop shows within an interval", time.Since(stopped) < interval+500*time.Millisecond, time.Since(stopped))
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.answers
	t.Check("two documents, the other polls are 304", a["/api/client/features 200"] == 2 && a["/api/client/features 304"] > 0, a)
	t.Check("registered, metrics taken", a["/api/client/register 202"] == 1 && a["/api/client/metrics 202"] > 0, a)
}

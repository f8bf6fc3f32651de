package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"perennial/experiments/sqlstore"
)

// demoResults is what the demo prints of CONTRACT §5's results document.
type demoResults struct {
	Source struct{ Exposed, Matured int64 }
	Profit []struct {
		Variant   string
		PerUnit   *float64 `json:"per_unit"`
		Low, High *float64
	}
	Decision struct {
		Action string
		Text   struct{ ZH, EN string }
	}
}

// results prints one paragraph for each experiment.
func (d *demo) results(ctx context.Context, s *demoServer) error {
	d.steps.begin("read the results")
	keys, err := demoKeys()
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range keys {
		var r demoResults
		if _, err := s.client.call(ctx, http.MethodGet, "/v1/experiments/"+key+"/results", nil, &r); err != nil {
			return err
		}
		fmt.Fprintf(&text, "\n%s (simulated behaviour of real customers; %d exposed, %d with a complete window)\n", key, r.Source.Exposed, r.Source.Matured)
		for _, p := range r.Profit {
			if p.PerUnit == nil || p.Low == nil || p.High == nil {
				fmt.Fprintf(&text, "  %-18s profit per exposed customer not computed\n", p.Variant)
				continue
			}
			fmt.Fprintf(&text, "  %-18s profit per exposed customer %+.2f GBP (%.2f to %.2f)\n", p.Variant, *p.PerUnit, *p.Low, *p.High)
		}
		fmt.Fprintf(&text, "  %s: %s\n  %s\n", r.Decision.Action, r.Decision.Text.EN, r.Decision.Text.ZH)
	}
	d.steps.done("%d experiments", len(keys))
	d.steps.close()
	_, err = fmt.Fprint(d.app.Out, text.String())
	return err
}

// demoKeys returns the keys of the demo's experiments in their order.
func demoKeys() ([]string, error) {
	var defs []struct{ Key string }
	if err := readDemo("demo/experiments.json", &defs); err != nil {
		return nil, err
	}
	keys := make([]string, len(defs))
	for i, def := range defs {
		keys[i] = def.Key
	}
	return keys, nil
}

// store opens the demo's control store with the demo's own clock.
func (d *demo) store(ctx context.Context) (*sqlstore.Store, error) {
	config, err := loadConfig(d.path("perennial.yaml"))
	if err != nil {
		return nil, err
	}
	a := *d.app
	a.Config = config
	return a.openStore(ctx)
}

// links prints pages that sign in once, and what to try next.
func (d *demo) links(ctx context.Context, base string, leave bool) error {
	store, err := d.store(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	data := d.dir
	if here, err := filepath.Abs("."); err == nil {
		if rel, err := filepath.Rel(here, d.dir); err == nil && !strings.HasPrefix(rel, "..") {
			data = rel
		}
	}
	next := fmt.Sprintf("\nNext:\n  perennial experiment results win-back --data %[1]s\n  perennial export scores --out scores.csv --data %[1]s\n  perennial doctor --data %[1]s\n", data)
	if leave {
		_, err := fmt.Fprintf(d.app.Out, "%s  perennial serve --data %s\n", next, data)
		return err
	}
	fmt.Fprintf(d.app.Out, "\nOpen one of these; each signs in once:\n")
	for _, role := range []string{"marketer", "analyst"} {
		token, err := store.CreateSignIn(ctx, role, "demo "+role, 24*time.Hour)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.app.Out, "  %-9s %s/signin?token=%s\n", role, base, url.QueryEscape(token))
	}
	_, err = fmt.Fprintf(d.app.Out, "%s\nServing on %s until Ctrl-C.\n", next, base)
	return err
}

package main

import (
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perennial/experiments"
	"perennial/features"
)

// TestDemoRefusesAnotherShop: demo data never mixes with a shop's own.
func TestDemoRefusesAnotherShop(t *testing.T) {
	for _, name := range []string{"lake.db", "control.db", "perennial.yaml"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), "")
		_, err := newDemo(&App{Data: dir, Err: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "another shop") {
			t.Errorf("newDemo beside %s = %v, want a refusal", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "demo.json")); err == nil {
			t.Errorf("newDemo beside %s left demo.json", name)
		}
	}
}

func TestFreeAddr(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := freeAddr(l.Addr().String(), false); err == nil || !strings.Contains(err.Error(), "--addr") {
		t.Errorf("freeAddr(taken) = %v, want an error that names --addr", err)
	}
	got, err := freeAddr("127.0.0.1:0", false)
	if err != nil || strings.HasSuffix(got, ":0") {
		t.Errorf("freeAddr(:0) = %q, %v, want a port", got, err)
	}
}

// TestDemoDefinitions: what the demo creates is valid, marked simulated, and has words in both languages; the story plays every variant.
func TestDemoDefinitions(t *testing.T) {
	var defs []experiments.Definition
	if err := readDemo("demo/experiments.json", &defs); err != nil {
		t.Fatal(err)
	}
	var offers []experiments.Offer
	if err := readDemo("demo/offers.json", &offers); err != nil {
		t.Fatal(err)
	}
	var story demoStory
	if err := readDemo("demo/story.json", &story); err != nil {
		t.Fatal(err)
	}
	catalogue := map[string]bool{}
	for _, o := range offers {
		catalogue[o.Key] = o.Rules.ZH != "" && o.Rules.EN != ""
	}
	plots := map[string]demoPlot{}
	for _, p := range story.Experiments {
		plots[p.Key] = p
	}
	if len(defs) != 3 || len(plots) != 3 {
		t.Fatalf("%d experiments and %d plots, want 3 of each", len(defs), len(plots))
	}
	for _, def := range defs {
		if err := def.Validate(); err != nil {
			t.Errorf("%s: %v", def.Key, err)
		}
		if !def.Simulated || def.Name.ZH == "" || def.Name.EN == "" || def.Name.ZH == def.Name.EN {
			t.Errorf("%s is not marked simulated, or lacks a name in one language: %+v", def.Key, def.Name)
		}
		for _, v := range def.Variants {
			if _, ok := plots[def.Key].Arms[v.Key]; !ok {
				t.Errorf("%s: the story has no arm %s", def.Key, v.Key)
			}
			if v.Offer != "" && !catalogue[v.Offer] {
				t.Errorf("%s: offer %s is not in offers.json with rules in both languages", def.Key, v.Offer)
			}
		}
	}
}

// TestDemoUnits: the planted orders come at the planted rate, everything is marked simulated, nothing lies after the shop's now, and a second
// drawing gives the same events.
func TestDemoUnits(t *testing.T) {
	var story demoStory
	if err := readDemo("demo/story.json", &story); err != nil {
		t.Fatal(err)
	}
	now, err := time.Parse(time.RFC3339, demoClock)
	if err != nil {
		t.Fatal(err)
	}
	plot := story.Experiments[0]
	response, orders := plot.response(story, now)
	const units = 4000
	for variant, arm := range plot.Arms {
		p := 1.0 / 3
		got := demoAssignment{Experiment: plot.Key, Variant: &variant, Enrolled: true, PAssign: &p, AllocationRevision: 1}
		made := 0
		for i := range units {
			c := demoCustomer{UserID: "u" + string(rune('a'+i%26)) + time.Duration(i).String(), OrdersAll: 4, RevenueAll: 800}
			events, err := plot.unit(story, response, orders, c, got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := plot.unit(story, response, orders, c, got)
			if err != nil || len(again) != len(events) {
				t.Fatalf("%s: a second drawing has %d events (%v), the first %d", c.UserID, len(again), err, len(events))
			}
			for j, e := range events {
				if e.EventID != again[j].EventID || !e.TS.Equal(again[j].TS) || e.Value != again[j].Value {
					t.Fatalf("%s: a second drawing differs", c.UserID)
				}
				if !strings.Contains(string(e.Properties), `"simulated":true`) || !e.TS.Before(now) || e.TS.Before(story.Start) {
					t.Fatalf("event %+v is unmarked or out of its time", e)
				}
				if e.Name == features.OrderCompleted {
					made++
				}
			}
		}
		rate, se := float64(made)/units, math.Sqrt(arm.OrdersAdded/units)
		if math.Abs(rate-arm.OrdersAdded) > 4*se { // false alarm of a Poisson mean: 1 in 16,000
			t.Errorf("%s: %.4f simulated orders a unit, want %.4f ± %.4f", variant, rate, arm.OrdersAdded, 4*se)
		}
	}
}

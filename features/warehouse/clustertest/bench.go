package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/synth"
	"perennial/features/warehouse"
)

// benchmark prints a table of both engines on the same jobs: wall time, and the processor time of this process and of the cluster's three.
func benchmark(ctx context.Context, l *lab, events int) error {
	w, err := l.newWorld(ctx, "bench", nil, shop, "")
	if err != nil {
		return err
	}
	defer w.close()
	start := time.Now()
	c := synth.Config{Seed: 1, Users: max(100, events/95), Start: day("2024-01-01"), Days: 731, Shop: shop, OrderShape: 0.7, OrderRate: 5, DropoutRate: 30}
	n := 0
	var lot []features.Event
	for e := range synth.Shop(c) {
		if lot = append(lot, e); len(lot) == 2_500_000 {
			if err := w.loadAll(ctx, lot, 1); err != nil {
				return err
			}
			n, lot = n+len(lot), lot[:0]
		}
	}
	if err := w.loadAll(ctx, lot, 1); err != nil {
		return err
	}
	n += len(lot)
	lot = nil
	fmt.Fprintf(os.Stderr, "bench: %d events of %d customers in %.0f s\n", n, c.Users, time.Since(start).Seconds())
	cut := c.Start + features.Day(c.Days)
	var cuts []features.Day
	for i := range 6 {
		cuts = append(cuts, cut-features.Day(150-10*i))
	}
	fmt.Printf("%d events, %d customers, 2 years; a coordinator and two workers beside it on the same 2 cores\n\n| job | DuckDB wall s (CPU s) | Trino wall s (CPU s of its processes) | wall | CPU |\n|---|---|---|---|---|\n", n, c.Users)
	return w.with(ctx, func(s *lake.Snapshot) error {
		if _, _, err := w.trino.Digest(ctx, s, cut); err != nil { // registers the segments; the first query of a cluster is slow
			return err
		}
		var tables [2][]*features.Table
		for _, job := range []struct {
			name string
			run  func(e *warehouse.Engine, i int) error
		}{
			{"tiles of the whole history", func(e *warehouse.Engine, i int) error {
				_, _, err := w.tiles(ctx, e, s, fmt.Sprintf("tiles-%d", i), "")
				return err
			}},
			{"features of one cut, from raw events", func(e *warehouse.Engine, i int) (err error) {
				tables[i], err = e.FeaturesAt(ctx, s, cut)
				return err
			}},
			{"features of one cut, from tiles", func(e *warehouse.Engine, i int) (err error) {
				tables[i], err = e.FeaturesFromTiles(ctx, filepath.Join(w.dir, fmt.Sprintf("tiles-%d", i)), cut)
				return err
			}},
			{"training build, 6 cuts with labels", func(e *warehouse.Engine, i int) error {
				dir, err := w.madeDir(fmt.Sprintf("training-%d", i))
				if err == nil {
					_, err = e.BuildParts(ctx, s, filepath.Join(w.dir, "tiles-0"), warehouse.Build{Cuts: cuts, Labels: &warehouse.LabelWindow{HorizonDays: 60, MaturityDays: 2}}, dir, nil)
				}
				return err
			}},
		} {
			var wall, cpu [2]float64
			for i, e := range []*warehouse.Engine{w.duck, w.trino} {
				begun, before := time.Now(), l.processor(i == 1)
				if err := job.run(e, i); err != nil {
					return fmt.Errorf("%s: %w", job.name, err)
				}
				wall[i], cpu[i] = time.Since(begun).Seconds(), l.processor(i == 1)-before
			}
			if tables[0] != nil {
				if _, err := sameTables(tables[0], tables[1]); err != nil {
					return fmt.Errorf("%s: %w", job.name, err)
				}
				tables = [2][]*features.Table{}
			}
			fmt.Printf("| %s | %.1f (%.1f) | %.1f (%.1f) | %.1f× | %.1f× |\n", job.name, wall[0], cpu[0], wall[1], cpu[1], wall[1]/wall[0], cpu[1]/cpu[0])
		}
		for _, pair := range [][2]string{{"tiles-0", "tiles-1"}, {"training-0", "training-1"}} {
			if err := sameFiles(filepath.Join(w.dir, pair[0]), filepath.Join(w.dir, pair[1])); err != nil {
				return fmt.Errorf("%s: %w", pair[0], err)
			}
		}
		fmt.Println("\nEvery table is equal bit for bit, every file byte for byte.")
		return nil
	})
}

// processor is the processor time that this process has used, and with cluster that of the cluster's processes.
func (l *lab) processor(cluster bool) float64 {
	var own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	total := float64(own.Utime.Sec+own.Stime.Sec) + float64(own.Utime.Usec+own.Stime.Usec)/1e6
	if !cluster {
		return total
	}
	for _, node := range []string{"coord", "w1", "w2"} {
		pid, err := os.ReadFile(filepath.Join(l.home, node, "pid"))
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime in hundredths of a second
			ticks, _ := strconv.ParseFloat(f, 64)
			total += ticks / 100
		}
	}
	return total
}

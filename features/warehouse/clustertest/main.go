// Command clustertest proves the Trino engine on a real cluster: what it computes has the bits of the embedded engine, a killed worker loses and
// doubles nothing, and nobody reads half a day. `make test-cluster` starts the cluster, runs it and ends the cluster.
//
// usage: clustertest [-cluster DIR] [-binary FILE] [-only NAME,…] [-catalogs N] [-reads N] [-rebuilds N] [-events N] [-bench N]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// check is one proof; it returns its figure, or what is wrong.
type check struct {
	name string
	run  func(ctx context.Context, l *lab) (figure string, err error)
}

// checks are in the order of their needs: the last ones kill workers.
var checks = []check{
	{"statements", statements},
	{"engines", engines},
	{"catalogs", catalogs},
	{"experiments", experiment},
	{"erasure", erasure},
	{"retail", retail},
	{"publish", publish},
	{"cancel", cancel},
	{"killed_with_retries", killedWithRetries},
	{"killed_without", killedWithout},
}

// lab is what the checks work with.
type lab struct {
	home, lake, url string // of the cluster
	script          string // cluster.sh
	binary          string // bin/perennial
	catalogs        int    // random catalogs
	reads, rebuilds int
	events          int // of the shop on which workers are killed
	dirs            []string
}

func main() {
	l := &lab{}
	var only string
	bench := 0
	flag.StringVar(&l.home, "cluster", "build/cluster", "where cluster.sh keeps its state")
	flag.StringVar(&l.script, "script", "features/warehouse/testdata/cluster/cluster.sh", "what starts a worker again")
	flag.StringVar(&l.binary, "binary", "bin/perennial", "the product, which imports the retail data")
	flag.StringVar(&only, "only", "", "names of checks, with commas")
	flag.IntVar(&l.catalogs, "catalogs", 4, "random catalogs")
	flag.IntVar(&l.reads, "reads", 200, "reads beside the rebuilds")
	flag.IntVar(&l.rebuilds, "rebuilds", 20, "rebuilds of a day")
	flag.IntVar(&l.events, "events", 400_000, "events of the shop on which workers are killed")
	flag.IntVar(&bench, "bench", 0, "print a table of DuckDB and Trino side by side on so many events instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.open(); err != nil {
		fmt.Fprintf(os.Stderr, "clustertest: %v\n", err)
		os.Exit(2)
	}
	defer l.close()
	if bench > 0 {
		if err := benchmark(ctx, l, bench); err != nil {
			fmt.Fprintf(os.Stderr, "clustertest: %v\n", err)
			l.close()
			os.Exit(1)
		}
		return
	}
	passed, failed := 0, 0
	for _, c := range checks {
		if only != "" && !slices.Contains(strings.Split(only, ","), c.name) {
			continue
		}
		start := time.Now()
		figure, err := c.run(ctx, l)
		if err != nil {
			failed++
			fmt.Printf("FAIL %s: %v (%.0f s)\n", c.name, err, time.Since(start).Seconds())
		} else {
			passed++
			fmt.Printf("ok   %s: %s (%.0f s)\n", c.name, figure, time.Since(start).Seconds())
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		l.close()
		os.Exit(1)
	}
}

// open reads where the cluster is.
func (l *lab) open() error {
	var err error
	if l.home, err = filepath.Abs(l.home); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(l.home, "cluster.env"))
	if err != nil {
		return fmt.Errorf("no cluster is running; start one with `make cluster-up`: %w", err)
	}
	for _, line := range strings.Fields(string(raw)) {
		switch key, value, _ := strings.Cut(line, "="); key {
		case "TRINO_URL":
			l.url = value
		case "LAKE":
			l.lake = value
		}
	}
	return nil
}

// close removes what the checks made in the cluster's lake.
func (l *lab) close() {
	for _, d := range l.dirs {
		os.RemoveAll(d)
	}
}

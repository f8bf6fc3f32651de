package lake_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// TestMain lets a test start this binary again as a process that it may kill.
func TestMain(m *testing.M) {
	switch role := os.Getenv("LAKE_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "server":
		killAt(os.Getenv("LAKE_TEST_STEP"))
		childServer(os.Getenv("LAKE_TEST_DIR"), os.Getenv("LAKE_TEST_SEED"))
	case "importer's server":
		killAt(os.Getenv("LAKE_TEST_STEP"))
		childLake(os.Getenv("LAKE_TEST_DIR"), func(o *lake.Options) { o.SealEvery = time.Hour })
		fmt.Println("ready")
		select {}
	case "once":
		childOnce(os.Getenv("LAKE_TEST_DIR"))
	case "disk":
		childDisk(os.Getenv("LAKE_TEST_DIR"))
	}
}

// child starts this binary in a role.
func child(role, dir, seed string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "LAKE_TEST_ROLE="+role, "LAKE_TEST_DIR="+dir, "LAKE_TEST_SEED="+seed)
	c.Stderr = os.Stderr
	return c
}

func childLake(dir string, change ...func(*lake.Options)) *lake.Lake {
	o := lake.Options{Dir: dir, Shop: features.Shop{Currency: "CNY"}, Reserve: 1 << 20, SealEvery: 50 * time.Millisecond, Burst: 1 << 30, Grace: time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	l, err := lake.Open(context.Background(), o)
	if err == nil {
		err = l.Serve(context.Background(), 10*time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
	return l
}

// killAt makes this process kill itself when it comes to a step for the n-th time, given as "n step".
func killAt(where string) {
	count, step, ok := strings.Cut(where, " ")
	if !ok {
		return
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	var seen atomic.Int64
	lake.AtStep(func(at string) {
		if at == step && seen.Add(1) == int64(n) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	})
}

// childServer appends from four writers with resends, seals, compacts and erases until it is killed. It writes `S ids` before it
// sends a batch and `A ids` after its acknowledgement. Events whose id begins with gone- belong to a user who is erased again and again.
func childServer(dir, seed string) {
	l := childLake(dir)
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	say := func(kind string, ids []string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, kind, strings.Join(ids, " "))
		out.Flush()
	}
	for w := range 4 {
		go func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(len(seed))))
			var old []string
			for n := 0; ; n++ {
				events := make([]features.Event, 20)
				ids := make([]string, len(events))
				for i := range events {
					ids[i] = fmt.Sprintf("%s-%d-%d-%d", seed, w, n, i)
					if len(old) > 0 && r.IntN(20) == 0 {
						ids[i] = old[r.IntN(len(old))]
					}
					events[i] = order(ids[i], "u"+ids[i][len(ids[i])-1:], time.Now().Add(-time.Second), int64(i))
				}
				say("S", ids)
				_, err := l.Append(context.Background(), events)
				if errors.Is(err, lake.ErrNotServing) { // the journal is being rewritten
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, "child:", err)
					os.Exit(3)
				}
				say("A", ids)
				old = append(old, ids...)
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
	for i := 0; ; i++ {
		err := l.Seal(context.Background())
		if err == nil && i%5 == 4 {
			_, err = l.Compact(context.Background())
		}
		if err == nil && i%7 == 6 {
			_, err = l.Erase(context.Background(), "gone")
			if err == nil {
				at := time.Now()
				id := fmt.Sprintf("gone-%s-%d", seed, i)
				say("S", []string{id})
				_, err = l.Append(context.Background(), []features.Event{order(id, "gone", at, 1)})
			}
		}
		if err != nil && !errors.Is(err, lake.ErrNotServing) {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(3)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kills is how often TestKill9 kills at each step; `make crash` takes more.
var kills = flag.Int("kills", 1, "kills at each step of the lake's life")

// ledger is what the killed servers said.
type ledger struct{ acknowledged, sent map[string]bool }

// read takes what a child wrote until it died; a last line that is not whole says nothing.
func (l ledger) read(text string) {
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		into := l.sent
		if line[0] == 'A' {
			into = l.acknowledged
		}
		for _, id := range strings.Fields(line[2:]) {
			into[id] = true
		}
	}
}

// check compares the ledger with what is stored: every acknowledged event once, and nothing else.
func (l ledger) check(t *testing.T, got map[string]int) {
	t.Helper()
	lost, twice, strange := 0, 0, 0
	for id := range l.acknowledged {
		if got[id] == 0 {
			lost++
		}
	}
	for id, n := range got {
		if n > 1 {
			twice++
		}
		if !l.sent[id] {
			strange++
		}
	}
	if lost+twice+strange > 0 {
		t.Fatalf("of %d acknowledged events %d are lost, %d stored twice, %d were never sent", len(l.acknowledged), lost, twice, strange)
	}
}

// TestKill9 kills a server at every step of appending, sealing, compacting, collecting and erasing, under load with resends, and at random
// moments. After every kill the lake opens and reads; at the end what was acknowledged is stored exactly once, and nothing that was never sent.
func TestKill9(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	died, acknowledged := 0, 0
	for life := range *kills {
		dir := t.TempDir()
		book := ledger{map[string]bool{}, map[string]bool{}}
		for round, step := range append([]string{""}, lake.Steps...) {
			c := child("server", dir, fmt.Sprintf("r%d.%d", life, round))
			after := 5 * time.Minute
			switch {
			case step == "":
				after = time.Duration(20+r.IntN(400)) * time.Millisecond
			case strings.HasPrefix(step, "erase"):
				c.Env = append(c.Env, "LAKE_TEST_STEP=1 "+step)
			default:
				c.Env = append(c.Env, fmt.Sprintf("LAKE_TEST_STEP=%d %s", 1+r.IntN(3), step))
			}
			book.read(runUntilKilled(t, c, after, step))
			died++
			l := open(t, dir)
			stored(t, l) // every file that the manifest names can be read
			if err := l.Close(); err != nil {
				t.Fatalf("after a kill at %q: %v", step, err)
			}
		}
		l := open(t, dir)
		if err := l.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		book.check(t, stored(t, l))
		acknowledged += len(book.acknowledged)
	}
	if acknowledged < 20*died {
		t.Errorf("%d events were acknowledged in %d lives: too few to show anything", acknowledged, died)
	}
	t.Logf("%d kills, %d acknowledged events: none lost, none twice", died, acknowledged)
}

// runUntilKilled runs a child until it kills itself or the time is over, and returns what it wrote.
func runUntilKilled(t *testing.T, c *exec.Cmd, after time.Duration, step string) string {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReaderSize(out, 1<<20)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%q: the child ended early: %v", step, err)
	}
	var late atomic.Bool
	stop := time.AfterFunc(after, func() { late.Store(true); c.Process.Kill() })
	rest, err := io.ReadAll(lines)
	stop.Stop()
	if err != nil {
		t.Fatal(err)
	}
	c.Wait() // killed
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("%q: the child ended by itself: %v", step, c.ProcessState)
	}
	if late.Load() && step != "" {
		t.Fatalf("the child never came to %q", step)
	}
	return first + string(rest)
}

// childOnce is one event's whole way, for strace.
func childOnce(dir string) {
	l := childLake(dir, func(o *lake.Options) { o.SealEvery = time.Hour })
	_, err := l.Append(context.Background(), []features.Event{order("a", "u", time.Now().Add(-time.Second), 1)})
	if err == nil {
		err = l.Seal(context.Background())
	}
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
}

// TestOrderOfSyncs reads from the system calls of a seal that its steps are in the order without which a power cut loses or doubles
// events: segment written, fsynced, renamed, its directory fsynced, manifest committed with an fsync, only then the journal's records deleted.
func TestOrderOfSyncs(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed: apt-get install strace")
	}
	dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	c := child("once", dir, "")
	c.Args = append([]string{"strace", "-f", "-y", "-s", "4096", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write,pwrite64", "-o", trace}, os.Args[0])
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	c.Path = path
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	// after returns the first line from `from` on that has all words, and fails without one.
	after := func(from int, what string, words ...string) int {
		for i := from; i < len(lines); i++ {
			all := true
			for _, w := range words {
				all = all && strings.Contains(lines[i], w)
			}
			if all {
				return i
			}
		}
		t.Fatalf("no %s after line %d of the trace:\n%s", what, from, strings.Join(lines[max(0, from-3):min(len(lines), from+40)], "\n"))
		return 0
	}
	wal := after(0, "write of the event to the journal", "write(", "/journal/", ".log", features.OrderCompleted)
	ack := after(wal, "sync of the journal", "sync", "/journal/", ".log")
	part := after(ack, "write of the segment", "write", "part.parquet>")
	synced := after(part, "fsync of the segment", "fsync(", "part.parquet>")
	for i := synced; i < len(lines); i++ {
		if strings.Contains(lines[i], "write") && strings.Contains(lines[i], "part.parquet>") {
			t.Errorf("the segment is written after its fsync: %s", lines[i])
		}
	}
	renamed := after(synced, "rename of the segment", "rename", "/seg=")
	dirSynced := after(renamed, "fsync of the day's directory", "fsync(", "/events/day=")
	manifest := after(dirSynced, "write of the manifest", "write", "lake.db-wal>")
	committed := after(manifest, "sync of the manifest", "sync(", "lake.db-wal>")
	deleted := after(ack+1, "deletion in the journal", "write(", "/journal/", ".log")
	if deleted < committed {
		t.Errorf("the journal is touched on line %d, before the manifest's commit on line %d: %s", deleted, committed, lines[deleted])
	}
	for i := ack; i < dirSynced; i++ {
		if strings.Contains(lines[i], "sync(") && strings.Contains(lines[i], "lake.db-wal>") {
			t.Errorf("the manifest is committed before the segment is durable: %s", lines[i])
		}
	}
}

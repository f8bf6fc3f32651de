package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"perennial/api/web"
	"perennial/features"
	"perennial/features/lake"
)

type doctorCmd struct{}

func (doctorCmd) Help() string {
	return `Checks the configuration, data directory, disk, clock, events, keys, scores, audit, servers and page. Each fault is printed with its remedy; exit 1 when there
is one. A warning is worth a look and leaves exit 0. Nothing is changed.

Examples:
  perennial doctor
  perennial doctor --data /srv/perennial --json`
}

// finding is one check of the doctor. Status is ok, warning or fault; Remedy is "" when all is well.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func fine(format string, args ...any) finding {
	return finding{Status: "ok", Detail: fmt.Sprintf(format, args...)}
}

func warning(remedy, format string, args ...any) finding {
	return finding{Status: "warning", Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func fault(remedy, format string, args ...any) finding {
	return finding{Status: "fault", Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Run makes every check that the state of the data directory allows. It errs when there is a fault.
func (doctorCmd) Run(ctx context.Context, a *App) error {
	var found []finding
	add := func(name string, f finding) {
		f.Name = name
		found = append(found, f)
	}
	add("config", checkConfig(a))
	add("page", checkPage())
	dir := checkDir(a.Data)
	add("data", dir)
	if dir.Status == "ok" {
		add("disk", checkDisk(a.Data))
		add("server", checkServer(a.private()))
		add("keys", a.checkKeys(ctx))
		found = append(found, a.checkLake(ctx)...)
	}
	faults := 0
	for _, f := range found {
		if f.Status == "fault" {
			faults++
		}
	}
	if err := printFindings(a, found, faults); err != nil {
		return err
	}
	if faults > 0 {
		return fmt.Errorf("doctor: %d of %d checks found a fault", faults, len(found))
	}
	return nil
}

func printFindings(a *App, found []finding, faults int) error {
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"checks": found, "faults": faults})
	}
	for _, f := range found {
		fmt.Fprintf(a.Out, "%-8s %-11s %s\n", f.Status, f.Name, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(a.Out, "%20s → %s\n", "", f.Remedy)
		}
	}
	return nil
}

// checkConfig reports what the loaded configuration means; a configuration that cannot be read ends the program before.
func checkConfig(a *App) finding {
	if !a.Config.Clock.IsZero() {
		return warning("remove `clock` from perennial.yaml for a real shop", "%s, %s, simulated clock %s", a.Config.Timezone, a.Config.Currency, a.Config.Clock.Format(time.RFC3339))
	}
	return fine("%s, %s, margin rate %v", a.Config.Timezone, a.Config.Currency, a.Config.MarginRate)
}

func checkPage() finding {
	if web.FS() == nil {
		return warning("run `make build` (or `npm ci && npm run build` in api/web, then build again)", "this binary was built without the pages; the API works")
	}
	return fine("built into this binary")
}

// checkDir checks that the data directory is there, private and writable.
func checkDir(dir string) finding {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault("run `perennial init`, or name it with --data DIR", "%s is not there", dir)
	case err != nil:
		return fault("check the path and its permissions", "%v", err)
	case !info.IsDir():
		return fault("name a directory with --data DIR", "%s is a file", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fault("give this user the directory, or run as its owner", "%s is not writable", dir)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return warning("chmod 700 "+dir, "%s can be read by everybody on this machine", dir)
	}
	return fine("%s", dir)
}

// checkDisk holds the free space against the reserve below which events are refused (1 GB).
func checkDisk(dir string) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fault("check the file system", "%v", err)
	}
	const gb = 1 << 30
	free := int64(st.Bavail) * int64(st.Bsize)
	switch {
	case free < gb:
		return fault("free space on the data directory's file system", "%.2f GB free: the server refuses events below 1 GB", float64(free)/gb)
	case free < 5*gb:
		return warning("free space on the data directory's file system", "%.1f GB free", float64(free)/gb)
	}
	return fine("%.1f GB free", float64(free)/gb)
}

// checkServer says whether a server owns the data directory, and finds one that holds the lock and does not answer.
func checkServer(dir string) finding {
	lock, err := os.Open(filepath.Join(dir, "serve.lock"))
	if errors.Is(err, os.ErrNotExist) {
		return fine("none has run here yet")
	}
	if err != nil {
		return fault("check the permissions of the data directory", "%v", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		return fine("none runs")
	}
	path := filepath.Join(dir, "serve.sock")
	if raw, err := os.ReadFile(filepath.Join(dir, "serve.json")); err == nil {
		var where struct{ Socket string }
		if json.Unmarshal(raw, &where) == nil && where.Socket != "" {
			path = where.Socket
		}
	}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err != nil {
		return fault("look at the server's log; end it with SIGTERM and start it again", "a process holds this directory and does not answer on serve.sock")
	}
	conn.Close()
	return fine("running")
}

// checkKeys looks for a key that an app or a person could use.
func (a *App) checkKeys(ctx context.Context) finding {
	store, err := a.openStore(ctx)
	if err != nil {
		return fault("check `database` in perennial.yaml, or the permissions of control.db", "%v", err)
	}
	defer store.Close()
	keys, err := store.Keys(ctx)
	if err != nil {
		return fault("check the control store", "%v", err)
	}
	roles := map[string]int{}
	for _, k := range keys {
		if k.RevokedAt == nil {
			roles[k.Role]++
		}
	}
	if len(roles) == 0 {
		return warning("perennial keys create --role admin", "no API key: nobody can ask this server anything")
	}
	return fine("%s", counts(roles))
}

// checkLake looks at clock, events, scores and the unsealed tail.
func (a *App) checkLake(ctx context.Context) []finding {
	l, err := a.openLake(ctx)
	if err != nil {
		return []finding{{"events", "fault", err.Error(), "check lake.db and the permissions of the data directory"}}
	}
	defer l.Close()
	named := func(name string, f finding) finding { f.Name = name; return f }
	found := []finding{named("tail", checkTail(ctx, l))}
	if f := checkServers(ctx, l); f != nil {
		found = append(found, named("servers", *f))
	}
	facts, err := a.factsOf(ctx, l)
	if err != nil {
		return append(found, named("events", fault("restore the missing files from a backup: perennial restore", "%v", err)))
	}
	return append(found, named("events", facts.check()), named("clock", facts.clock(a.Now())), named("scores", a.checkScores(ctx, l, facts)), named("audit", checkAudit(ctx, l)))
}

func checkTail(ctx context.Context, l *lake.Lake) finding {
	n, err := l.Unsealed(ctx)
	switch {
	case err != nil:
		return fault("check lake.db", "%v", err)
	case n > 0:
		return fine("the journal may hold events that are not sealed yet; the next command that reads seals them")
	}
	return fine("everything acknowledged is sealed")
}

// checkScores looks for a published run that is not older than the data.
func (a *App) checkScores(ctx context.Context, l *lake.Lake, f facts) finding {
	runs, err := l.Runs(ctx, "scores")
	if err != nil {
		return fault("check lake.db", "%v", err)
	}
	if f.rows == 0 {
		return fine("no events, no scores")
	}
	if len(runs) == 0 {
		return warning("perennial nightly", "nothing is scored yet: experiments that target on scores enrol nobody")
	}
	today := a.Config.Shop().DayOf(a.Now())
	if age := int(today - runs[0].AsOf); age > 2 {
		return warning("put `perennial nightly` in cron; run it now", "the newest scores are as of %s, %d days old", runs[0].AsOf, age)
	}
	return fine("as of %s, %s", runs[0].AsOf, runs[0].Version)
}

// checkAudit repeats what the newest night that computed features said of them: whether a replay from raw events is the same, and what late data changed since.
func checkAudit(ctx context.Context, l *lake.Lake) finding {
	nights, err := records[nightReport](ctx, l, "night")
	if err != nil {
		return fault("check lake.db", "%v", err)
	}
	days := slices.Sorted(maps.Keys(nights))
	for _, day := range slices.Backward(days) {
		n := nights[day]
		if n.Audit == nil {
			continue
		}
		text := ""
		if n.Drift != nil {
			text = "; " + driftText(n.Drift)
		}
		if n.Audit.Differences > 0 {
			return fault("run `perennial nightly --from tiles`, and tell us", "as of %s the features of %d of %d users are not those of raw events: %s%s", day, n.Audit.Differences, n.Audit.Users, strings.Join(n.Audit.Columns, ", "), text)
		}
		return fine("as of %s the features of %d users are those of raw events%s", day, n.Audit.Users, text)
	}
	return fine("no night has computed features yet")
}

// facts is what the doctor reads from the sealed events.
type facts struct {
	rows, ids, days int64
	known           time.Time // newest available_at
	last            features.Day
}

func (f facts) check() finding {
	switch {
	case f.rows == 0:
		return warning("perennial import events FILE …, or send events to /v1/events", "no events yet")
	case f.ids < f.rows:
		return fault("report it: this must not happen", "%d sealed events have %d distinct ids", f.rows, f.ids)
	}
	return fine("%d, no id twice, the newest of %s", f.rows, f.last)
}

// clock compares the shop's clock with the newest fact.
func (f facts) clock(now time.Time) finding {
	if f.rows > 0 && f.known.After(now.Add(time.Hour)) {
		return fault("set the machine's clock (timedatectl), or `clock` in perennial.yaml for a simulation", "now is %s, and something was learned at %s", now.Format(time.RFC3339), f.known.Format(time.RFC3339))
	}
	return fine("%s", now.Format(time.RFC3339))
}

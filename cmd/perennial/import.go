package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
)

// loadLot is how many events one transaction of an import takes.
const loadLot = 200_000

type importCmd struct {
	Events importEventsCmd `cmd:"" help:"Events: CSV, TSV, NDJSON or Parquet; .gz and .zst too."`
	Orders importEventsCmd `cmd:"" help:"The same, for files that hold only orders."`
	Users  importUsersCmd  `cmd:"" help:"What the shop knows of its users: attributes for targeting and segments."`
	Tags   importTagsCmd   `cmd:"" help:"Tags of users: the attribute tag_NAME."`
	Costs  importCostsCmd  `cmd:"" help:"What channels cost by day: the input of CAC, LTV:CAC and payback."`
}

type importEventsCmd struct {
	Files   []string          `arg:"" name:"file" help:"Files to load; - is NDJSON on standard input."`
	Map     map[string]string `help:"Column of an event field, such as --map user_id=CustomerID; quantity and price make a value; properties.NAME keeps a column." placeholder:"FIELD=COLUMN" mapsep:"none"`
	Preset  string            `help:"Known format: online-retail, cdnow, sensors, growthbook." placeholder:"NAME"`
	Group   string            `help:"Field or column whose equal values are the lines of one order." placeholder:"FIELD"`
	Event   string            `help:"Event name of rows that have none." default:"Order Completed"`
	TZ      string            `name:"tz" help:"Zone of times without one; default the shop's." placeholder:"ZONE"`
	Lag     time.Duration     `help:"How long after its time an event could be known." default:"0s"`
	Rejects string            `help:"Where rejected rows go, as NDJSON with file, line and reason; default in the data directory." placeholder:"FILE" type:"path"`
}

// Help is shown by --help.
func (importEventsCmd) Help() string {
	return `Examples:
  perennial import events orders.csv.gz --map user_id=customer --map ts=created_at --map value=total --map order_id=id
  perennial import events online_retail.csv.gz --preset online-retail
  perennial import events lines.csv --group order_id --map quantity=qty --map price=unit_price --tz Europe/London
  perennial import events exported.ndjson
A row that cannot be used is kept aside with its reason and never stops the import. The same rows again change nothing.`
}

// usage makes an error wrong usage (exit 2) without hiding the field that it names.
type badUsage struct{ err error }

func (b badUsage) Error() string   { return b.err.Error() }
func (b badUsage) Unwrap() []error { return []error{usageError{b.err}, b.err} }

// importResult is what an import prints (CONTRACT §3).
type importResult struct {
	Rows        int            `json:"rows"`
	Events      int            `json:"events"`
	Users       *int           `json:"users,omitempty"` // of an import of users or tags: how many are new or changed
	Costs       *int           `json:"costs,omitempty"`
	Duplicate   int            `json:"duplicate"`
	Rejected    int            `json:"rejected"`
	RejectsFile *string        `json:"rejects_file"`
	Reasons     map[string]int `json:"reasons"`
}

// Run loads the files.
func (c importEventsCmd) Run(ctx context.Context, a *App) error {
	o := features.ImportOptions{Preset: c.Preset, Map: c.Map, Group: c.Group, Event: c.Event, Lag: c.Lag, Shop: a.Config.Shop(), Now: a.Now()}
	if c.Lag < 0 {
		return usagef("--lag: %s is negative: an event cannot be known before it happens", c.Lag)
	}
	if c.TZ != "" {
		loc, err := time.LoadLocation(c.TZ)
		if err != nil {
			return usagef("--tz: %q is not an IANA time zone such as Europe/London", c.TZ)
		}
		o.Location = loc
	}
	im, err := features.NewImporter(o)
	if err != nil {
		return badUsage{err}
	}
	return a.importFiles(ctx, c.Files, c.Rejects, im, &eventLoader{importer: im})
}

// importFiles checks that the files are there and loads them.
func (a *App) importFiles(ctx context.Context, files []string, rejects string, reader importReader, to loader) error {
	for _, f := range files {
		if f == "-" {
			continue
		}
		if info, err := os.Stat(f); err != nil {
			return usagef("import: %v", err)
		} else if info.IsDir() {
			return usagef("import: %s is a directory: name its files", f)
		}
	}
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	in := &importing{app: a, lake: l, importer: reader, to: to, rejects: rejects, result: importResult{Reasons: map[string]int{}}}
	err = in.files(ctx, files)
	return errors.Join(err, l.Close())
}

// importReader turns the rows of files into facts.
type importReader interface {
	JSON() bool                          // every file is lines of JSON, whatever its name
	Blanks() []string                    // columns of headerless files of blank-separated cells, or nil
	Start(header []string) error         // begins a file; nil means lines of JSON
	Row(cells [][]byte, width int) error // one row of a table
	Object(line []byte) error            // one line of JSON
}

// loader brings what was read into the lake.
type loader interface {
	ready(ctx context.Context, in *importing) error  // called after every row
	finish(ctx context.Context, in *importing) error // called after the last row
}

// eventLoader loads events a lot at a time, and orders of several lines at the end.
type eventLoader struct {
	importer *features.Importer
	consents map[string]bool // users whose consent was among the events
}

func (e *eventLoader) ready(ctx context.Context, in *importing) error {
	if e.importer.Pending() < loadLot {
		return nil
	}
	return in.load(ctx, e.importer.Take())
}

func (e *eventLoader) finish(ctx context.Context, in *importing) error {
	rest, faults := e.importer.Finish()
	for _, f := range faults {
		if err := in.reject(rejectedRow{Field: f.Field, Reason: f.Reason}); err != nil {
			return err
		}
	}
	for lot := range slices.Chunk(rest, loadLot) {
		if err := in.load(ctx, lot); err != nil {
			return err
		}
	}
	return e.refusals(ctx, in)
}

// refusals brings imported refusals of personalised marketing, and their withdrawals, to where assignments look.
func (e *eventLoader) refusals(ctx context.Context, in *importing) error {
	if len(e.consents) == 0 {
		return nil
	}
	refused, err := in.lake.Refused(ctx, features.ConsentMarketing, math.MaxInt32)
	if err != nil {
		return err
	}
	return in.app.withStore(ctx, func(s *sqlstore.Store) error {
		for user := range e.consents {
			if err := s.OptOut(ctx, user, refused[user]); err != nil {
				return err
			}
		}
		return nil
	})
}

// importing is one run of an import.
type importing struct {
	app      *App
	lake     *lake.Lake
	importer importReader
	to       loader
	rejects  string
	out      *bufio.Writer
	file     *os.File
	result   importResult
}

func (in *importing) files(ctx context.Context, names []string) (err error) {
	defer func() { err = errors.Join(err, in.closeRejects()) }()
	bar := newImportBar(in.app, names)
	defer bar.done()
	for _, name := range names {
		if err := in.read(ctx, name, bar); err != nil {
			err = fmt.Errorf("import %s: %w", name, err)
			if e, ok := in.to.(*eventLoader); ok { // what was whole before the fault counts; orders of several lines may not be
				err = errors.Join(err, in.load(ctx, e.importer.Take()))
			}
			return err
		}
	}
	if err := in.to.finish(ctx, in); err != nil {
		return err
	}
	bar.done()
	if err := in.closeRejects(); err != nil {
		return err
	}
	return in.print()
}

// load puts a lot of events into the lake.
func (in *importing) load(ctx context.Context, events []features.Event) error {
	if e, ok := in.to.(*eventLoader); ok {
		for i := range events {
			if events[i].Name != features.ConsentUpdated {
				continue
			}
			if e.consents == nil {
				e.consents = map[string]bool{}
			}
			e.consents[events[i].UserID] = true
		}
	}
	accepted, duplicate, err := in.lake.Load(ctx, events)
	in.result.Events += accepted
	in.result.Duplicate += duplicate
	return err
}

// row counts a row and keeps it aside when it was refused; it loads what has gathered.
func (in *importing) row(ctx context.Context, file string, line int, text []byte, fault error) error {
	in.result.Rows++
	if fault != nil {
		r := rejectedRow{File: filepath.Base(file), Line: line, Reason: fault.Error(), Row: clipRow(text)}
		var invalid *features.InvalidError
		if errors.As(fault, &invalid) {
			r.Field, r.Reason = invalid.Field, invalid.Reason
		}
		return in.reject(r)
	}
	return in.to.ready(ctx, in)
}

// rejectedRow is one line of the rejects file.
type rejectedRow struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
	Row    string `json:"row,omitempty"`
}

// clipRow keeps what a person needs to find a row.
func clipRow(text []byte) string {
	if len(text) > 1000 {
		text = text[:1000]
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

func (in *importing) reject(r rejectedRow) error {
	in.result.Rejected++
	in.result.Reasons[strings.TrimSpace(r.Field+" "+r.Reason)]++
	if in.file == nil {
		if err := in.openRejects(); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = in.out.Write(append(doc, '\n'))
	return err
}

func (in *importing) openRejects() (err error) {
	path := in.rejects
	if path == "" {
		dir := filepath.Join(in.app.Data, "rejects")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("rejects: %w", err)
		}
		path = filepath.Join(dir, time.Now().UTC().Format("import-20060102T150405.000")+".ndjson")
	}
	if in.file, err = os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("rejects: %w", err)
	}
	in.out = bufio.NewWriterSize(in.file, 64<<10)
	in.result.RejectsFile = &path
	return nil
}

func (in *importing) closeRejects() error {
	if in.file == nil {
		return nil
	}
	err := errors.Join(in.out.Flush(), in.file.Close())
	in.file, in.out = nil, nil
	return err
}

// print writes the result.
func (in *importing) print() error {
	r := in.result
	if in.app.JSON {
		return json.NewEncoder(in.app.Out).Encode(r)
	}
	n, what := r.loaded()
	fmt.Fprintf(in.app.Out, "%d rows: %d %s loaded, %d there already, %d rows rejected\n", r.Rows, n, what, r.Duplicate, r.Rejected)
	for _, reason := range slices.SortedFunc(maps.Keys(r.Reasons), func(a, b string) int {
		if r.Reasons[a] != r.Reasons[b] {
			return r.Reasons[b] - r.Reasons[a]
		}
		return strings.Compare(a, b)
	}) {
		fmt.Fprintf(in.app.Out, "  %7d  %s\n", r.Reasons[reason], reason)
	}
	if r.RejectsFile != nil {
		fmt.Fprintf(in.app.Out, "rejected rows: %s\n", *r.RejectsFile)
	}
	return nil
}

package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

type exportCmd struct {
	What string `arg:"" enum:"events,features,scores" help:"What to write: events, features or scores."`
	From string `help:"Events: first local day." placeholder:"DATE"`
	To   string `help:"Events: the local day after the last." placeholder:"DATE"`
	AsOf string `name:"as-of" help:"Features and scores: the cut; default the newest." placeholder:"DATE"`
	User string `help:"Only this user." placeholder:"ID"`
	Out  string `help:"File (.parquet, .csv or .ndjson; the last two also .gz or .zst); default NDJSON on standard output." placeholder:"FILE" type:"path"`
}

// Help is shown by --help.
func (exportCmd) Help() string {
	return `Examples:
  perennial export events --from 2011-06-01 --to 2011-07-01 --out june.csv.gz
  perennial export scores --as-of 2011-10-01 --out scores.parquet
  perennial export events --user 12347
Events come as stored, those that a running server has acknowledged included.`
}

// Run writes what was asked for.
func (c exportCmd) Run(ctx context.Context, a *App) error {
	from, err := optionalDay("--from", c.From)
	if err != nil {
		return err
	}
	to, err := optionalDay("--to", c.To)
	if err != nil {
		return err
	}
	asOf, err := optionalDay("--as-of", c.AsOf)
	if err != nil {
		return err
	}
	switch {
	case c.What == "events" && c.AsOf != "":
		return usagef("--as-of is for features and scores; events take --from and --to")
	case c.What != "events" && (c.From != "" || c.To != ""):
		return usagef("--from and --to are for events; %s take --as-of", c.What)
	case c.From != "" && c.To != "" && to <= from:
		return usagef("--to %s is not after --from %s", c.To, c.From)
	}
	if c.Out != "" {
		if _, _, err := outForm(c.Out); err != nil {
			return err
		}
	}
	l, err := a.openLake(ctx)
	if err != nil {
		return err
	}
	if c.What == "events" {
		err = c.events(ctx, a, l, warehouse.ExportFilter{From: from, To: to, User: a.Config.Shop().Pseudonym(c.User)})
	} else {
		err = c.run(ctx, a, l, asOf)
	}
	return errors.Join(err, l.Close())
}

func optionalDay(flag, text string) (features.Day, error) {
	if text == "" {
		return 0, nil
	}
	d, err := features.ParseDay(text)
	if err != nil {
		return 0, usagef("%s: %v", flag, err)
	}
	return d, nil
}

// outForm splits a file name into form and compression.
func outForm(path string) (form, pack string, err error) {
	base := strings.ToLower(filepath.Base(path))
	for _, p := range []string{".gz", ".zst"} {
		if strings.HasSuffix(base, p) {
			base, pack = strings.TrimSuffix(base, p), p
			break
		}
	}
	switch form = filepath.Ext(base); {
	case form == ".jsonl":
		return ".ndjson", pack, nil
	case form == ".csv", form == ".ndjson", form == ".parquet" && pack == "":
		return form, pack, nil
	}
	return "", "", usagef("--out: %q ends in none of .parquet, .csv, .ndjson (.csv and .ndjson also with .gz or .zst)", filepath.Base(path))
}

// events seals first, so that what a server has acknowledged is there, and then streams.
func (c exportCmd) events(ctx context.Context, a *App, l *lake.Lake, f warehouse.ExportFilter) (err error) {
	if err := l.Seal(ctx); err != nil {
		return err
	}
	s, err := l.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	engine, err := a.openEngine(ctx, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if c.Out == "" {
		return engine.ExportEvents(ctx, s, f, a.Out)
	}
	form, pack, err := outForm(c.Out)
	if err != nil {
		return err
	}
	if form == ".parquet" {
		return lake.WriteParquet(ctx, s, lake.Window{From: f.From, To: f.To, User: f.User}, c.Out, filepath.Join(a.Data, "tmp"), a.memory())
	}
	return writePacked(c.Out, pack, func(w io.Writer) error {
		if form == ".ndjson" {
			return engine.ExportEvents(ctx, s, f, w)
		}
		return eventsCSV(ctx, engine, s, f, w)
	})
}

// writePacked writes a file under a private name beside it and renames it when it is complete and on disk.
func writePacked(path, pack string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	var z io.WriteCloser
	switch pack {
	case ".gz":
		z = gzip.NewWriter(f)
	case ".zst":
		if z, err = zstd.NewWriter(f, zstd.WithEncoderConcurrency(1)); err != nil {
			return err
		}
	}
	if z == nil {
		err = write(f)
	} else if err = write(z); err == nil {
		err = z.Close()
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// eventColumns are the columns of an events CSV: CONTRACT §3 and the two times.
var eventColumns = []string{"event_id", "user_id", "anonymous_id", "event", "ts", "value", "currency", "margin", "discount", "platform_discount", "commission", "cost",
	"order_id", "product_id", "category", "channel", "coupon_id", "session_id", "properties", "sent_at", "received_at", "available_at"}

// eventsCSV turns the NDJSON export into CSV, row by row; cells are the exact texts of the JSON values.
func eventsCSV(ctx context.Context, engine *warehouse.Engine, s *lake.Snapshot, f warehouse.ExportFilter, w io.Writer) error {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(engine.ExportEvents(ctx, s, f, pw)) }()
	defer pr.Close()
	out := csv.NewWriter(w)
	if err := out.Write(eventColumns); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(pr, 256<<10)
	row := make([]string, len(eventColumns))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil {
			return err
		}
		var e map[string]json.RawMessage
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		for i, name := range eventColumns {
			row[i] = ""
			switch raw := e[name]; {
			case len(raw) == 0 || string(raw) == "null":
			case raw[0] == '"':
				if err := json.Unmarshal(raw, &row[i]); err != nil {
					return fmt.Errorf("export: %w", err)
				}
			default:
				row[i] = string(raw)
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// run writes a published run of features or scores.
func (c exportCmd) run(ctx context.Context, a *App, l *lake.Lake, asOf features.Day) (err error) {
	r, ok, err := l.FindRun(ctx, c.What, asOf, "")
	if err != nil {
		return err
	}
	if !ok {
		command := "features"
		if c.What == "scores" {
			command = "score"
		}
		when := c.AsOf
		if when == "" {
			when = "DATE"
		}
		return fmt.Errorf("export: no %s are published for %s: run `perennial %s --as-of %s` first", c.What, strings.Replace(when, "DATE", "any date", 1), command, when)
	}
	engine, err := a.openEngine(ctx, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	t, err := engine.ReadTable(ctx, filepath.Join(r.Dir, c.What+".parquet"))
	if err != nil {
		return err
	}
	if c.User != "" {
		t = onlyUser(t, c.User)
	}
	if c.Out != "" {
		return engine.WriteTable(ctx, t, c.Out)
	}
	work, err := os.MkdirTemp(filepath.Join(a.Data, "tmp"), "export-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	path := filepath.Join(work, "out.ndjson")
	if err := engine.WriteTable(ctx, t, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(a.Out, f)
	return errors.Join(err, f.Close())
}

// onlyUser returns the table's rows of one user.
func onlyUser(t *features.Table, user string) *features.Table {
	one := &features.Table{AsOf: t.AsOf}
	for i, u := range t.Users {
		if u != user {
			continue
		}
		one.Users = t.Users[i : i+1]
		for _, c := range t.Columns {
			if c.Numbers != nil {
				c.Numbers = c.Numbers[i : i+1]
			}
			if c.Texts != nil {
				c.Texts = c.Texts[i : i+1]
			}
			one.Columns = append(one.Columns, c)
		}
		return one
	}
	for _, c := range t.Columns {
		one.Columns = append(one.Columns, features.Column{Name: c.Name, Integer: c.Integer})
	}
	return one
}

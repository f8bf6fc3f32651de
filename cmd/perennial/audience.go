package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/features"
)

type experimentAudienceCmd struct {
	Key   string `arg:"" help:"A running experiment."`
	Out   string `required:"" type:"path" placeholder:"DIR" help:"Directory for KEY-VARIANT.csv of each arm and KEY-exposures.ndjson."`
	Units string `type:"existingfile" placeholder:"FILE" help:"Unit ids, one a line, or a CSV with a column unit_id or user_id; without it every scored user."`
}

// Help shows examples.
func (experimentAudienceCmd) Help() string {
	return `The list is frozen by its files: send each arm its message, then record who was sent it as the exposure of the test.

Examples:
  perennial experiment audience win-back --out lists
  perennial import events lists/win-back-exposures.ndjson`
}

type audienceArm struct {
	Variant string `json:"variant"`
	Units   int    `json:"units"`
	File    string `json:"file"`
	units   []string
}

// Run assigns every unit of the list by the newest scores and writes one file for each arm. The same list, definition and scores give the same files.
func (c experimentAudienceCmd) Run(ctx context.Context, a *App) error {
	profiles, err := a.newestProfiles(ctx)
	if err != nil {
		return err
	}
	return a.withStore(ctx, func(s *sqlstore.Store) error {
		source, err := s.Source(ctx)
		if err != nil {
			return err
		}
		if profiles != nil {
			source.ServerAttributes = profiles.Columns()
		}
		snapshot, err := experiments.Compile(source)
		if err != nil {
			return err
		}
		e, ok := snapshot.Experiment(c.Key)
		switch {
		case !ok:
			return fmt.Errorf("experiment %s: %w", c.Key, experiments.ErrNotFound)
		case e.Status != experiments.Running:
			return experiments.Invalid("status", "%s is %s: run `perennial experiment start %s` first", e.Key, e.Status, e.Key)
		case a.Config.PseudonymKey != "" && c.Units == "":
			return experiments.Invalid("units", "stored ids are pseudonyms, which no message can be sent to: give the list with --units")
		case profiles == nil && (snapshot.NeedsServer(c.Key) || c.Units == ""):
			return experiments.Invalid("units", "nobody is scored yet: run `perennial nightly` first, or give --units for an experiment that needs no scores")
		}
		units, err := c.units(profiles)
		if err != nil {
			return err
		}
		out, err := s.OptedOut(ctx)
		if err != nil {
			return err
		}
		return c.write(a, snapshot, e, profiles, units, out)
	})
}

// units reads the list, sorted and without repeats.
func (c experimentAudienceCmd) units(profiles *features.Profiles) ([]string, error) {
	if c.Units == "" {
		return profiles.Users(), nil
	}
	f, err := os.Open(c.Units)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	units, err := readUnits(f)
	if err != nil {
		return nil, fmt.Errorf("units: %s: %w", c.Units, err)
	}
	slices.Sort(units)
	return slices.Compact(units), nil
}

// readUnits takes the column unit_id or user_id of a CSV, or the first field of every line where no line names a column.
func readUnits(r io.Reader) ([]string, error) {
	rows := csv.NewReader(bufio.NewReader(r))
	rows.FieldsPerRecord, rows.ReuseRecord, rows.LazyQuotes = -1, true, true
	column := 0
	var units []string
	for line := 1; ; line++ {
		row, err := rows.Read()
		if err == io.EOF {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		if line == 1 {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if i := slices.IndexFunc(row, func(name string) bool { return name == "unit_id" || name == "user_id" }); i >= 0 {
				column = i
				continue
			}
		}
		if column < len(row) && row[column] != "" {
			units = append(units, strings.Clone(row[column]))
		}
	}
}

func (c experimentAudienceCmd) write(a *App, snapshot *experiments.Snapshot, e *experiments.Experiment, profiles *features.Profiles, units []string, optedOut map[string]bool) error {
	arms := make([]audienceArm, len(e.Variants))
	for i, v := range e.Variants {
		arms[i] = audienceArm{Variant: v.Key, File: filepath.Join(c.Out, c.Key+"-"+v.Key+".csv")}
	}
	left := map[string]int{}
	var exposures strings.Builder
	u := experiments.Unit{Now: a.Now()}
	for _, id := range units {
		row := profileRow{profiles: profiles}
		if profiles != nil {
			row.row, row.found = profiles.Row(a.Config.Shop().Pseudonym(id))
		}
		u.ID, u.Server, u.OptedOut = id, row, optedOut[a.Config.Shop().Pseudonym(id)]
		x := snapshot.Assign(&u, c.Key)
		if !x.Enrolled || x.Reason == experiments.ReasonForced {
			left[x.Reason]++
			continue
		}
		i := slices.IndexFunc(arms, func(arm audienceArm) bool { return arm.Variant == x.Variant })
		arms[i].units = append(arms[i].units, id)
		version := ""
		if profiles != nil {
			version = profiles.Version
		}
		if err := writeExposure(&exposures, id, x, version, u.Now); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	for i := range arms {
		var text strings.Builder
		w := csv.NewWriter(&text)
		w.Write([]string{"unit_id", "variant"})
		for _, id := range arms[i].units {
			w.Write([]string{id, arms[i].Variant})
		}
		w.Flush()
		if err := writeWhole(arms[i].File, text.String()); err != nil {
			return err
		}
		arms[i].Units = len(arms[i].units)
	}
	file := filepath.Join(c.Out, c.Key+"-exposures.ndjson")
	if err := writeWhole(file, exposures.String()); err != nil {
		return err
	}
	if a.JSON {
		return writeDocument(a.Out, map[string]any{"experiment": c.Key, "units": len(units), "arms": arms, "left_out": left, "exposures": file})
	}
	for _, arm := range arms {
		fmt.Fprintf(a.Out, "%s: %d units in %s\n", arm.Variant, arm.Units, arm.File)
	}
	reasons := make([]string, 0, len(left))
	for reason := range left {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(a.Out, "left out, %s: %d units\n", reason, left[reason])
	}
	_, err := fmt.Fprintf(a.Out, "after sending: perennial import events %s\n", file)
	return err
}

// writeExposure writes the exposure event of one unit; its id depends on unit, experiment and allocation alone, so that a second import changes nothing.
func writeExposure(w *strings.Builder, id string, x experiments.Assignment, scoreVersion string, at time.Time) error {
	sum := sha256.Sum256([]byte(fmt.Sprintf("exposure\x00%s\x00%d\x00%s", x.Experiment, x.AllocationRevision, id)))
	raw, err := experiments.Marshal(map[string]any{"event_id": hex.EncodeToString(sum[:16]), "user_id": id, "event": "Experiment Viewed", "ts": at.UTC().Format(time.RFC3339Nano),
		"properties": map[string]any{"experiment": x.Experiment, "variant": x.Variant, "allocation_revision": x.AllocationRevision, "p_assign": x.PAssign, "policy": "list", "score_version": scoreVersion}})
	if err != nil {
		return err
	}
	w.Write(raw)
	w.WriteByte('\n')
	return nil
}

// writeWhole replaces a file at once: nobody finds half a list.
func writeWhole(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	if _, err = f.WriteString(text); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// profileRow looks attributes up in one row of the newest snapshot.
type profileRow struct {
	profiles *features.Profiles
	row      int32
	found    bool
}

// Attribute returns a score or feature; a unit without a row has none.
func (p profileRow) Attribute(name string) experiments.Value {
	if !p.found {
		return experiments.Value{}
	}
	number, text, isText, null, ok := p.profiles.At(p.row, name)
	switch {
	case !ok || null:
		return experiments.Value{}
	case isText:
		return experiments.Value{Kind: experiments.Text_, Text: text}
	}
	return experiments.Value{Kind: experiments.Number, Num: number}
}

// newestProfiles loads the newest published scores, or nil when nobody is scored yet.
func (a *App) newestProfiles(ctx context.Context) (*features.Profiles, error) {
	l, err := a.openLake(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	run, ok, err := l.FindRun(ctx, "scores", 0, "")
	if err != nil || !ok {
		return nil, err
	}
	engine, err := a.openEngine(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	scores, err := engine.ReadTable(ctx, filepath.Join(run.Dir, "scores.parquet"))
	if err != nil {
		return nil, fmt.Errorf("scores %s: %w", run.Version, err)
	}
	feats, err := engine.ReadTable(ctx, filepath.Join(run.Dir, "features.parquet"))
	if err != nil {
		return nil, fmt.Errorf("scores %s: %w", run.Version, err)
	}
	traits, err := l.Traits(ctx)
	if err != nil {
		return nil, err
	}
	return features.NewProfiles(run.Version, scores, feats, traits), nil
}

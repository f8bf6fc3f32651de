package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"perennial/features"
	"perennial/features/lake"
	"perennial/features/warehouse"
)

// change is one user whose band or stage is another one than in the run before: an event for whoever acts on it.
type change struct {
	Type         string `json:"type"` // score.band.changed, score.stage.changed
	User         string `json:"user_id"`
	AsOf         string `json:"as_of"`
	Before       string `json:"before"`
	After        string `json:"after"`
	ScoreVersion string `json:"score_version"`
}

// changePage is a page of the feed; Next is where the following page begins, "" at the end.
type changePage struct {
	Changes []change `json:"changes"`
	Next    string   `json:"next_cursor,omitempty"`
}

type changesCmd struct {
	Since  string `placeholder:"D" help:"Changes of runs after this date. Default: of the newest run alone."`
	Limit  int    `default:"1000" help:"At most so many, of the oldest first."`
	Cursor string `help:"Where the page before ended."`
}

// Help shows examples.
func (changesCmd) Help() string {
	return "One JSON line a change, oldest first: a feed for marketing automation. With --json, one document with its next_cursor.\n\nExamples:\n  perennial changes\n  perennial changes --since 2011-09-01 --limit 100000"
}

// Run prints the feed as NDJSON, or one page as a document.
func (c changesCmd) Run(ctx context.Context, a *App) error {
	return a.withLake(ctx, func(l *lake.Lake) error {
		e, err := a.openEngine(ctx, 0)
		if err != nil {
			return err
		}
		defer e.Close()
		page, err := changes(ctx, l, e, c.Since, c.Cursor, c.Limit)
		var invalid *features.InvalidError
		if errors.As(err, &invalid) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		out := json.NewEncoder(a.Out)
		if a.JSON {
			return out.Encode(page)
		}
		for _, v := range page.Changes {
			if err := out.Encode(v); err != nil {
				return err
			}
		}
		return nil
	})
}

// changes reads the feed: the newest run of every date after since, oldest first, each run's changes by user.
func changes(ctx context.Context, l *lake.Lake, e *warehouse.Engine, since, cursor string, limit int) (changePage, error) {
	page := changePage{Changes: []change{}}
	runs, err := l.Runs(ctx, "scores")
	if err != nil || len(runs) == 0 {
		return page, err
	}
	if since != "" {
		if _, err := features.ParseDay(since); err != nil {
			return page, &features.InvalidError{Field: "since", Reason: fmt.Sprintf("%q is not a date", since)}
		}
	}
	runs = slices.CompactFunc(runs, func(a, b lake.Run) bool { return a.AsOf == b.AsOf }) // newest first within a date
	slices.Reverse(runs)
	if since == "" && cursor == "" {
		runs = runs[len(runs)-1:]
	}
	at, offset := "", 0
	if cursor != "" {
		var text string
		var ok bool
		if at, text, ok = strings.Cut(cursor, ":"); ok {
			offset, err = strconv.Atoi(text)
		}
		if !ok || err != nil || offset < 0 {
			return page, &features.InvalidError{Field: "cursor", Reason: "is not one of ours"}
		}
	}
	for _, run := range runs {
		switch {
		case since != "" && run.AsOf.String() <= since, at != "" && run.AsOf.String() < at:
			continue
		}
		skip := 0
		if run.AsOf.String() == at {
			skip = offset
		}
		all, err := changesOf(ctx, e, run)
		if err != nil {
			return page, err
		}
		for i := skip; i < len(all); i++ {
			if len(page.Changes) == limit {
				page.Next = run.AsOf.String() + ":" + strconv.Itoa(i)
				return page, nil
			}
			page.Changes = append(page.Changes, all[i])
		}
	}
	return page, nil
}

// changesOf reads the changes of one run, by user; the first run, and one of an older program, has none.
func changesOf(ctx context.Context, e *warehouse.Engine, run lake.Run) ([]change, error) {
	path := filepath.Join(run.Dir, "changes.parquet")
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	t, err := e.ReadTable(ctx, path)
	if err != nil {
		return nil, err
	}
	field, before, after := t.Column("field"), t.Column("before"), t.Column("after")
	if field == nil || before == nil || after == nil {
		return nil, nil
	}
	all := make([]change, len(t.Users))
	for i, user := range t.Users {
		all[i] = change{"score." + field.Texts[i] + ".changed", user, run.AsOf.String(), before.Texts[i], after.Texts[i], run.Version}
	}
	return all, nil
}

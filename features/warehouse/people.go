package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// Rows keep the id that they were received under. What is computed per user folds the ids of one person into the user that they were linked to, by the
// links known before the cut: a row that was anonymous then is anonymous in every build of that cut for ever.

// everKnown is the cut under which `fold` holds the links that are not of one of a query's cuts.
const everKnown = -1

// foldDefs is the relation fold: who an id was at the cuts of [from_cut, to_cut).
const foldDefs = "from_cut INTEGER, to_cut INTEGER, alias VARCHAR, root VARCHAR, root_bucket INTEGER"

// foldAt is the condition on a row of fold that it holds at a cut.
func foldAt(f, cut string) string {
	return fmt.Sprintf("%[1]s.from_cut <= %[2]s AND %[1]s.to_cut > %[2]s", f, cut)
}

// eachAlias gives the rows of fold under everKnown.
func eachAlias(people *features.People) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		for _, alias := range people.Aliases() {
			root := people.Root(alias)
			if err := row(int32(everKnown), int32(everKnown+1), alias, root, lake.UserBucket(root)); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachEra gives the rows of fold for some cuts: a row for every time in which an id was one user. Users whom others are folded into have rows of themselves.
func eachEra(links []features.Link, shop features.Shop, cuts []features.Day) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		type era struct {
			root string
			from features.Day
		}
		people, now := features.NewPeople(nil, time.Time{}), map[string]era{}
		put := func(alias string, e era, to features.Day) error {
			return row(int32(e.from), int32(to), alias, e.root, lake.UserBucket(e.root))
		}
		next := features.SortLinks(links)
		for _, cut := range slices.Sorted(slices.Values(cuts)) {
			before, learned := shop.Midnight(cut), false
			for ; len(next) > 0 && next[0].KnownAt.Before(before); next = next[1:] {
				learned = people.Add(next[0]) || learned
			}
			if !learned {
				continue
			}
			for _, alias := range people.Aliases() {
				root := people.Root(alias)
				for _, id := range []string{alias, root} {
					was := now[id]
					if was.root == root {
						continue
					}
					if was.root != "" {
						if err := put(id, was, cut); err != nil {
							return err
						}
					}
					now[id] = era{root, cut}
				}
			}
		}
		for alias, e := range now {
			if err := put(alias, e, math.MaxInt32); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachFold gives the rows of fold for the cuts of a query, and under everKnown for outcomes, which may be learned later.
func eachFold(links []features.Link, shop features.Shop, cuts []features.Day) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		if err := eachAlias(features.NewPeople(links, time.Time{}))(row); err != nil {
			return err
		}
		return eachEra(links, shop, cuts)(row)
	}
}

// foldCuts makes fold for the cuts of a query. It reports whether there is anything to fold.
func foldCuts(ctx context.Context, r runner, links []features.Link, shop features.Shop, cuts []features.Day) (bool, error) {
	if len(links) == 0 {
		return false, nil
	}
	return true, r.load(ctx, "fold", foldDefs, eachFold(links, shop, cuts))
}

// eventNames are the columns of an event.
var eventNames = func() (names []string) {
	for _, def := range strings.Split(eventColumns, ",") {
		names = append(names, strings.Fields(def)[0])
	}
	return names
}()

// foldedColumns is the select list of a relation whose ids are folded by a joined f.
func foldedColumns(relation string, names []string) string {
	columns := make([]string, len(names))
	for i, name := range names {
		switch name {
		case "user_id":
			columns[i] = "coalesce(f.root, " + relation + ".user_id) AS user_id"
		case "parts":
			columns[i] = "CASE WHEN f.alias IS NULL THEN " + relation + ".parts ELSE 2 END AS parts" // another id of hers may have the same day
		case "user_bucket":
			columns[i] = "coalesce(f.root_bucket, " + relation + ".user_bucket) AS user_bucket"
		default:
			columns[i] = relation + "." + name
		}
	}
	return strings.Join(columns, ", ")
}

// folded is a relation of the query whose ids are folded as they were known at a cut, in the place of its name. join brings several cuts.
func (q *query) folded(relation, join, cut string) string {
	names := eventNames
	switch relation {
	case "tiles", linkedTiles:
		names = []string{"user_bucket", "user_id", "biz_day", "known_day", "parts"}
		for _, t := range q.p.tiles {
			names = append(names, t.name)
		}
	case "tile_values", linkedValues:
		names = []string{"user_bucket", "user_id", "biz_day", "known_day", "slot", "value", "n"}
	}
	columns := foldedColumns("r", names)
	if join != "" {
		columns += ", cut.cut_date, cut.cut_day, cut.cut_us"
	}
	return fmt.Sprintf("(SELECT %s FROM %s r%s LEFT JOIN fold f ON f.alias = r.user_id AND %s) folded", columns, relation, join, foldAt("f", cut))
}

// people is reader with the ids folded by the links known before an instant; the zero time takes all.
func (e *Engine) people(ctx context.Context, snap *lake.Snapshot, before time.Time) (runner, error) {
	if len(snap.Links) == 0 || len(snap.Segments) == 0 {
		return e.reader(ctx, snap)
	}
	if e.c != nil {
		r, err := e.c.readAs(ctx, snap, features.NewPeople(snap.Links, before))
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	s, err := e.readPeople(ctx, snap, before)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// readPeople is read with the ids folded by the links known before an instant; the zero time takes all.
func (e *Engine) readPeople(ctx context.Context, snap *lake.Snapshot, before time.Time) (*session, error) {
	if len(snap.Links) == 0 {
		return e.read(ctx, snap)
	}
	return e.readAs(ctx, snap, features.NewPeople(snap.Links, before))
}

// linksName is the file of a directory of tiles that holds the links of its snapshot.
const linksName = "links.json"

// linksDigest identifies a set of links; it is "" without any.
func linksDigest(links []features.Link) string {
	if len(links) == 0 {
		return ""
	}
	h := sha256.New()
	for _, l := range links {
		fmt.Fprintln(h, l.Alias, l.User, l.KnownAt.UnixMicro())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func writeLinks(dir string, links []features.Link) error {
	if len(links) == 0 {
		return nil
	}
	raw, err := json.Marshal(links)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, linksName), raw, 0o644)
}

func readLinks(dir string) (links []features.Link, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, linksName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return links, json.Unmarshal(raw, &links)
}

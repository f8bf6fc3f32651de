package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// Rows keep the id that they were received under. What is computed per user folds the ids of one person into the user that they were linked to, by the
// links known before the cut: a row that was anonymous then is anonymous in every build of that cut for ever.

// everKnown is the cut under which `fold` holds the links that are not of one of a query's cuts.
const everKnown = -1

// foldDefs is the relation fold: for every cut who an id was then.
const foldDefs = "fold_cut INTEGER, alias VARCHAR, root VARCHAR, root_bucket INTEGER"

// eachAlias gives the rows of fold.
func eachAlias(people map[int]*features.People) func(row func(...driver.Value) error) error {
	return func(row func(...driver.Value) error) error {
		for cut, p := range people {
			for _, alias := range p.Aliases() {
				root := p.Root(alias)
				if err := row(int32(cut), alias, root, lake.UserBucket(root)); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// foldCuts makes fold for the cuts of a query, and under everKnown for outcomes, which may be learned later. It reports whether there is anything to fold.
func foldCuts(ctx context.Context, r runner, links []features.Link, shop features.Shop, cuts []features.Day) (bool, error) {
	if len(links) == 0 {
		return false, nil
	}
	people := map[int]*features.People{everKnown: features.NewPeople(links, time.Time{})}
	for _, c := range cuts {
		people[int(c)] = features.NewPeople(links, shop.Midnight(c))
	}
	return true, r.load(ctx, "fold", foldDefs, eachAlias(people))
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
	case "tiles":
		names = []string{"user_bucket", "user_id", "biz_day", "known_day"}
		for _, t := range q.p.tiles {
			names = append(names, t.name)
		}
	case "tile_values":
		names = []string{"user_bucket", "user_id", "biz_day", "known_day", "slot", "value", "n"}
	}
	columns := foldedColumns("r", names)
	if join != "" {
		columns += ", cut.cut_date, cut.cut_day, cut.cut_us"
	}
	return fmt.Sprintf("(SELECT %s FROM %s r%s LEFT JOIN fold f ON f.alias = r.user_id AND f.fold_cut = %s) folded", columns, relation, join, cut)
}

// people is reader with the ids folded by the links known before an instant; the zero time takes all.
func (e *Engine) people(ctx context.Context, snap *lake.Snapshot, before time.Time) (runner, error) {
	if len(snap.Links) == 0 || len(snap.Segments) == 0 {
		return e.reader(ctx, snap)
	}
	people := features.NewPeople(snap.Links, before)
	if e.c != nil {
		r, err := e.c.readAs(ctx, snap, people)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	s, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.bind(ctx, snap, people); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
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

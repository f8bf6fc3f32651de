package warehouse

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// footer is what the Parquet footer of a segment says.
type footer struct {
	path    string
	rows    int64
	columns map[string]*columnFooter
	groups  []rowGroup
}

type columnFooter struct {
	nulls    int64 // −1: not known
	min, max string
	bounded  bool  // min and max are known
	bytes    int64 // of the largest row group, as it is read
	total    int64 // of all
}

// rowGroup is a row group by its least and its last user.
type rowGroup struct {
	least, last string
	rows        int64
}

// allNull tells that a column has nothing but NULLs.
func (f *footer) allNull(column string) bool {
	c := f.columns[column]
	return c != nil && c.nulls == f.rows
}

// upTo tells that no timestamp of a column is after an instant, nor NULL.
func (f *footer) upTo(column string, t time.Time) bool {
	c := f.columns[column]
	if c == nil || c.nulls != 0 || !c.bounded {
		return false
	}
	last, err := time.Parse("2006-01-02 15:04:05.999999", c.max)
	return err == nil && !last.After(t)
}

// before tells that all timestamps of a column are before an instant.
func (f *footer) before(column string, t time.Time) bool {
	c := f.columns[column]
	if c == nil || !c.bounded {
		return false
	}
	last, err := time.Parse("2006-01-02 15:04:05.999999", c.max)
	return err == nil && last.Before(t)
}

// onlyDay is the day that all rows have, if they have one.
func (f *footer) onlyDay() (features.Day, bool) {
	c := f.columns["biz_day"]
	if c == nil || c.nulls != 0 || !c.bounded || c.min != c.max {
		return 0, false
	}
	d, err := features.ParseDay(c.min)
	return d, err == nil
}

// footerColumns are the columns whose footers are asked for.
var footerColumns = func() []string {
	list := []string{"user_id", "event", "ts", "available_at", "biz_day"}
	for _, c := range nullable {
		list = append(list, c[0])
	}
	return list
}()

// footers reads the footers of segments.
func (s *session) footers(ctx context.Context, segments []lake.Segment) ([]*footer, error) {
	at, paths := map[string]*footer{}, make([]string, len(segments))
	list := make([]*footer, len(segments))
	for i, g := range segments {
		paths[i] = g.Path
		list[i] = &footer{path: g.Path, columns: map[string]*columnFooter{}}
		at[g.Path] = list[i]
	}
	mark := len(s.sql)
	err := s.each(ctx, `SELECT file_name, path_in_schema, row_group_num_rows, stats_min_value, stats_max_value, stats_null_count, total_uncompressed_size
 FROM parquet_metadata([`+texts(paths)+`]) WHERE path_in_schema IN (`+texts(footerColumns)+`) ORDER BY file_name, row_group_id`, func(v []driver.Value) error {
		f := at[v[0].(string)]
		if f == nil {
			return fmt.Errorf("a footer of %s, which was not asked for", v[0])
		}
		name, rows := v[1].(string), v[2].(int64)
		low, known := v[3].(string)
		high, bounded := v[4].(string)
		known = known && bounded
		nulls, counted := v[5].(int64)
		c := f.columns[name]
		if c == nil {
			c = &columnFooter{bounded: true}
			f.columns[name] = c
		}
		if bytes, ok := v[6].(int64); ok {
			c.bytes = max(c.bytes, bytes)
			c.total += bytes
		}
		switch {
		case !counted || c.nulls < 0:
			c.nulls = -1
		default:
			c.nulls += nulls
		}
		if empty := counted && nulls == rows; !empty {
			c.bounded = c.bounded && known
			if c.min == "" && c.max == "" {
				c.min, c.max = low, high
			}
			c.min, c.max = min(c.min, low), max(c.max, high)
		}
		if name == "user_id" {
			f.rows += rows
			f.groups = append(f.groups, rowGroup{low, high, rows})
		}
		return nil
	})
	s.sql = s.sql[:mark]
	return list, err
}

// small tells that the properties of all events, which a dictionary holds, take less to hand over than those of exposures and contacts to pick.
func small(files []*footer) bool {
	return !slices.ContainsFunc(files, func(f *footer) bool {
		c := f.columns["properties"]
		return c == nil || c.total > 4*f.rows
	})
}

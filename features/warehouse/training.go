package warehouse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// LabelWindow is the future that a training build looks at: [cut + GapDays, cut + GapDays + horizon). It is a part of schema.json.
type LabelWindow struct {
	GapDays      int `json:"gap_days"`      // between the cut and the window: the time that preparing a campaign takes
	HorizonDays  int `json:"horizon_days"`  // length of the window
	MaturityDays int `json:"maturity_days"` // complete days that must lie after the window before it is used
	// Rhythm, where it is above 0, gives every user with three orders or more a window of her own: Rhythm × her mean time between orders, not
	// below 30 days and not above 180. Others have HorizonDays.
	Rhythm float64 `json:"rhythm,omitempty"`
}

// The bounds of a personal horizon, and how many orders make a rhythm.
const (
	shortestPersonal = 30
	longestPersonal  = 180
	rhythmOrders     = 3
)

// longest is the longest window that a user may have.
func (w *LabelWindow) longest() int {
	if w.Rhythm > 0 {
		return max(w.HorizonDays, longestPersonal)
	}
	return w.HorizonDays
}

// check refuses a window that means nothing.
func (w *LabelWindow) check() error {
	for field, days := range map[string]int{"gap": w.GapDays, "maturity": w.MaturityDays} {
		if days < 0 || days > 3650 {
			return &features.InvalidError{Field: field, Reason: fmt.Sprintf("%d is not within 0d..3650d", days)}
		}
	}
	switch {
	case w.HorizonDays < 1 || w.HorizonDays > 3650:
		return &features.InvalidError{Field: "horizon", Reason: fmt.Sprintf("%d is not within 1d..3650d", w.HorizonDays)}
	case w.Rhythm < 0 || w.Rhythm > 100:
		return &features.InvalidError{Field: "rhythm", Reason: fmt.Sprintf("%v is not within 0..100", w.Rhythm)}
	}
	return nil
}

// mature refuses a training build of a cut whose window is not over: zeros that are only unknown would be learned as churn.
func (e *Engine) mature(ctx context.Context, snap *lake.Snapshot, b Build) error {
	if b.Labels == nil {
		return nil
	}
	if err := b.Labels.check(); err != nil {
		return err
	}
	for _, name := range []string{"orders_all", "ipt_mean"} {
		if f, ok := e.o.Catalog.Get(name); b.Labels.Rhythm > 0 && (!ok || f.Hidden) {
			return &features.InvalidError{Field: "rhythm", Reason: "a personal horizon needs the features orders_all and ipt_mean in the catalog"}
		}
	}
	complete, err := e.DataDay(ctx, snap, e.now())
	if err != nil {
		return err
	}
	days := b.Labels.GapDays + b.Labels.longest() + b.Labels.MaturityDays
	for _, c := range b.Cuts {
		if c+features.Day(days) > complete+1 {
			return &ImmatureError{AsOf: c, HorizonDays: days, DataDay: complete, MatureOn: c + features.Day(days)}
		}
	}
	return nil
}

// outcomesName is the working file of a training build: the orders and refunds of all windows, sorted by bucket, so that every range of
// buckets reads its own share.
const outcomesName = "outcomes.parquet"

// outcomes writes the working file unless it is there already.
func (e *Engine) outcomes(ctx context.Context, snap *lake.Snapshot, b Build, dir string) error {
	path := filepath.Join(dir, outcomesName)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	first := slices.Min(b.Cuts) + features.Day(b.Labels.GapDays)
	end := slices.Max(b.Cuts) + features.Day(b.Labels.GapDays+b.Labels.longest()+e.maturityDays())
	part := &lake.Snapshot{Tombstones: snap.Tombstones, Links: snap.Links}
	for _, g := range snap.Segments {
		if g.Day == 0 || g.Day >= first && g.Day < end {
			part.Segments = append(part.Segments, g)
		}
	}
	r, err := e.people(ctx, part, time.Time{})
	if err != nil {
		return err
	}
	defer r.done()
	columns := []string{"user_bucket", "user_id", "order_id", "sold", "day", "known", "value", "own", "margin"}
	if err := r.save(ctx, e.windowQuery(r.dialect(), first, end), columns, "user_bucket", path+".tmp"); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// windowQuery is the orders and refunds of some days.
func (e *Engine) windowQuery(d Dialect, first, end features.Day) string {
	return fmt.Sprintf(`SELECT user_bucket, user_id, order_id, event = 'Order Completed' AS sold, %s AS day, %s AS known, coalesce(value_micros, 0) AS value, margin_micros AS own, %s AS margin
 FROM events WHERE event IN ('Order Completed', 'Order Refunded') AND user_id <> '' AND biz_day >= %s AND biz_day < %s`,
		d.dayOf("biz_day"), d.dayOf("known_day"), e.orderMargin(d), dayLiteral(first), dayLiteral(end))
}

// labelled is the part of a training statement that sums what the users of f did in their windows. A refund counts when it names an order of the
// window and was known within the shop's refund maturity after it, as in Labels.
// Outcomes are kept under who a user is now (person), which may be another id than at the cut.
func (e *Engine) labelled(d Dialect, w *LabelWindow, where string, fold bool) string {
	horizon := w.horizon(d)
	person, join := "f.user_id", ""
	switch {
	case fold:
		person, join, where = "coalesce(p.root, f.user_id)", " LEFT JOIN fold p ON p.alias = f.user_id AND "+foldAt("p", fmt.Sprint(everKnown)), ""
	case where != "":
		where = " AND " + where
	}
	part := d.integer(d.divide("("+d.exact("o.margin")+" * r.bare)", "o.value"))
	return fmt.Sprintf(`,
h AS (SELECT cut_day, user_id, %[13]s AS person, cut_day + %[1]d AS begins, cut_day + %[1]d + %[2]s AS ends FROM f%[14]s),
o AS (SELECT h.cut_day, h.user_id, min(h.person) AS person, x.order_id, count(*) AS orders, count(x.own) AS own, %[5]s AS value, %[6]s AS margin, min(h.begins) AS begins, min(h.ends) AS ends
 FROM h JOIN outcome x ON x.user_id = h.person WHERE x.sold AND x.day >= h.begins AND x.day < h.ends%[3]s GROUP BY h.cut_day, h.user_id, x.order_id),
r AS (SELECT o.cut_day, o.user_id, o.order_id, %[5]s AS value, %[7]s AS margin, %[8]s AS bare
 FROM o JOIN outcome x ON x.user_id = o.person AND x.order_id = o.order_id WHERE NOT x.sold AND x.day >= o.begins AND x.day < o.ends + %[4]d AND x.known < o.ends + %[4]d%[3]s GROUP BY o.cut_day, o.user_id, o.order_id),
y AS (SELECT o.cut_day, o.user_id, %[9]s AS orders, %[10]s AS revenue, %[11]s AS refunds, %[12]s AS margin
 FROM o LEFT JOIN r ON r.cut_day = o.cut_day AND r.user_id = o.user_id AND r.order_id = o.order_id GROUP BY o.cut_day, o.user_id)`,
		w.GapDays, horizon, strings.ReplaceAll(where, "user_bucket", "x.user_bucket"), e.maturityDays(),
		d.integer("sum(x.value)"), d.integer("sum(x.margin)"), d.integer("sum(x.own)"), d.integer("coalesce(sum(x.value) FILTER (WHERE x.own IS NULL), 0)"),
		d.integer("sum(o.orders)"), d.integer("sum(o.value)"), d.integer("sum(coalesce(r.value, 0))"),
		d.integer("sum(o.margin - coalesce(r.margin, 0) - CASE WHEN coalesce(r.bare, 0) = 0 OR o.value = 0 THEN 0 ELSE "+part+" END)"), person, join)
}

// horizon is the length of a user's window, a column of f.
func (w *LabelWindow) horizon(d Dialect) string {
	if w.Rhythm == 0 {
		return "(" + fmt.Sprint(w.HorizonDays) + ")"
	}
	return fmt.Sprintf("(CASE WHEN orders_all >= %d THEN CAST(least(%d, greatest(%d, round(%s * ipt_mean))) AS BIGINT) ELSE %d END)",
		rhythmOrders, longestPersonal, shortestPersonal, d.number(w.Rhythm), w.HorizonDays)
}

// labelColumns and labelJoin put the labels beside the features; labelSchema says what they are.
const (
	labelColumns = ` AS label_horizon_days, coalesce(y.orders, 0) AS label_orders, CAST(coalesce(y.orders, 0) = 0 AS BIGINT) AS label_churn,
 coalesce(y.revenue, 0) / CAST(1000000 AS DOUBLE) AS label_revenue, coalesce(y.refunds, 0) / CAST(1000000 AS DOUBLE) AS label_refunds,
 coalesce(y.margin, 0) / CAST(1000000 AS DOUBLE) AS label_margin, greatest(0, coalesce(y.revenue, 0) - coalesce(y.refunds, 0)) / CAST(1000000 AS DOUBLE) AS label_ltv`
	labelJoin = ` LEFT JOIN y ON y.cut_day = f.cut_day AND y.user_id = f.user_id`
)

var labelSchema = []Column{
	{"label_horizon_days", "integer", "label", "days", features.Label{ZH: "标签窗口天数", EN: "Length of her label window"}},
	{"label_orders", "integer", "label", "orders", features.Label{ZH: "窗口内订单数", EN: "Orders in the window"}},
	{"label_churn", "integer", "label", "share", features.Label{ZH: "窗口内未下单", EN: "No order in the window"}},
	{"label_revenue", "double", "label", "money", features.Label{ZH: "窗口内消费额", EN: "Revenue in the window"}},
	{"label_refunds", "double", "label", "money", features.Label{ZH: "窗口订单的退款额", EN: "Refunds of the window's orders"}},
	{"label_margin", "double", "label", "money", features.Label{ZH: "窗口内毛利", EN: "Margin in the window"}},
	{"label_ltv", "double", "label", "money", features.Label{ZH: "窗口内净消费额", EN: "Net revenue in the window, not below zero"}},
}

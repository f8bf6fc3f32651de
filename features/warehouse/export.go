package warehouse

import (
	"bufio"
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"time"

	"perennial/features"
	"perennial/features/lake"
)

// exported are the columns of an exported event in the order of CONTRACT §3; a column that ends in _micros is written in major units
// under the name without it.
var exported = []string{"event_id", "user_id", "anonymous_id", "event", "ts", "sent_at", "received_at", "available_at",
	"value_micros", "currency", "margin_micros", "discount_micros", "platform_discount_micros", "commission_micros", "cost_micros",
	"order_id", "product_id", "category", "channel", "coupon_id", "session_id", "properties"}

// ExportEvents writes stored events as NDJSON in the form of CONTRACT §3 and §4, in the order of time and then of event id, streaming.
func (e *Engine) ExportEvents(ctx context.Context, snap *lake.Snapshot, f ExportFilter, w io.Writer) error {
	if f.From != 0 && f.To != 0 && f.From >= f.To {
		return &features.InvalidError{Field: "to", Reason: fmt.Sprintf("%s is not after from %s", f.To, f.From)}
	}
	s, err := e.read(ctx, snap)
	if err != nil {
		return fmt.Errorf("export events: %w", err)
	}
	defer s.done()
	where := []string{"TRUE"}
	if f.From != 0 {
		where = append(where, "biz_day >= "+dayLiteral(f.From))
	}
	if f.To != 0 {
		where = append(where, "biz_day < "+dayLiteral(f.To))
	}
	if f.User != "" {
		where = append(where, "user_id = "+quoteText(f.User))
	}
	out := bufio.NewWriterSize(w, 1<<18)
	var buf []byte
	err = s.each(ctx, "SELECT "+strings.Join(exported, ", ")+" FROM events WHERE "+strings.Join(where, " AND ")+" ORDER BY ts, event_id", func(v []driver.Value) error {
		buf = buf[:0]
		for i, name := range exported {
			buf = append(buf, "{,"[min(i, 1)])
			money := strings.HasSuffix(name, "_micros")
			buf = appendJSONText(buf, strings.TrimSuffix(name, "_micros"))
			buf = append(buf, ':')
			switch x := v[i].(type) {
			case nil:
				if name == "properties" {
					buf = append(buf, "{}"...)
				} else {
					buf = append(buf, "null"...)
				}
			case time.Time:
				buf = append(x.UTC().AppendFormat(append(buf, '"'), time.RFC3339Nano), '"')
			case int64:
				if money {
					buf = append(buf, features.Micros(x).String()...)
				}
			case string:
				switch {
				case name == "properties" && x == "":
					buf = append(buf, "{}"...)
				case name == "properties":
					buf = append(buf, x...)
				case x == "":
					buf = append(buf, "null"...)
				default:
					buf = appendJSONText(buf, x)
				}
			default:
				return fmt.Errorf("column %s: a %T", name, x)
			}
		}
		_, err := out.Write(append(buf, "}\n"...))
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("export events: %w", err)
	}
	return nil
}

package warehouse

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"perennial/features"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// amountFields are the money columns of an event by the name that metrics use.
var amountFields = map[string]string{"value": "value_micros", "margin": "margin_micros", "discount": "discount_micros",
	"platform_discount": "platform_discount_micros", "commission": "commission_micros", "cost": "cost_micros"}

// filterColumns are the text columns that a metric may be narrowed by.
var filterColumns = []string{"category", "channel", "product_id", "coupon_id", "currency", "session_id", "order_id"}

// passive are the events that say nothing of the user's own will: exposures, contacts and links are no activity.
var passive = []string{features.ExperimentViewed, features.MessageSent, features.PromotionViewed, features.IdentityLinked}

// check refuses a plan that could not be compiled, by field.
func (p *MetricPlan) check() error {
	bad := func(field, format string, args ...any) error {
		return &features.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.Experiment == "":
		return bad("experiment", "must not be empty")
	case p.HorizonDays <= 0 || p.HorizonDays > 3650:
		return bad("plan.horizon_days", "%d is not within 1..3650", p.HorizonDays)
	case p.RefundMaturityDays < 0:
		return bad("refund_maturity_days", "must not be negative")
	case p.AsOf.IsZero():
		return bad("as_of", "must be set")
	case len(p.Variants) == 0:
		return bad("variants", "must not be empty")
	case !slices.Contains([]string{"", "stage", "churn_decile", "ltv_decile", "channel"}, p.SegmentBy):
		return bad("segment", "%q is none of stage, churn_decile, ltv_decile, channel", p.SegmentBy)
	case p.SegmentBy != "" && p.SegmentBy != "channel" && p.Frozen == "":
		return bad("segment", "%q needs published scores; run `perennial nightly` first", p.SegmentBy)
	}
	keys := map[string]bool{}
	for i, m := range p.Metrics {
		field := fmt.Sprintf("metrics[%d]", i)
		if keys[m.Key] {
			return bad(field+".key", "%q stands twice", m.Key)
		}
		keys[m.Key] = true
		if m.Field != "" && amountFields[m.Field] == "" {
			return bad(field+".field", "%q is none of value, margin, discount, platform_discount, commission, cost", m.Field)
		}
		if m.WindowDays < 0 || m.WindowDays > 3650 || m.Day < 0 || m.Day > 3650 {
			return bad(field+".window_days", "is not within 1..3650")
		}
		for column := range m.Filter {
			if !slices.Contains(filterColumns, column) {
				return bad(field+".filter", "column %q is none of %s", column, strings.Join(filterColumns, ", "))
			}
		}
		switch m.Kind {
		case "profit", "mean", "proportion", "ratio", "retention", "novelty":
		case "quantile":
			if !(m.Quantile > 0 && m.Quantile < 1) {
				return bad(field+".quantile", "%v is not within 0..1", m.Quantile)
			}
		case "funnel":
			if len(m.Steps) < 2 {
				return bad(field+".steps", "a funnel has at least two events")
			}
		default:
			return bad(field+".kind", "%q is none of profit, mean, proportion, ratio, quantile, retention, funnel", m.Kind)
		}
	}
	for i, m := range p.Metrics {
		if m.Kind == "ratio" && !keys[m.Denominator] {
			return bad(fmt.Sprintf("metrics[%d].denominator", i), "%q is no metric of the plan", m.Denominator)
		}
	}
	if p.Cap != "" && !keys[p.Cap] {
		return bad("cap", "%q is no metric of the plan", p.Cap)
	}
	for i, c := range p.Covariates {
		if c == "pre_revenue" || c == "pre_orders" {
			continue
		}
		if p.Frozen == "" || !nameForm.MatchString(c) {
			return bad(fmt.Sprintf("covariates[%d]", i), "%q needs a published run that has it", c)
		}
	}
	return nil
}

// days is when the unit's value of a metric is final, counted from its exposure: never before the plan's horizon, so that all metrics of a
// plan speak of the same units wherever they can.
func (p *MetricPlan) days(m *Metric) int {
	switch {
	case m.Kind == "retention":
		return max(p.HorizonDays, m.Day+1)
	case m.Kind != "profit" && m.WindowDays > p.HorizonDays:
		return m.WindowDays
	}
	return p.HorizonDays
}

// window is the outcome window of a metric in days.
func (p *MetricPlan) window(m *Metric) int {
	if m.Kind == "profit" || m.WindowDays == 0 {
		return p.HorizonDays
	}
	return m.WindowDays
}

// span is a number of days in microseconds: windows are multiples of 24 hours from the exposure, not calendar days.
func span(days int) string { return fmt.Sprint(int64(days) * dayMicros) }

// texts is a list of SQL string literals.
func texts(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteText(s)
	}
	return strings.Join(quoted, ", ")
}

// stratum is the SQL of the stratum of an exposure under a revision.
func (p *MetricPlan) stratum(revision string) string {
	if p.Strata == nil {
		return "CAST('' AS VARCHAR)"
	}
	own := "concat('revision ', CAST(coalesce(" + revision + ", 0) AS VARCHAR))"
	if len(p.Strata) == 0 {
		return own
	}
	sql := "CASE " + revision
	for _, r := range slices.Sorted(maps.Keys(p.Strata)) {
		sql += fmt.Sprintf(" WHEN %d THEN %s", r, quoteText(p.Strata[r]))
	}
	return sql + " ELSE " + own + " END"
}

// scored is the SQL of the cut of the scores that an exposure was decided on.
func (p *MetricPlan) scored(d Dialect) string {
	if len(p.ScoreDays) == 0 {
		return "CAST(NULL AS DATE)"
	}
	sql := "CASE " + d.text("properties", "score_version")
	for _, v := range sortedKeys(p.ScoreDays) {
		sql += " WHEN " + quoteText(v) + " THEN " + dayLiteral(p.ScoreDays[v])
	}
	return sql + " END"
}

// unitQuery finds the first exposure of every unit: variant, stratum, time, whether a second variant was ever shown to it, and the cut of the scores
// that it was assigned on. A unit that only met variants which the experiment does not have is kept as not known. Most units met one variant under one
// revision, so whichever exposure was the first says the same; only those of the others are put in order.
func (p *MetricPlan) unitQuery(d Dialect) string {
	forced := ""
	if len(p.Forced) > 0 {
		forced = " AND user_id NOT IN (" + texts(p.Forced) + ")"
	}
	return fmt.Sprintf(`WITH seen AS (SELECT user_id, %[7]s AS t0, event_id, biz_day AS day, variant, coalesce(variant IN (%[5]s), FALSE) AS known, %[6]s AS stratum, scored
 FROM (SELECT user_id, ts, event_id, biz_day, %[8]s AS variant, TRY_CAST(%[9]s AS BIGINT) AS revision, %[10]s AS scored
  FROM events WHERE event = 'Experiment Viewed' AND user_id <> '' AND ts >= %[1]s AND ts <= %[2]s AND available_at <= %[2]s
  AND %[11]s = %[3]s%[4]s%[12]s) e),
met AS (SELECT user_id AS unit, min(t0) AS t0, min(day) AS day, min(variant) AS variant, min(stratum) AS stratum, min(scored) AS scored, min(known) AS known,
  count(*) = 1 OR coalesce(min(variant) = max(variant) AND count(variant) = count(*), FALSE) AND min(stratum) = max(stratum)
   AND (count(scored) = 0 OR count(scored) = count(*) AND min(scored) = max(scored)) AS alike
 FROM seen GROUP BY user_id),
ranked AS (SELECT user_id AS unit, t0, day, variant, stratum, known, scored,
  row_number() OVER (PARTITION BY user_id ORDER BY CASE WHEN known THEN 0 ELSE 1 END, t0, event_id) AS nth,
  coalesce(min(CASE WHEN known THEN variant END) OVER (PARTITION BY user_id) <> max(CASE WHEN known THEN variant END) OVER (PARTITION BY user_id), FALSE) AS two
 FROM seen WHERE user_id IN (SELECT unit FROM met WHERE NOT alike))
SELECT unit, t0, day, variant, stratum, FALSE AS two, known, scored FROM met WHERE alike
UNION ALL SELECT unit, t0, day, variant, stratum, two, known, scored FROM ranked WHERE nth = 1`,
		timeLiteral(p.Start), timeLiteral(p.AsOf), quoteText(p.Experiment), forced, texts(p.Variants), p.stratum("revision"), d.microsOf("ts"),
		d.text("properties", "variant"), d.text("properties", "allocation_revision"), p.scored(d), d.text("properties", "experiment"), p.between("user_id"))
}

// units narrows `met` to the units that met a variant of the experiment. Their ids are integers where the engine numbers rows.
func units(d Dialect) string {
	return "SELECT " + d.row + " AS id, unit, t0, day, variant, stratum, two, scored FROM met WHERE known"
}

// between narrows a statement to the users of the plan's range.
func (p *MetricPlan) between(column string) string {
	cond := ""
	if p.from != "" {
		cond += " AND " + column + " >= " + quoteText(p.from)
	}
	if p.to != "" {
		cond += " AND " + column + " < " + quoteText(p.to)
	}
	return cond
}

// narrowed is the condition on an event that a metric counts, apart from its name and window.
func (m *Metric) narrowed() string {
	var conditions []string
	for _, c := range slices.Sorted(maps.Keys(m.Filter)) {
		conditions = append(conditions, "coalesce("+c+", '') IN ("+texts(m.Filter[c])+")")
	}
	return conjunction(conditions...)
}

// event is the event that a metric counts.
func (m *Metric) event() string {
	if m.Event == "" {
		return features.OrderCompleted
	}
	return m.Event
}

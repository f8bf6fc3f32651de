package experiments

import (
	"encoding/json"
	"fmt"
	"math"
)

// Events that built-in metrics count.
const (
	orderCompleted = "Order Completed"
	orderRefunded  = "Order Refunded"
	messageSent    = "Message Sent"
)

// builtIn are the metrics that are there without being defined (CONTRACT §5).
var builtIn = map[string]MetricSpec{
	"profit":          {Name: Text{"利润", "profit"}, Kind: "profit", Money: true},
	"revenue":         {Name: Text{"销售额", "revenue"}, Kind: "mean", Event: orderCompleted, Field: "value", Money: true},
	"orders":          {Name: Text{"订单数", "orders"}, Kind: "mean", Event: orderCompleted},
	"order_rate":      {Name: Text{"下单率", "order rate"}, Share: true, Kind: "proportion", Event: orderCompleted, MinEvents: 1},
	"aov":             {Name: Text{"客单价", "average order value"}, Kind: "ratio", Event: orderCompleted, Field: "value", Denominator: "orders", Money: true},
	"refund_share":    {Name: Text{"退款占比", "refund share"}, Share: true, Kind: "ratio", Event: orderRefunded, Field: "value", Denominator: "revenue", Money: true, Lower: true},
	"retention_7d":    {Name: Text{"7 日留存率", "7-day retention"}, Share: true, Kind: "retention", Day: 7},
	"repurchase_rate": {Name: Text{"复购率", "repurchase rate"}, Share: true, Kind: "proportion", Event: orderCompleted, MinEvents: 2},
	// The parts of promotion cost; only for iROI.
	"_discount": {Kind: "mean", Event: orderCompleted, Field: "discount", Money: true},
	"_contact":  {Kind: "mean", Event: messageSent, Field: "cost", Money: true},
}

// SpecsOf returns the specs that an experiment needs: its primary, secondary and guardrail metrics, profit and revenue, and what ratios
// divide by. defs is the metric library. An unknown metric is an *InvalidError.
func SpecsOf(e *Experiment, defs []MetricDef) ([]MetricSpec, error) {
	library := make(map[string]MetricDef, len(defs))
	for _, d := range defs {
		library[d.Key] = d
	}
	var list []MetricSpec
	have := map[string]bool{}
	var add func(key, field string, hidden bool) error
	add = func(key, field string, hidden bool) error {
		if have[key] {
			return nil
		}
		have[key] = true
		spec, ok := builtIn[key]
		spec.Key = key
		if !ok {
			def, known := library[key]
			if !known {
				return Invalid(field, "metric %q is neither built in nor in the library", key)
			}
			var err error
			if spec, err = specOf(def); err != nil {
				return err
			}
		}
		spec.Hidden = hidden
		list = append(list, spec)
		if spec.Denominator == "" || have[spec.Denominator] {
			return nil
		}
		_, known := library[spec.Denominator]
		if _, ok := builtIn[spec.Denominator]; ok || known {
			return add(spec.Denominator, field, true)
		}
		have[spec.Denominator] = true
		list = append(list, MetricSpec{Key: spec.Denominator, Kind: "mean", Event: spec.Event, Filter: spec.Filter, WindowDays: spec.WindowDays, Hidden: true})
		return nil
	}
	if err := add(primaryOf(e), "metrics.primary", false); err != nil {
		return nil, err
	}
	for i, key := range e.Metrics.Secondary {
		if err := add(key, fmt.Sprintf("metrics.secondary[%d]", i), false); err != nil {
			return nil, err
		}
	}
	for i, g := range e.Metrics.Guardrails {
		if err := add(g.Metric, fmt.Sprintf("metrics.guardrails[%d].metric", i), false); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"profit", "revenue"} {
		if err := add(key, "metrics", true); err != nil {
			return nil, err
		}
	}
	// Denominators that were asked for in their own right are shown.
	shown := map[string]bool{primaryOf(e): true}
	for _, key := range e.Metrics.Secondary {
		shown[key] = true
	}
	for _, g := range e.Metrics.Guardrails {
		shown[g.Metric] = true
	}
	for i := range list {
		list[i].Hidden = !shown[list[i].Key]
	}
	return append(list,
		MetricSpec{Key: "_discount", Kind: "mean", Event: orderCompleted, Field: "discount", Money: true, Hidden: true},
		MetricSpec{Key: "_contact", Kind: "mean", Event: messageSent, Field: "cost", Money: true, Hidden: true},
		MetricSpec{Key: noveltyMetric, Kind: "novelty", Event: orderCompleted, Field: "value", Money: true, Hidden: true},
		MetricSpec{Key: "_discount_profit", Kind: "ratio", Event: orderCompleted, Field: "discount", Denominator: "profit", Money: true, Hidden: true},
		MetricSpec{Key: "_contact_profit", Kind: "ratio", Event: messageSent, Field: "cost", Denominator: "profit", Money: true, Hidden: true},
		MetricSpec{Key: "_discount_contact", Kind: "ratio", Event: orderCompleted, Field: "discount", Denominator: "_contact", Money: true, Hidden: true}), nil
}

// primaryOf is the primary metric; none written means profit.
func primaryOf(e *Experiment) string {
	if e.Metrics.Primary == "" {
		return "profit"
	}
	return e.Metrics.Primary
}

// noveltyMetric grows with the trend of a unit's revenue over the days of its window.
const noveltyMetric = "_novelty"

// specOf turns a library metric into a spec. A ratio divides the sum of its field by its denominator, or by the count of its events. filter is an object of
// column → value or values; a funnel's filter has "steps". cap is a number in major units.
func specOf(d MetricDef) (MetricSpec, error) {
	s := MetricSpec{Key: d.Key, Kind: d.Kind, Event: d.Event, Field: d.Field, WindowDays: d.WindowDays, Lower: d.Direction == "down", Money: d.Field != ""}
	if d.Kind == "ratio" {
		s.Denominator = d.Key + "_events"
	}
	if d.Kind == "quantile" {
		s.Quantile = 0.5
		if d.Quantile != nil {
			s.Quantile = *d.Quantile
		}
	}
	if d.Denominator != "" {
		s.Denominator = d.Denominator
	}
	if d.Name != nil {
		s.Name = *d.Name
	}
	s.Share = isShare(d.Kind)
	if d.Margin != nil {
		s.Margin = *d.Margin
	}
	s.MinEvents = d.MinEvents
	if len(d.Filter) > 0 && string(d.Filter) != "null" {
		var filter map[string]json.RawMessage
		if err := json.Unmarshal(d.Filter, &filter); err != nil {
			return s, Invalid("metrics."+d.Key+".filter", "is not an object of column and values")
		}
		for column, raw := range filter {
			var many []string
			var one string
			if json.Unmarshal(raw, &one) == nil {
				many = []string{one}
			} else if json.Unmarshal(raw, &many) != nil {
				return s, Invalid("metrics."+d.Key+".filter."+column, "is neither a text nor a list of texts")
			}
			switch {
			case column == "steps" && d.Kind == "funnel":
				s.Steps = many
			default:
				if s.Filter == nil {
					s.Filter = map[string][]string{}
				}
				s.Filter[column] = many
			}
		}
	}
	if len(d.Cap) > 0 && string(d.Cap) != "null" {
		var limit float64
		if json.Unmarshal(d.Cap, &limit) != nil || !(limit > 0 && limit < 9e12) {
			return s, Invalid("metrics."+d.Key+".cap", "is not a positive number in major units")
		}
		s.CapMicros = int64(math.Round(limit * 1e6))
		if !s.Money {
			s.CapMicros = int64(math.Round(limit))
		}
	}
	if d.Kind == "retention" {
		s.Day = max(1, d.WindowDays)
		s.WindowDays = 0
	}
	return s, nil
}

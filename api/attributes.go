package api

import (
	"perennial/experiments"
	"perennial/features"
)

// serverAttributes is what the server knows of a unit: scores and features of the newest snapshot.
type serverAttributes struct {
	p     *features.Profiles
	row   int32
	found bool
}

func (a *serverAttributes) look(p *features.Profiles, unit string) {
	*a = serverAttributes{p: p}
	if p != nil {
		a.row, a.found = p.Row(unit)
	}
}

// Attribute returns a score or feature. A unit without a row is a prospect without orders; everything else about it is missing (CONTRACT §5).
func (a *serverAttributes) Attribute(name string) experiments.Value {
	if !a.found {
		switch name {
		case "stage":
			return experiments.Value{Kind: experiments.Text_, Text: "prospect"}
		case "orders_all":
			return experiments.Value{Kind: experiments.Number}
		}
		return experiments.Value{}
	}
	number, text, isText, null, ok := a.p.At(a.row, name)
	switch {
	case !ok || null:
		return experiments.Value{}
	case isText:
		return experiments.Value{Kind: experiments.Text_, Text: text}
	}
	return experiments.Value{Kind: experiments.Number, Num: number}
}

// reserved are names that the app cannot send, whether or not the unit has a row: the scores, and every column of the default catalog.
var reserved = func() map[string]bool {
	names := map[string]bool{}
	for _, n := range []string{"churn_risk", "churn_decile", "ltv", "ltv_low", "ltv_high", "ltv_decile", "stage", "score_version",
		"orders_30d", "orders_90d", "orders_180d", "orders_365d", "orders_all", "revenue_30d", "revenue_90d", "revenue_180d", "revenue_365d", "revenue_all",
		"aov_all", "max_order_all", "recency_days", "tenure_days", "frequency", "recency", "T", "monetary", "ipt_mean", "recency_ratio", "trend_90",
		"refunds_all", "refund_share_all", "discount_share_all", "sessions_7d", "sessions_30d", "sessions_90d", "active_days_30", "inactive_days"} {
		names[n] = true
	}
	return names
}()

// add keeps a sent attribute unless the server owns its name.
func (a *sentAttributes) add(name string, v experiments.Value, own map[string]bool) {
	if v.Kind != experiments.Missing && !own[name] {
		a.list = append(a.list, sentAttribute{name, v})
	}
}

package features

// StageHistory is how many users stood in each stage at the start of each day: what was known then, not what is known now.
type StageHistory struct {
	AsOf       string     `json:"as_of" doc:"The last cut"`
	From       string     `json:"from"`
	StepDays   int        `json:"step_days"`
	Vocabulary Vocabulary `json:"vocabulary" doc:"The words in which the stages are shown"`
	Days       []StageDay `json:"days"`
}

// StageDay counts the users of one day.
type StageDay struct {
	Date   string           `json:"date"`
	Users  int64            `json:"users"`
	Stages map[Stage]int64  `json:"stages" doc:"By stage; all seven are there"`
	Phases map[string]int64 `json:"phases" doc:"By phase of the vocabulary"`
}

// Transitions is how users moved between the stages from one day to the next.
type Transitions struct {
	AsOf       string          `json:"as_of"`
	From       string          `json:"from"`
	Vocabulary Vocabulary      `json:"vocabulary"`
	Days       []TransitionDay `json:"days"`
	Sum        []Move          `json:"sum" doc:"The moves of all days together; staying is left out"`
}

// TransitionDay is the matrix of one day: the moves from a stage sum to the users that stood in it the day before, without the ids that have been linked to
// another user since.
type TransitionDay struct {
	Date    string          `json:"date"`
	Entered map[Stage]int64 `json:"entered" doc:"Users who were not known the day before, by the stage they stand in now"`
	Moves   []Move          `json:"moves" doc:"Staying included; an id that was linked to another user is no move"`
}

// Move is how many users went from one stage to another.
type Move struct {
	From  Stage `json:"from"`
	To    Stage `json:"to"`
	Users int64 `json:"users"`
}

// Retention of the users whose first day lies in [From, To): who came back on the n-th day, and who came back on it or later.
type Retention struct {
	AsOf     string           `json:"as_of"`
	From     string           `json:"from"`
	To       string           `json:"to"`
	Born     string           `json:"born" doc:"What begins a user: her first order, or the first thing she did (any)"`
	Activity string           `json:"activity" doc:"What counts as coming back: any activity, or an order"`
	Users    int64            `json:"users"`
	Points   []RetentionPoint `json:"points"`
}

// RetentionPoint is one day n after the first day. Only users who have lived that long are counted: the others are neither back nor away.
type RetentionPoint struct {
	N         int      `json:"n" doc:"Local calendar days after the first day"`
	Users     int64    `json:"users" doc:"Users whose n-th day is over"`
	Classic   int64    `json:"classic" doc:"Of them: active on day n"`
	Unbounded int64    `json:"unbounded" doc:"Of them: active on day n or later"`
	Rate      *float64 `json:"classic_rate"`
	RateLater *float64 `json:"unbounded_rate"`
	Mature    bool     `json:"mature" doc:"Everybody has lived that long"`
	Reason    string   `json:"reason,omitempty"`
}

// Cohorts are users by the period of their first day, and the share of them that was back in each later period.
type Cohorts struct {
	AsOf       string   `json:"as_of"`
	Unit       string   `json:"unit" doc:"day, week (7 days) or month (30 days): the length of a period; cohorts are local days, weeks from Monday, calendar months"`
	Definition string   `json:"definition" doc:"classic or unbounded"`
	Born       string   `json:"born"`
	Activity   string   `json:"activity"`
	Cohorts    []Cohort `json:"cohorts"`
}

// Cohort is one row of the heat map; cell k is about days [k·unit, (k+1)·unit) after each user's own first day.
type Cohort struct {
	Start string       `json:"start" doc:"First local day of the cohort"`
	Users int64        `json:"users"`
	Cells []CohortCell `json:"cells"`
}

// CohortCell counts the users of a cohort whose k-th period is over.
type CohortCell struct {
	K        int      `json:"k"`
	Users    int64    `json:"users"`
	Retained int64    `json:"retained"`
	Rate     *float64 `json:"rate"`
	Mature   bool     `json:"mature" doc:"The period is over for everybody of the cohort"`
}

// Economics are the business numbers of [From, To) as known at AsOf; shares are fractions, money is in major units, and what cannot be
// computed is null beside a reason.
type Economics struct {
	AsOf           string             `json:"as_of"`
	From           string             `json:"from"`
	To             string             `json:"to"`
	Currency       string             `json:"currency"`
	ActiveUsers    int64              `json:"active_users"`
	Payers         int64              `json:"payers"`
	Repeaters      int64              `json:"repeaters" doc:"Payers with two orders or more in the window"`
	NewCustomers   int64              `json:"new_customers"`
	Orders         int64              `json:"orders"`
	Revenue        float64            `json:"revenue"`
	Refunds        int64              `json:"refunds"`
	Refunded       float64            `json:"refunded"`
	ARPU           *float64           `json:"arpu" doc:"Revenue ÷ active users"`
	ARPPU          *float64           `json:"arppu" doc:"Revenue ÷ payers"`
	AOV            *float64           `json:"aov" doc:"Revenue ÷ orders"`
	OrdersPerPayer *float64           `json:"orders_per_payer"`
	RepurchaseRate *float64           `json:"repurchase_rate" doc:"Repeaters ÷ payers"`
	RefundRate     *float64           `json:"refund_rate" doc:"Refunds ÷ orders"`
	RefundShare    *float64           `json:"refund_share" doc:"Refunded value ÷ revenue"`
	CouponRate     *float64           `json:"coupon_rate" doc:"Orders with a coupon ÷ orders"`
	RepeatWithin   []RepeatWithin     `json:"repeat_within" doc:"Of the first-time buyers of the window who have lived so long: the share that ordered again within so many days"`
	Reactivation   Reactivation       `json:"reactivation"`
	Channels       []ChannelEconomics `json:"channels" doc:"By the channel of the first order"`
	LTVHorizonDays int                `json:"ltv_horizon_days"`
	AcquiredFrom   string             `json:"acquired_from" doc:"Channels are judged by the customers whose first order lies in [acquired_from, acquired_to): they have lived through the horizon"`
	AcquiredTo     string             `json:"acquired_to"`
}

// RepeatWithin is the share of first-time buyers who ordered again within Days days; those younger than that are left out.
type RepeatWithin struct {
	Days     int      `json:"days"`
	Users    int64    `json:"users"`
	Repeated int64    `json:"repeated"`
	Rate     *float64 `json:"rate"`
}

// Reactivation is the share of the users who were lapsed at At and ordered in the Days days after it.
type Reactivation struct {
	At     string   `json:"at"`
	Days   int      `json:"days"`
	Lapsed int64    `json:"lapsed"`
	Back   int64    `json:"back"`
	Rate   *float64 `json:"rate"`
	Reason string   `json:"reason,omitempty"`
}

// ChannelEconomics is what a channel's acquired customers cost and what they have brought since.
type ChannelEconomics struct {
	Channel      string   `json:"channel" doc:"Empty where the first order names none"`
	NewCustomers int64    `json:"new_customers"`
	MediaCost    *float64 `json:"media_cost" doc:"Imported costs of the channel in the window; null when none were imported"`
	PromoCost    float64  `json:"promo_cost" doc:"The shop's part of the discounts on first orders"`
	CAC          *float64 `json:"cac" doc:"(Media cost + promotion cost) ÷ new customers"`
	LTV          *float64 `json:"ltv" doc:"Margin per new customer within LTVDays days of the first order, after refunds and commission, as realised"`
	LTVDays      int      `json:"ltv_days" doc:"Days that every one of them has lived, at most the horizon"`
	LTVToCAC     *float64 `json:"ltv_to_cac"`
	PaybackDays  *int     `json:"payback_days" doc:"First day on which the cumulative margin per customer reaches CAC"`
	Reason       string   `json:"reason,omitempty" doc:"no_costs, no_new_customers or not_paid_back"`
}

// Ratio is a ÷ b, null where b is 0: what was not computed is no number.
func Ratio(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	r := a / b
	return &r
}

// Judge fills in CAC, LTV and payback of a channel from its sums. costs are the imported costs, nil when there are none; promo is the shop's
// part of the discounts on first orders; margins[n] is the margin that all new customers together made on the n-th day after their first order.
func (c *ChannelEconomics) Judge(costs *Micros, promo Micros, margins []Micros) {
	c.PromoCost = promo.Float64()
	if costs != nil {
		x := costs.Float64()
		c.MediaCost = &x
	}
	if c.NewCustomers == 0 {
		c.Reason = "no_new_customers"
		return
	}
	n := float64(c.NewCustomers)
	var sum Micros
	for _, m := range margins {
		sum += m
	}
	c.LTV = Ratio(sum.Float64(), n)
	if costs == nil {
		c.Reason = "no_costs"
		return
	}
	spent := *costs + promo
	c.CAC = Ratio(spent.Float64(), n)
	c.LTVToCAC = Ratio(*c.LTV, *c.CAC)
	sum = 0
	for day, m := range margins {
		if sum += m; sum >= spent {
			c.PaybackDays = &day
			return
		}
	}
	c.Reason = "not_paid_back"
}

package features

// Stage is where a user stands in her life with the shop: one per user and day, from dates and counts alone, so that no model changes it.
type Stage string

// The seven stages (DESIGN §4.5).
const (
	Prospect    Stage = "prospect"
	New         Stage = "new"
	Active      Stage = "active"
	Loyal       Stage = "loyal"
	Declining   Stage = "declining"
	Lapsed      Stage = "lapsed"
	Reactivated Stage = "reactivated"
)

// Stages are all stages in the order of a customer's life.
var Stages = []Stage{Prospect, New, Active, Loyal, Declining, Lapsed, Reactivated}

// StageRules are the thresholds of the state machine, in days and orders.
type StageRules struct {
	NewDays            int     `yaml:"new_days" json:"new_days"`                         // an order is recent up to here; default 30
	ReactivatedGapDays int     `yaml:"reactivated_gap_days" json:"reactivated_gap_days"` // a recent order after a longer silence is a return; default 180
	LapsedDays         int     `yaml:"lapsed_days" json:"lapsed_days"`                   // a longer silence is the end; default 180
	DecliningDays      int     `yaml:"declining_days" json:"declining_days"`             // a longer silence is a decline; default 90
	RhythmRatio        float64 `yaml:"rhythm_ratio" json:"rhythm_ratio"`                 // so many of her own mean gaps are a decline; default 2.5
	RhythmOrders       int     `yaml:"rhythm_orders" json:"rhythm_orders"`               // with at least so many orders; default 3
	LoyalOrders        int     `yaml:"loyal_orders" json:"loyal_orders"`                 // so many orders within 365 days; default 5
}

// DefaultStageRules returns the thresholds of DESIGN §4.5.
func DefaultStageRules() StageRules {
	return StageRules{NewDays: 30, ReactivatedGapDays: 180, LapsedDays: 180, DecliningDays: 90, RhythmRatio: 2.5, RhythmOrders: 3, LoyalOrders: 5}
}

// StageFacts are the dates and counts that a stage is made of.
type StageFacts struct {
	Orders      int // before the cut
	Orders365   int // of them within 365 days
	FirstDay    Day // day of the first order
	LastDay     Day // day of the last order
	PreviousDay Day // the last day with an order before LastDay
	HasPrevious bool
}

// Stage returns the stage as of a cut: the first rule that holds. Recency is in whole local days from the last order's day to the
// cut; her mean gap is (last day − first day) ÷ (orders − 1).
func (r StageRules) Stage(asOf Day, f StageFacts) Stage {
	if f.Orders <= 0 {
		return Prospect
	}
	recency, gap := int(asOf-f.LastDay), int(f.LastDay-f.FirstDay)
	recent := recency <= r.NewDays
	switch {
	case recent && f.HasPrevious && int(f.LastDay-f.PreviousDay) > r.ReactivatedGapDays:
		return Reactivated
	case recency > r.LapsedDays:
		return Lapsed
	case recency > r.DecliningDays,
		!recent && f.Orders >= r.RhythmOrders && float64(recency*(f.Orders-1)) > r.RhythmRatio*float64(gap),
		!recent && f.Orders == 1:
		return Declining
	case f.Orders365 >= r.LoyalOrders:
		return Loyal
	case f.Orders >= 2:
		return Active
	}
	return New
}

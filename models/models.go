// Package models fits, judges, saves and applies churn and lifetime-value models. It is pure: it sees frames of numbers, not stores.
package models

import "encoding/json"

// Target is what a model predicts.
type Target string

const (
	Churn Target = "churn" // P(no order in the horizon)
	LTV   Target = "ltv"   // expected net value of the horizon
)

// Frame is a table of features by user; Values[j][i] is feature Names[j] of Users[i], NaN where missing.
type Frame struct {
	AsOf   string // YYYY-MM-DD
	Users  []string
	Names  []string
	Values [][]float64
	Stage  []string
}

// Labelled is a frame with what happened after its cut. Y is 0/1 for churn (1 = no order) and money in major units for LTV.
type Labelled struct {
	Frame
	Y       []float64
	Weights []float64 // nil means all 1
	Treated int       // users whom Guard left out because they were treated within the window
}

// Model predicts from a frame. Implementations are immutable after Fit or Load and safe for concurrent use.
type Model interface {
	// Learner returns the learner's name: gbdt, logit, golearn-forest, recency, …
	Learner() string
	// Predict fills dst[i] for f.Users[i]: a calibrated probability for churn, money for LTV.
	Predict(f *Frame, dst []float64) error
	// Save returns the model's bytes; the same fit gives the same bytes.
	Save() ([]byte, error)
}

// Reason is one feature that moved a user's score most. Direction is "up" or "down".
type Reason struct {
	Feature   string  `json:"feature"`
	Direction string  `json:"direction"`
	Value     float64 `json:"-"`
	ZH        string  `json:"zh"`
	EN        string  `json:"en"`
}

// TrainPlan says what to fit and how to judge it.
type TrainPlan struct {
	Target      Target
	HorizonDays int
	Train       []*Labelled // one per train cut
	Test        *Labelled   // nil: no backtest (a refit)
	Learner     string      // "" = the whole line-up
	Seed        uint64
	TimeUnit    string    // BTYD
	Of          string    // ltv: revenue or margin
	Backtest    *Backtest // of a refit
	Incumbent   string    // the champion's learner: another one is chosen only when it surely ranks better on the test cut
	Manual      bool      // with an incumbent: never choose another, only say what would have been chosen
}

// Card is the model card of CONTRACT §4.
type Card struct {
	Schema      string                        `json:"schema"`
	Target      Target                        `json:"target"`
	Version     string                        `json:"version"`
	Learner     string                        `json:"learner"`
	Role        string                        `json:"role"`
	Of          string                        `json:"of,omitempty"`
	HorizonDays int                           `json:"horizon_days"`
	TrainAsOf   []string                      `json:"train_as_of"`
	TestAsOf    string                        `json:"test_as_of"`
	RowsTrain   int                           `json:"rows_train"`
	RowsTest    int                           `json:"rows_test"`
	Features    []string                      `json:"features"`
	Metrics     map[string]*float64           `json:"metrics"`
	Baselines   map[string]map[string]float64 `json:"baselines"`
	Candidates  map[string]map[string]float64 `json:"candidates"`
	Calibration []CalibrationBin              `json:"calibration"`
	Parameters  json.RawMessage               `json:"parameters"`
	Importance  []Importance                  `json:"importance,omitempty"`
	Segments    map[string]map[string]float64 `json:"segments,omitempty"`     // the judgement within stages, recency and thirds of past revenue
	Gain        []float64                     `json:"gain,omitempty"`         // share of the target held by the best 5 %, 10 %, … of the test users
	Profit      []float64                     `json:"profit,omitempty"`       // churn: what contacting them earns a user when all contacted together break even
	Contest     *Verdict                      `json:"contest,omitempty"`      // of a night: the best learner against the champion's
	Backtest    *Backtest                     `json:"backtest,omitempty"`     // of a refit: where its learner was judged
	Calibrated  *Recalibration                `json:"recalibrated,omitempty"` // of a churn refit
	Notes       []string                      `json:"notes,omitempty"`
}

// Backtest is the judgement by which the learner of a refit was chosen. The metrics are those of the judged model, not of the refit.
type Backtest struct {
	Version  string              `json:"version"`
	TestAsOf string              `json:"test_as_of"`
	Users    int                 `json:"users,omitempty"`
	Metrics  map[string]*float64 `json:"metrics"`
}

// Recalibration is what a refit changed: the line from predicted to observed log-odds (0 and 1 are perfect) on its newest cut, of the model that was
// judged there without having seen it, and of the refit, by predictions that were made without the user where its learner keeps them.
type Recalibration struct {
	AsOf   string          `json:"as_of"`
	Before CalibrationLine `json:"before"`
	After  CalibrationLine `json:"after"`
}

// CalibrationLine is a logistic recalibration; null where it is not defined.
type CalibrationLine struct {
	Intercept  *float64 `json:"intercept"`
	Slope      *float64 `json:"slope"`
	PriorShift *float64 `json:"prior_shift"` // mean predicted − mean observed
}

// CalibrationBin is one tenth of the test users by predicted risk.
type CalibrationBin struct {
	Predicted float64 `json:"predicted"`
	Observed  float64 `json:"observed"`
	N         int     `json:"n"`
}

// Importance is a feature's share of the model's work.
type Importance struct {
	Feature string  `json:"feature"`
	Share   float64 `json:"share"`
}

// Trained is the outcome of Train: the chosen model, its bytes, its card, and what its training users looked like.
type Trained struct {
	Model     Model
	Artifact  []byte
	Card      Card
	Reference Reference
}

// Interval is a predictive P10..P90.
type Interval struct{ Low, High float64 }

// Ranger is an LTV model that knows the spread of what a user will spend.
type Ranger interface {
	Range(f *Frame) ([]Interval, error)
}

// Score is one user's row of a score snapshot.
type Score struct {
	Row                  int // in the frame
	User                 string
	Stage                string
	ChurnRisk            float64 // NaN when no model
	ChurnLow, ChurnHigh  float64 // 90 % interval of the share who leave among users scored alike; NaN where nobody was judged
	ChurnDecile          int     // 0 when no model
	ChurnPercentile      float64 // share of users whose risk is no higher; NaN when no model
	ChurnStagePercentile float64 // the same within her stage
	Band                 string  // low, medium or high churn risk, by percentile; "" when no model
	LTV, LTVLow, LTVHigh float64
	LTVDecile            int
	LTVPercentile        float64
	LTVStagePercentile   float64
	Reasons              []Reason
}

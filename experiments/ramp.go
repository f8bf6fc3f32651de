package experiments

import (
	"fmt"
	"strings"
	"time"
)

// RampPlan widens an experiment by itself: every night it may take the next step while no guardrail speaks against it.
type RampPlan struct {
	Steps    []float64 `json:"steps"`               // coverage after each step, rising, such as 0.01 0.05 0.2 0.5 1
	Days     int       `json:"days,omitempty"`      // at least so many days at a step; 0 means 1
	MinUnits int64     `json:"min_units,omitempty"` // matured units that the second step waits for; 0 means 100
}

// RampState is where a ramp stands.
type RampState struct {
	Step   int       `json:"step"` // of Steps, from 0
	Since  time.Time `json:"since"`
	Status string    `json:"status"` // ramping, held, done, rolled_back
	Reason *Text     `json:"reason,omitempty"`
}

// Statuses of a ramp.
const (
	Ramping    = "ramping"
	RampHeld   = "held"
	RampDone   = "done"
	RolledBack = "rolled_back"
)

// RampMove is what a night does to a ramp: "" nothing, ramp_advance, ramp_hold or ramp_roll_back.
type RampMove struct {
	Action   string  `json:"-"`
	Coverage float64 `json:"coverage,omitempty"`
	Reason   *Text   `json:"reason,omitempty"`
}

// suspicion is the one-sided |z| beyond which a guardrail holds a ramp although harm is not proven: 5 % at a fixed look. Roll-back needs the boundary.
const suspicion = 1.6448536269514722

func (r *RampPlan) check(f *faults, coverage *float64) {
	if len(r.Steps) < 2 || len(r.Steps) > 20 {
		f.add("ramp.steps", "has %d steps, 2 to 20 are allowed", len(r.Steps))
		return
	}
	for i, s := range r.Steps {
		at := fmt.Sprintf("ramp.steps[%d]", i)
		if !(s > 0 && s <= 1) {
			f.add(at, "%v is not within 0..1: 0.05 is five per cent", s)
		} else if i > 0 && s <= r.Steps[i-1] {
			f.add(at, "%v is not above the step before it", s)
		}
	}
	if coverage != nil && *coverage != r.Steps[0] {
		f.add("coverage", "%v is not the first step of the ramp, %v: leave it out", *coverage, r.Steps[0])
	}
	if r.Days < 0 || r.Days > 90 {
		f.add("ramp.days", "%d is not within 1..90", r.Days)
	}
	if r.MinUnits < 0 {
		f.add("ramp.min_units", "%d is negative", r.MinUnits)
	}
}

// NextRamp says what tonight's results mean for a ramp. Harm beyond its boundary rolls back, doubt holds, and a step is taken when the present one has lasted
// and enough units have matured. The steps are looks of one spending, because the guardrails' boundaries are those of the whole experiment.
func (e *Experiment) NextRamp(doc *Results, now time.Time) RampMove {
	if e.Ramp == nil || e.Ramped == nil || e.Status != Running || e.Ramped.Status == RampDone || e.Ramped.Status == RolledBack {
		return RampMove{}
	}
	if doc.Decision.Code == "guardrail_harm" || doc.Decision.Action == StopLosing {
		return RampMove{Action: "ramp_roll_back", Reason: &Text{"自动放量已撤回：" + doc.Decision.Text.ZH, "The ramp was rolled back: " + doc.Decision.Text.EN}}
	}
	if why := doubts(doc); why != nil {
		if e.Ramped.Status == RampHeld && e.Ramped.Reason != nil && *e.Ramped.Reason == *why {
			return RampMove{}
		}
		return RampMove{Action: "ramp_hold", Reason: why}
	}
	days, units := max(1, e.Ramp.Days), e.Ramp.MinUnits
	if units == 0 {
		units = 100
	}
	if now.Sub(e.Ramped.Since) < time.Duration(days)*24*time.Hour || doc.Source.Matured < units {
		return RampMove{}
	}
	return RampMove{Action: "ramp_advance", Coverage: e.Ramp.Steps[e.Ramped.Step+1]}
}

// doubts is why a ramp must wait, nil when nothing speaks against a step.
func doubts(doc *Results) *Text {
	if doc.Decision.Action == CannotJudge {
		return &Text{"自动放量已暂停：" + doc.Decision.Text.ZH, "The ramp is held: " + doc.Decision.Text.EN}
	}
	var list []string
	for _, r := range doc.Results {
		if g := r.NonInferior; r.Role == RoleGuardrail && r.Segment == nil && g != nil && g.Statistic.Known() && float64(g.Statistic) < -suspicion {
			list = append(list, r.Metric)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &Text{"自动放量已暂停：护栏指标 " + strings.Join(list, "、") + " 看起来在变差。", "The ramp is held: the guardrail " + strings.Join(list, ", ") + " seems to get worse."}
}

// ramped applies a move of the night.
func (e *Experiment) ramped(action string, move RampMove, now time.Time) (*Experiment, error) {
	if e.Ramp == nil || e.Ramped == nil || e.Status != Running {
		return nil, Invalid("ramp", "there is none under way")
	}
	next := *e
	state := *e.Ramped
	state.Reason = move.Reason
	switch action {
	case "ramp_hold":
		state.Status = RampHeld
	case "ramp_roll_back":
		state.Status = RolledBack
		next.Status, next.StoppedAt = Stopped, &now
	case "ramp_advance":
		patch, err := Marshal(map[string]float64{"coverage": move.Coverage})
		if err != nil {
			return nil, err
		}
		changed, err := e.Patch(patch)
		if err != nil {
			return nil, err
		}
		next = *changed
		state.Step, state.Since, state.Status = state.Step+1, now, Ramping
		if state.Step >= len(e.Ramp.Steps)-1 {
			state.Status = RampDone
		}
	}
	next.Ramped = &state
	return &next, nil
}

package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"perennial/experiments"
)

// explainBody asks why one unit gets what it gets in one experiment.
type explainBody struct {
	UnitID     string         `json:"unit_id" required:"true" minLength:"1" maxLength:"256"`
	Experiment string         `json:"experiment" required:"true" maxLength:"128"`
	Attributes map[string]any `json:"attributes,omitempty" doc:"What the app would send"`
}

// Explanation says which step decided and shows the evidence of each.
type Explanation struct {
	UnitID     string             `json:"unit_id"`
	Experiment string             `json:"experiment"`
	Step       string             `json:"step" doc:"What decided: the reason of the assignment"`
	Text       experiments.Text   `json:"text" doc:"The same in words"`
	Assignment json.RawMessage    `json:"assignment"`
	Status     string             `json:"status"`
	OptedOut   bool               `json:"opted_out"`
	Holdouts   []explainHoldout   `json:"holdouts"`
	Layer      *explainLayer      `json:"layer"`
	Targeting  []explainRule      `json:"targeting"`
	Explored   *explainHoldout    `json:"exploration" doc:"The exploration slice, where the experiment has one: its units are split evenly"`
	Salt       string             `json:"salt"`
	Bucket     int                `json:"bucket" doc:"murmur3 of salt and unit, 0 to 99999"`
	Range      *experiments.Range `json:"range" doc:"The range of the allocation (of the exploration slice's for its units) that holds the bucket; null in a gap"`
}

type explainHoldout struct {
	Key    string `json:"key"`
	Bucket int    `json:"bucket"`
	Held   bool   `json:"held"`
}

type explainLayer struct {
	Key    string                     `json:"key"`
	Bucket int                        `json:"bucket"`
	Owned  []experiments.HoldoutRange `json:"owned" doc:"The layer's buckets that this experiment owns"`
	Inside bool                       `json:"inside"`
}

type explainRule struct {
	experiments.Constraint
	Value any  `json:"value" doc:"What the attribute is for this unit; null when it is missing"`
	Holds bool `json:"holds"`
}

// reasonWords says each reason in plain words.
var reasonWords = map[string]experiments.Text{
	experiments.ReasonForced:         {ZH: "该用户在测试名单中，直接得到指定版本，不参与分析。", EN: "The unit is on the list of testers: it gets the named variant and is left out of the analysis."},
	experiments.ReasonStopped:        {ZH: "实验已停止，所有人得到对照版本。", EN: "The experiment has stopped: everybody gets the control."},
	experiments.ReasonNotStarted:     {ZH: "实验尚未开始。", EN: "The experiment has not started."},
	experiments.ReasonOptedOut:       {ZH: "该用户拒绝个性化。", EN: "The unit has refused personalisation."},
	experiments.ReasonHoldout:        {ZH: "该用户在保留组中，不参加任何受其约束的实验。", EN: "The unit is held out of experiments, to measure them as a whole."},
	experiments.ReasonLayer:          {ZH: "在互斥层中，该用户属于另一个实验，或不属于任何实验。", EN: "In its layer the unit belongs to another experiment, or to none."},
	experiments.ReasonTargeting:      {ZH: "该用户不符合定向条件。", EN: "A targeting rule does not hold for the unit."},
	experiments.ReasonNotEnrolled:    {ZH: "该用户的桶不在已分配的区间内；扩大覆盖率后可能进入。", EN: "Nobody owns the unit's bucket yet: it may enter when the coverage is raised."},
	experiments.ReasonSplit:          {ZH: "该用户的桶落在此版本的区间内。", EN: "The unit's bucket lies in the range of this variant."},
	experiments.ReasonSticky:         {ZH: "保留该用户首次得到的版本，之后的评分变化不会收回。", EN: "The unit keeps its first answer: later scores do not take it away."},
	experiments.ReasonOfferExhausted: {ZH: "优惠未开放、已结束或已发完，不再接纳新用户。", EN: "An offer of the experiment is not open, is over or is used up: nobody new enters."},
	experiments.ReasonUnknown:        {ZH: "没有这个实验。", EN: "There is no such experiment."},
	experiments.ReasonUpstreamOff:    {ZH: "上游 Unleash 的开关已关闭。", EN: "Its kill switch on the upstream Unleash server is off."},
}

// manageExplain registers POST /v1/assignments/explain. It is a person's question: it exposes and keeps nothing.
func (s *Server) manageExplain() {
	manageOp(s, readers|client, "assignment", "POST", "/v1/assignments/explain", "explain-assignment", "Why does this unit get this?", s.explain,
		describe("Shows every step in the order of evaluation: forced, status and schedule, refusal, holdouts, layer, kept answer, targeting, bucket. Asking is no exposure."))
}

func (s *Server) explain(ctx context.Context, in *struct{ Body explainBody }) (*body[Explanation], error) {
	if fault := unitFault(in.Body.UnitID); fault != "" {
		return nil, invalid("unit_id", "%s", fault)
	}
	a, p := s.newAsk(ctx)
	if p != nil {
		return nil, p
	}
	defer a.free()
	e, ok := a.p.snap.Experiment(in.Body.Experiment)
	if !ok {
		return nil, problem(http.StatusNotFound, "no experiment %.64q", in.Body.Experiment)
	}
	sent, err := json.Marshal(in.Body.Attributes)
	if err != nil {
		return nil, err
	}
	if sent[0] == '{' {
		a.readSent(sent)
	}
	a.about(in.Body.UnitID)
	a.peek = true
	a.keys = append(a.keys, e.Key)
	a.asking = e.Key
	x := a.p.snap.Assign(&a.unit, e.Key)
	a.appendAssignment(&x)
	id := in.Body.UnitID
	if by := a.by(e.Key); by != "" {
		id = by // the id of this person that met the experiment first
	}
	out := Explanation{UnitID: in.Body.UnitID, Experiment: e.Key, Step: x.Reason, Text: reasonWords[x.Reason], Assignment: append(json.RawMessage(nil), a.out...), Status: string(e.Status),
		OptedOut: a.unit.OptedOut, Holdouts: []explainHoldout{}, Targeting: []explainRule{}, Salt: e.Salt, Bucket: experiments.Bucket(e.Salt, id)}
	for _, h := range a.p.snap.HoldoutsOf(e.Key) {
		out.Holdouts = append(out.Holdouts, explainHoldout{h.Key, experiments.Bucket(h.Salt, id), experiments.HeldOut(&h, id)})
	}
	if layer, owned, ok := a.p.snap.LayerOf(e.Key); ok {
		l := &explainLayer{Key: layer.Key, Bucket: experiments.Bucket(layer.Salt, id), Owned: owned}
		for _, r := range owned {
			l.Inside = l.Inside || r.Start <= l.Bucket && l.Bucket < r.End
		}
		out.Layer = l
	}
	own := a.p.owns()
	for _, c := range e.Targeting {
		v := a.sent.Attribute(c.Attribute)
		if own(c.Attribute) {
			v = a.server.Attribute(c.Attribute)
		}
		out.Targeting = append(out.Targeting, explainRule{c, plain(v), experiments.NewMatcher([]experiments.Constraint{c}, own).Hold(&a.unit)})
	}
	ranges := e.Allocation
	if explore := e.Exploration; explore != nil {
		out.Explored = &explainHoldout{Key: "exploration", Bucket: experiments.Bucket(experiments.ExplorationSalt, in.Body.UnitID), Held: experiments.Explores(e, in.Body.UnitID)}
		if out.Explored.Held {
			ranges = explore.Allocation
		}
	}
	for _, r := range ranges {
		if r.Start <= out.Bucket && out.Bucket < r.End {
			out.Range = &experiments.Range{Variant: r.Variant, Start: r.Start, End: r.End}
		}
	}
	return &body[Explanation]{out}, nil
}

// owns tells which attributes only the server may give.
func (p *plan) owns() func(string) bool {
	columns := map[string]bool{}
	if p.profiles != nil {
		for _, name := range p.profiles.Columns() {
			columns[name] = true
		}
	}
	return func(name string) bool { return columns[name] || experiments.IsServerAttribute(name) }
}

// plain is an attribute's value as JSON shows it.
func plain(v experiments.Value) any {
	switch v.Kind {
	case experiments.Text_:
		return string(append([]byte(nil), v.Text...))
	case experiments.Number:
		if math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
			return strconv.FormatFloat(v.Num, 'g', -1, 64)
		}
		return v.Num
	case experiments.Boolean:
		return v.Num != 0
	}
	return nil
}

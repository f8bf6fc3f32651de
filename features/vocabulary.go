package features

import (
	"fmt"
	"slices"
	"strings"
)

// Phase is one word of a vocabulary and the stages that it covers. A goal, such as referral, covers none: it is what an experiment aims at, not where
// a customer stands.
type Phase struct {
	Key    string  `json:"key"`
	Label  Label   `json:"label"`
	Stages []Stage `json:"stages"`
	Goal   bool    `json:"goal,omitempty"`
}

// Vocabulary is one way of speaking of the seven stages; every stage belongs to exactly one of its phases.
type Vocabulary struct {
	Key    string  `json:"key"`
	Label  Label   `json:"label"`
	Phases []Phase `json:"phases"`
}

// Vocabularies are the presets: the seven stages themselves, then the six sets of words that marketing teams use.
var Vocabularies = []Vocabulary{
	{"stages", Label{"七个阶段", "The seven stages"}, []Phase{
		{Key: "prospect", Label: Label{"潜在", "Prospect"}, Stages: []Stage{Prospect}},
		{Key: "new", Label: Label{"新客", "New"}, Stages: []Stage{New}},
		{Key: "active", Label: Label{"活跃", "Active"}, Stages: []Stage{Active}},
		{Key: "loyal", Label: Label{"忠实", "Loyal"}, Stages: []Stage{Loyal}},
		{Key: "reactivated", Label: Label{"回流", "Reactivated"}, Stages: []Stage{Reactivated}},
		{Key: "declining", Label: Label{"衰退", "Declining"}, Stages: []Stage{Declining}},
		{Key: "lapsed", Label: Label{"流失", "Lapsed"}, Stages: []Stage{Lapsed}}}},
	{"growth", Label{"增长六阶段", "Growth in six steps"}, []Phase{
		{Key: "acquisition", Label: Label{"获取", "Acquisition"}, Stages: []Stage{Prospect, New}},
		{Key: "activation", Label: Label{"激活", "Activation"}, Stages: []Stage{Active, Reactivated}},
		{Key: "retention", Label: Label{"留存", "Retention"}, Stages: []Stage{Declining, Lapsed}},
		{Key: "monetisation", Label: Label{"变现", "Monetisation"}, Goal: true},
		{Key: "referral", Label: Label{"推荐", "Referral"}, Goal: true},
		{Key: "long_term_value", Label: Label{"长期价值挖掘", "Long-term value"}, Stages: []Stage{Loyal}}}},
	{"phases", Label{"生命周期四阶段", "Four phases of life"}, []Phase{
		{Key: "introduction", Label: Label{"引入期", "Introduction"}, Stages: []Stage{Prospect, New}},
		{Key: "maturity", Label: Label{"成熟期", "Maturity"}, Stages: []Stage{Active, Loyal, Reactivated}},
		{Key: "decline", Label: Label{"衰退期", "Decline"}, Stages: []Stage{Declining}},
		{Key: "churned", Label: Label{"流失期", "Churned"}, Stages: []Stage{Lapsed}}}},
	{"operations", Label{"运营五阶段", "Five jobs of operations"}, []Phase{
		{Key: "acquisition", Label: Label{"获取", "Acquisition"}, Stages: []Stage{Prospect, New}},
		{Key: "activation", Label: Label{"激活", "Activation"}, Stages: []Stage{Active}},
		{Key: "retention", Label: Label{"留存", "Retention"}, Stages: []Stage{Declining}},
		{Key: "win_back", Label: Label{"回流", "Win-back"}, Stages: []Stage{Lapsed, Reactivated}},
		{Key: "value", Label: Label{"价值提升", "Value lift"}, Stages: []Stage{Loyal}}}},
	{"viral", Label{"裂变五阶段", "Five steps to referral"}, []Phase{
		{Key: "acquisition", Label: Label{"获客", "Acquisition"}, Stages: []Stage{Prospect, New}},
		{Key: "activation", Label: Label{"激活", "Activation"}, Stages: []Stage{Active, Reactivated}},
		{Key: "retention", Label: Label{"留存", "Retention"}, Stages: []Stage{Declining, Lapsed}},
		{Key: "conversion", Label: Label{"转化", "Conversion"}, Stages: []Stage{Loyal}},
		{Key: "referral", Label: Label{"裂变", "Viral referral"}, Goal: true}}},
	{"purchase", Label{"购买五阶段", "Five kinds of customers"}, []Phase{
		{Key: "prospect", Label: Label{"潜在用户", "Prospect"}, Stages: []Stage{Prospect}},
		{Key: "first_purchase", Label: Label{"首次购买", "First purchase"}, Stages: []Stage{New}},
		{Key: "active", Label: Label{"活跃用户", "Active"}, Stages: []Stage{Active, Reactivated, Declining}},
		{Key: "loyal", Label: Label{"忠实用户", "Loyal"}, Stages: []Stage{Loyal}},
		{Key: "lapsed", Label: Label{"流失用户", "Lapsed"}, Stages: []Stage{Lapsed}}}},
	{"funnel", Label{"全链路漏斗", "The full funnel"}, []Phase{
		{Key: "awareness", Label: Label{"认知", "Awareness"}, Goal: true},
		{Key: "acquisition", Label: Label{"获取", "Acquisition"}, Stages: []Stage{Prospect, New}},
		{Key: "activation", Label: Label{"激活", "Activation"}, Stages: []Stage{Active, Reactivated}},
		{Key: "retention", Label: Label{"留存", "Retention"}, Stages: []Stage{Declining, Lapsed}},
		{Key: "referral_revenue", Label: Label{"推荐与变现", "Referral and revenue"}, Stages: []Stage{Loyal}}}},
}

// VocabularyOf returns a preset by its key; "" is the seven stages.
func VocabularyOf(key string) (Vocabulary, error) {
	if key == "" {
		return Vocabularies[0], nil
	}
	keys := make([]string, len(Vocabularies))
	for i, v := range Vocabularies {
		if keys[i] = v.Key; v.Key == key {
			return v, nil
		}
	}
	return Vocabulary{}, &InvalidError{"vocabulary", fmt.Sprintf("%q is none of %s", clip(key), strings.Join(keys, ", "))}
}

// Of returns the phase that a stage belongs to.
func (v Vocabulary) Of(s Stage) Phase {
	i := slices.IndexFunc(v.Phases, func(p Phase) bool { return slices.Contains(p.Stages, s) })
	return v.Phases[i]
}

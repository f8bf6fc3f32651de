package features_test

import (
	"testing"

	"perennial/features"
)

// TestVocabulariesCoverEveryStage: a vocabulary says each of the seven stages with exactly one word, in both languages, and a goal covers none.
func TestVocabulariesCoverEveryStage(t *testing.T) {
	if len(features.Vocabularies) != 7 {
		t.Errorf("%d vocabularies, want the stages and six presets", len(features.Vocabularies))
	}
	for _, v := range features.Vocabularies {
		times := map[features.Stage]int{}
		for _, p := range v.Phases {
			if p.Label.ZH == "" || p.Label.EN == "" || p.Goal != (len(p.Stages) == 0) {
				t.Errorf("%s: phase %+v lacks a name, or is a goal with stages", v.Key, p)
			}
			for _, s := range p.Stages {
				times[s]++
			}
		}
		for _, s := range features.Stages {
			if times[s] != 1 {
				t.Errorf("%s: stage %s belongs to %d phases, want 1", v.Key, s, times[s])
				continue
			}
			if p := v.Of(s); p.Key == "" {
				t.Errorf("%s: no phase of %s", v.Key, s)
			}
		}
		if got, err := features.VocabularyOf(v.Key); err != nil || got.Key != v.Key {
			t.Errorf("VocabularyOf(%s) = %s, %v", v.Key, got.Key, err)
		}
	}
	if _, err := features.VocabularyOf("pirate"); err == nil {
		t.Error("VocabularyOf(pirate) is no error")
	}
}

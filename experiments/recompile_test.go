package experiments

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// TestRecompileEqualsCompile: after any change, what is taken from the earlier snapshot is what compiling gives.
func TestRecompileEqualsCompile(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	quota := int64(5)
	made := 0
	experiment := func(i int) *Experiment {
		made++
		d := Definition{Key: fmt.Sprintf("e%d", i), Salt: fmt.Sprintf("s%d", i), Control: "a", Variants: []Variant{{Key: "a", Weight: 1}, {Key: "b", Weight: 1 + float64(made%3)}}}
		switch random.IntN(5) {
		case 0:
			d.Targeting = []Constraint{{Attribute: "mail", Operator: "REGEX", Values: []string{"^a+$"}}}
		case 1:
			d.Variants[1].Offer = "few"
		case 2:
			d.Targeting = []Constraint{{Attribute: "favourite", Operator: "IN", Values: []string{"tea"}}}
		case 3:
			if i > 0 {
				d.Prerequisite = &Prerequisite{Experiment: fmt.Sprintf("e%d", random.IntN(i)), Variants: []string{"b"}}
			}
		}
		e, err := NewExperiment(d, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	offer := func() *Offer {
		return &Offer{Key: "few", Kind: "gift", Quota: &quota, Eligibility: []Constraint{{Attribute: "orders_all", Operator: "NUM_EQ", Values: []string{fmt.Sprint(random.IntN(3))}}}}
	}
	source := Source{Offers: []*Offer{offer()}}
	for i := range 30 {
		source.Experiments = append(source.Experiments, experiment(i))
	}
	before, err := Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for version := range 200 {
		source.Version = int64(version)
		switch random.IntN(6) {
		case 0:
			source.Offers = []*Offer{offer()}
		case 1:
			l := Layer{Key: "l", Salt: fmt.Sprint("l", random.IntN(3))}
			l.Allocation, _ = TakeFree(nil, fmt.Sprintf("e%d", random.IntN(30)), 1+random.IntN(Buckets))
			source.Layers = []Layer{l}
		case 2:
			source.Holdouts = []Holdout{{Key: "h", Salt: "h", Allocation: HoldoutShare(random.Float64() / 5), Experiments: []string{"e1", "e2"}}}
		case 3:
			source.ServerAttributes = [][]string{nil, {"favourite"}}[random.IntN(2)]
		default:
			list := append([]*Experiment(nil), source.Experiments...)
			i := random.IntN(len(list))
			list[i] = experiment(i)
			source.Experiments = list
		}
		want, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Recompile(before, source)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("change %d: the recompiled snapshot is another", version)
		}
		for key, c := range got.byKey {
			if len(c.arms) > 0 && &c.arms[0] == &before.byKey[key].arms[0] {
				kept++
			}
		}
		before = got
	}
	if kept < 2000 {
		t.Errorf("only %d of 6000 experiments were taken over", kept)
	}
}

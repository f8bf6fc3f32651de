// Package world reads the world that run.py made on the server and computes what each unit must get in it, without asking the server.
package world

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

type (
	// Experiment is one experiment as the server has it, its ranges and gates written out.
	Experiment struct {
		Key, Salt, Control, Kind, Status string
		Values                           map[string]any // variant → value
		Ranges                           []Range
		Targeting                        []Constraint
		Layer                            *Gate
		Holdouts                         []Gate
		Local                            bool // SDKs that evaluate locally have it
	}
	// Range gives buckets to a variant, or to a gate.
	Range struct {
		Variant    string
		Start, End int
	}
	// Constraint is one condition.
	Constraint struct {
		Attribute, Operator string
		Values              []string
	}
	// Gate is a set of buckets under its own salt.
	Gate struct {
		Salt   string
		Ranges []Range
	}
	// Unit is who is asked about.
	Unit struct {
		ID         string
		Attributes map[string]any
	}
	// World is everything.
	World struct {
		Experiments []Experiment
		Units       []Unit
	}
)

// Load reads the file that the variable WORLD names.
func Load() (w World) {
	raw, err := os.ReadFile(os.Getenv("WORLD"))
	if err == nil {
		err = json.Unmarshal(raw, &w)
	}
	if err != nil {
		panic(err)
	}
	return w
}

// Bucket is murmur3_x86_32 (Austin Appleby) of "salt:unit", seed 86028157, modulo 100000.
func Bucket(salt, unit string) int {
	data := []byte(salt + ":" + unit)
	mixed := func(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }
	h, rest := uint32(86028157), data
	for ; len(rest) >= 4; rest = rest[4:] {
		h = bits.RotateLeft32(h^mixed(binary.LittleEndian.Uint32(rest)), 13)*5 + 0xe6546b64
	}
	if len(rest) > 0 {
		h ^= mixed(binary.LittleEndian.Uint32(append(slices.Clone(rest), 0, 0, 0, 0)))
	}
	h ^= uint32(len(data))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return int((h ^ h>>16) % 100000)
}

func (g *Gate) holds(unit string) bool {
	b := Bucket(g.Salt, unit)
	return slices.ContainsFunc(g.Ranges, func(r Range) bool { return r.Start <= b && b < r.End })
}

// Expected is the variant of a unit, or "".
func (e *Experiment) Expected(u Unit) string {
	if e.Status != "running" || e.Layer != nil && !e.Layer.holds(u.ID) || slices.ContainsFunc(e.Holdouts, func(g Gate) bool { return g.holds(u.ID) }) {
		return ""
	}
	for _, c := range e.Targeting {
		if v, ok := u.Attributes[c.Attribute]; !ok || !c.holds(v) {
			return ""
		}
	}
	b := Bucket(e.Salt, u.ID)
	for _, r := range e.Ranges {
		if r.Start <= b && b < r.End {
			return r.Variant
		}
	}
	return ""
}

func (c *Constraint) holds(value any) bool {
	switch text := Text(value); c.Operator {
	case "IN":
		return slices.Contains(c.Values, text)
	case "NUM_GTE":
		return number(text) >= number(c.Values[0])
	case "SEMVER_GT":
		x, y := strings.Split(text, "."), strings.Split(c.Values[0], ".")
		for i := range x {
			if a, b := number(x[i]), number(y[i]); a != b {
				return a > b
			}
		}
		return false
	}
	panic(c.Operator)
}

func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// Text is an attribute as Unleash's properties carry it.
func Text(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// Same tells whether a value is a variant's.
func (e *Experiment) Same(variant string, value any) bool {
	return reflect.DeepEqual(value, e.Values[variant])
}

// IsVariant tells whether a name is one of the experiment's variants.
func (e *Experiment) IsVariant(name string) bool { _, ok := e.Values[name]; return ok }

// Tally counts what was compared.
type Tally struct {
	right int
	wrong []string
}

// Check counts one comparison.
func (t *Tally) Check(what string, ok bool, got any) {
	if ok {
		t.right++
		return
	}
	t.wrong = append(t.wrong, fmt.Sprintf("%s: %+v", what, got))
}

// Finish prints the counts and ends the program.
func (t *Tally) Finish() {
	for _, line := range t.wrong[:min(5, len(t.wrong))] {
		fmt.Println("WRONG", line)
	}
	fmt.Printf("%d right, %d wrong\n", t.right, len(t.wrong))
	if len(t.wrong) > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

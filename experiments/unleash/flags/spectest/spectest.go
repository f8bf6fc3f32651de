// Package spectest reads Unleash's client-specification 6.1.0, which `make test` fetches from npm: 22 files, 279 tests. Our evaluator, our /api/frontend
// and the SDKs that we compare with all run the same cases.
package spectest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Count is how many tests the specification has.
const Count = 279

// File is one file of the specification: a state, as /api/client/features would answer it (or delta events that lead to it), and its tests.
type File struct {
	Name  string
	State json.RawMessage
	Cases []Case
}

// Case asks one flag with one context. Of a test of isEnabled only Enabled is given.
type Case struct {
	Description string
	Context     json.RawMessage
	Flag        string
	Enabled     bool
	Variant     *Variant // nil for a test of isEnabled
}

// Variant is what a test of variants wants.
type Variant struct {
	Name           string   `json:"name"`
	Payload        *Payload `json:"payload,omitempty"`
	Enabled        bool     `json:"enabled"`
	FeatureEnabled bool     `json:"feature_enabled"`
}

// Payload is text of a type.
type Payload struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Load reads the specification below testdata, the path of experiments/unleash/testdata as the calling test sees it.
func Load(t testing.TB, testdata string) []File {
	t.Helper()
	folder := filepath.Join(testdata, "client-specification", "specifications")
	var index []string
	if err := read(filepath.Join(folder, "index.json"), &index); err != nil {
		t.Fatalf("Unleash's client-specification is not there: run experiments/unleash/testdata/fetch.sh (`make test` does): %v", err)
	}
	files, tests := make([]File, len(index)), 0
	for i, name := range index {
		var raw struct {
			State json.RawMessage `json:"state"`
			Tests []struct {
				Description string          `json:"description"`
				Context     json.RawMessage `json:"context"`
				Toggle      string          `json:"toggleName"`
				Want        bool            `json:"expectedResult"`
			} `json:"tests"`
			Variants []struct {
				Description string          `json:"description"`
				Context     json.RawMessage `json:"context"`
				Toggle      string          `json:"toggleName"`
				Want        Variant         `json:"expectedResult"`
			} `json:"variantTests"`
		}
		if err := read(filepath.Join(folder, name), &raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := File{Name: name, State: raw.State}
		for _, c := range raw.Tests {
			f.Cases = append(f.Cases, Case{c.Description, c.Context, c.Toggle, c.Want, nil})
		}
		for _, c := range raw.Variants {
			f.Cases = append(f.Cases, Case{c.Description, c.Context, c.Toggle, c.Want.FeatureEnabled, &c.Want})
		}
		files[i], tests = f, tests+len(f.Cases)
	}
	if tests != Count {
		t.Fatalf("%d tests were read, the specification has %d", tests, Count)
	}
	return files
}

func read(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// Equal tells whether two variants are the same.
func Equal(a, b Variant) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

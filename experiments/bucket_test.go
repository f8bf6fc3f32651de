package experiments_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/twmb/murmur3"

	"perennial/experiments"
)

// The vectors are ours (bucketing v1): 214 salts and units with edge cases, UTF-8 and 200 random ones, checked against mmh3 5.1 for Python.
func TestBucketVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/bucketing-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Salt, ID          string
		Hash32            uint32 `json:"hash32"`
		Bucket            int    `json:"bucket100k"`
		UnleashRollout100 uint32 `json:"unleashRollout100"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 200 {
		t.Fatalf("%d vectors, want at least 200", len(vectors))
	}
	for _, v := range vectors {
		if got := experiments.Bucket(v.Salt, v.ID); got != v.Bucket {
			t.Errorf("Bucket(%q, %q) = %d, want %d", v.Salt, v.ID, got, v.Bucket)
		}
		if got := experiments.Hash32(v.Salt, v.ID, 86028157); got != v.Hash32 {
			t.Errorf("Hash32(%q, %q, 86028157) = %d, want %d", v.Salt, v.ID, got, v.Hash32)
		}
		if got := experiments.Hash32(v.Salt, v.ID, 0)%100 + 1; got != v.UnleashRollout100 {
			t.Errorf("rollout of (%q, %q) = %d, want %d", v.Salt, v.ID, got, v.UnleashRollout100)
		}
	}
}

// Every length of salt and unit, so that each phase of the four-byte words meets each tail.
func TestBucketEqualsLibrary(t *testing.T) {
	text := strings.Repeat("a1-é用户😀_", 8)
	for i := range 24 {
		for j := range 40 {
			salt, unit := text[:i], text[i:i+j]
			if got, want := experiments.Hash32(salt, unit, 86028157), murmur3.SeedStringSum32(86028157, salt+":"+unit); got != want {
				t.Fatalf("Hash32(%q, %q) = %d, want %d", salt, unit, got, want)
			}
		}
	}
}

func FuzzBucket(f *testing.F) {
	f.Add("coupon-2026-11", "user-1")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, salt, unit string) {
		want := murmur3.SeedStringSum32(86028157, salt+":"+unit)
		if got := experiments.Hash32(salt, unit, 86028157); got != want {
			t.Fatalf("Hash32(%q, %q) = %d, want %d", salt, unit, got, want)
		}
		if got := experiments.Bucket(salt, unit); got != int(want%experiments.Buckets) {
			t.Fatalf("Bucket(%q, %q) = %d, want %d", salt, unit, got, want%experiments.Buckets)
		}
	})
}

func BenchmarkBucket(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		experiments.Bucket("coupon-2026-11", "0192f1c2-7a3b-7c1d-9e5f-112233445566")
	}
}

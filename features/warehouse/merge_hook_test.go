package warehouse

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// MergeAlways makes an engine merge small snapshots too, over at most so many streams a range (0: a segment each) and at least so many ranges.
func (e *Engine) MergeAlways(streams, ranges int) {
	e.pace = pace{always: true, streams: streams, ranges: ranges}
	if streams == 0 {
		e.pace.streams = 1 << 30
	}
}

// share is a product and a quotient of any width, cut towards zero.
func TestShareEqualsBig(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	number := func() int64 { return (r.Int64() >> (1 + r.IntN(62))) * int64(1-2*r.IntN(2)) }
	refused := 0
	for range 100_000 {
		a, b, c := number(), number(), number()
		if c == 0 {
			continue
		}
		want := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		want.Quo(want, big.NewInt(c))
		got, ok := share(a, b, c)
		if ok != (want.CmpAbs(big.NewInt(safe)) <= 0) || ok && want.Cmp(big.NewInt(got)) != 0 {
			t.Fatalf("share(%d, %d, %d) = %d, %v, want %s", a, b, c, got, ok, want)
		}
		if !ok {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no quotient was too large")
	}
}

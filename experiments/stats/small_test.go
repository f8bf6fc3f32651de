package stats

import (
	"math"
	"testing"
)

// Newcombe 1998, Statistics in Medicine 17, table II, method 9 (Miettinen–Nurminen), examples (a) and (b).
func TestMiettinenNurminenPublished(t *testing.T) {
	for _, c := range []struct {
		x1, n1, x2, n2 int64
		low, high      float64
	}{{56, 70, 48, 80, 0.0528, 0.3382}, {9, 10, 3, 10, 0.1700, 0.8406}} {
		_, low, high := MiettinenNurminen(c.x1, c.n1, c.x2, c.n2, 0.05)
		if math.Abs(low-c.low) > 6e-5 || math.Abs(high-c.high) > 6e-5 {
			t.Errorf("%d/%d − %d/%d = [%.4f, %.4f], want [%.4f, %.4f]", c.x1, c.n1, c.x2, c.n2, low, high, c.low, c.high)
		}
	}
}

// p < α exactly when the interval leaves 0 out; swapping arms mirrors everything; nothing is lost with no successes.
func TestMiettinenNurminenLaws(t *testing.T) {
	for x1 := int64(0); x1 <= 12; x1 += 3 {
		for x2 := int64(0); x2 <= 15; x2 += 5 {
			p, low, high := MiettinenNurminen(x1, 12, x2, 15, 0.05)
			q, mlow, mhigh := MiettinenNurminen(x2, 15, x1, 12, 0.05)
			if math.Abs(p-q) > 1e-9 || math.Abs(low+mhigh) > 1e-9 || math.Abs(high+mlow) > 1e-9 {
				t.Errorf("%d/12, %d/15: not mirrored: %v [%v %v], %v [%v %v]", x1, x2, p, low, high, q, mlow, mhigh)
			}
			if (p < 0.05) != (low > 0 || high < 0) {
				t.Errorf("%d/12, %d/15: p %v but interval [%v, %v]", x1, x2, p, low, high)
			}
		}
	}
	if p, _, _ := MiettinenNurminen(1, 0, 1, 2, 0.05); !math.IsNaN(p) {
		t.Errorf("no units: p = %v, want NaN", p)
	}
}

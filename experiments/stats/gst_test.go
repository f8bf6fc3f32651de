package stats

import (
	"math"
	"testing"
)

// R package ldbounds 2.0 (five equal looks, two-sided 0.05, O'Brien–Fleming spending) and Spotify confidence's solver (α·t²), printed in
// reference statistics: ldbounds and `sequential_bound_solver.py`.
func TestPublishedBoundaries(t *testing.T) {
	for name, c := range map[string]struct {
		spending  Spending
		tolerance float64
		want      []float64
	}{
		"ldbounds O'Brien-Fleming": {OBrienFleming, 1.5e-4, []float64{4.8769, 3.3569, 2.6803, 2.2898, 2.0310}},          // integrated by the trapezoid rule: its look 2 is 3.3569, exact is 3.35701
		"Spotify alpha t^2":        {Quadratic, 6e-5, []float64{3.0902323, 2.7140784, 2.4727371, 2.2798109, 2.1139679}}, // on a grid: look 2 by adaptive quadrature (scipy) is 2.7141116
		"scipy alpha t^2":          {Quadratic, 5e-8, []float64{3.0902323, 2.7141116}},
	} {
		d := EqualLooks(5, 5)
		d.Spending = c.spending
		got, err := d.Boundaries(0.05)
		if err != nil {
			t.Fatal(err)
		}
		for k := range c.want {
			if math.Abs(got[k]-c.want[k]) > c.tolerance {
				t.Errorf("%s look %d = %.7f, want %.7f", name, k+1, got[k], c.want[k])
			}
		}
	}
}

// Power and inflation by integration: reference statistics §6.5.
func TestPowerByIntegration(t *testing.T) {
	fixed := NormalUpper(0.025) + NormalUpper(0.2)
	for _, c := range []struct {
		looks            int
		power, inflation float64
	}{{60, 0.7792, 1.0532}, {14, 0.7834, 1.0424}, {5, 0.7903, 0}} {
		d := EqualLooks(c.looks, c.looks)
		bounds, err := d.Boundaries(0.05)
		if err != nil {
			t.Fatal(err)
		}
		any, _, _ := d.Crossing(bounds, 0)
		if math.Abs(any-0.05) > 1e-8 {
			t.Errorf("%d looks: false alarms %.10f, want 0.05", c.looks, any)
		}
		_, power, _ := d.Crossing(bounds, fixed)
		if math.Abs(power-c.power) > 1e-4 {
			t.Errorf("%d looks: power of a fixed 80%% design %.5f, want %.4f", c.looks, power, c.power)
		}
		if c.inflation == 0 {
			continue
		}
		if got := Inflation(c.looks, 0.05, 0.8, OBrienFleming); math.Abs(got-c.inflation) > 1e-4 {
			t.Errorf("%d looks: inflation %.5f, want %.4f", c.looks, got, c.inflation)
		}
	}
}

// p < α ⇔ |z| > boundary, p falls with |z|, and a boundary at another level has that level as its p.
func TestRepeatedP(t *testing.T) {
	d := EqualLooks(14, 9)
	l, err := NewLook(d, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	b := l.Boundary()
	if got := l.P(b); math.Abs(got-0.05) > 1e-12 {
		t.Errorf("P(boundary) = %v, want 0.05", got)
	}
	if l.P(b-1e-6) <= 0.05 || l.P(b+1e-6) >= 0.05 {
		t.Errorf("P does not cross 0.05 at the boundary %v: %v, %v", b, l.P(b-1e-6), l.P(b+1e-6))
	}
	last := 1.1
	for z := 0.0; z < 30; z += 0.37 {
		p := l.P(z)
		if p > last || p < 0 || p > 1 {
			t.Fatalf("P(%v) = %v after %v", z, p, last)
		}
		last = p
	}
	for _, level := range []float64{0.9, 0.4, 0.1, 0.01, 1e-4, 1e-9, 1e-30} {
		bounds, err := d.Boundaries(level)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "P(boundary at level)", l.P(bounds[len(bounds)-1]), level, 2e-3)
	}
}

// The final look alone is the fixed test, and a look without new information cannot be crossed.
func TestDegenerateDesigns(t *testing.T) {
	one, err := EqualLooks(1, 1).Boundaries(0.05)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "one look", one[0], 1.959963984540054, 1e-12)
	stuck, err := Design{Fraction: []float64{0.5, 0.5, 1}, Information: []float64{2, 2, 4}}.Boundaries(0.05)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := EqualLooks(2, 2).Boundaries(0.05)
	if stuck[1] != never || math.Abs(stuck[2]-two[1]) > 1e-9 {
		t.Errorf("a look without information: %v, want [%v %v %v]", stuck, two[0], never, two[1])
	}
	for name, d := range map[string]Design{"empty": {}, "falling": {Fraction: []float64{0.5, 0.4}, Information: []float64{1, 2}}, "falling information": {Fraction: []float64{0.5, 0.6}, Information: []float64{2, 1}}} {
		if _, err := d.Boundaries(0.05); err != ErrDesign {
			t.Errorf("%s design: error %v, want ErrDesign", name, err)
		}
	}
}

// With one look the median-unbiased reading is the statistic; after earlier looks it is smaller, and a result as extreme is then as likely as not.
func TestMedianUnbiased(t *testing.T) {
	one := EqualLooks(1, 1)
	near(t, "one look", one.MedianUnbiased([]float64{1.96}, 2.5), 2.5, 1e-9)
	d := EqualLooks(5, 4)
	bounds, err := d.Boundaries(0.05)
	if err != nil {
		t.Fatal(err)
	}
	z := bounds[3] + 0.1
	got := d.MedianUnbiased(bounds, z)
	if got >= z || got < 0.7*z {
		t.Errorf("MedianUnbiased = %v for z = %v", got, z)
	}
	if got != d.MedianUnbiased(bounds, -z) {
		t.Error("the sign of z matters")
	}
}

func BenchmarkBoundaries60(b *testing.B) {
	d := EqualLooks(60, 60)
	for b.Loop() {
		if _, err := d.Boundaries(0.05); err != nil {
			b.Fatal(err)
		}
	}
}

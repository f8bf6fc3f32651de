package stats

import (
	"math"
	"testing"
)

// near fails unless |got − want| <= rel·|want|.
func near(t *testing.T, what string, got, want, rel float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > rel*math.Abs(want) {
		t.Errorf("%s = %.17g, want %.17g (relative tolerance %g)", what, got, want, rel)
	}
}

// The tail values are exact results of 60-digit arithmetic (mpmath 1.3: erfc, betainc, gammainc, and quadrature of Student's density).
func TestTails(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"NormalSF(0.5)", NormalSF(0.5), 0.308537538725986896},
		{"NormalSF(3)", NormalSF(3), 0.00134989803163009453},
		{"NormalSF(10)", NormalSF(10), 7.61985302416052607e-24},
		{"NormalSF(37)", NormalSF(37), 5.72557122252457682e-300},
		{"StudentTwoSided(1,1)", StudentTwoSided(1, 1), 0.5},
		{"StudentTwoSided(3,2.5)", StudentTwoSided(3, 2.5), 0.0725760955490318439},
		{"StudentTwoSided(22.620231,40593.6882)", StudentTwoSided(22.620231, 40593.6882), 1.36444407370577865e-112},
		{"StudentTwoSided(5.3,42000)", StudentTwoSided(5.3, 42000), 1.16385971822609398e-7},
		{"StudentTwoSided(36.9,1000000.0)", StudentTwoSided(36.9, 1000000.0), 7.34762377235447068e-298},
		{"StudentTwoSided(0.3,7)", StudentTwoSided(0.3, 7), 0.772890050402134274},
		{"StudentTwoSided(1.96,10000000.0)", StudentTwoSided(1.96, 10000000.0), 0.0499958180253141881},
		{"StudentTwoSided(60,100)", StudentTwoSided(60, 100), 3.13761431914138914e-80},
		{"StudentTwoSided(1e+150,2)", StudentTwoSided(1e+150, 2), 1.0e-300},
		{"StudentTwoSided(4.5,31.7)", StudentTwoSided(4.5, 31.7), 0.0000858987092876761721},
		{"Chi2SF(0.2025,2)", Chi2SF(0.2025, 2), 0.903707077873196056},
		{"Chi2SF(6.9024,1)", Chi2SF(6.9024, 1), 0.00860801164187029523},
		{"Chi2SF(1380,1)", Chi2SF(1380, 1), 4.66115845567391288e-302},
		{"Chi2SF(30,3)", Chi2SF(30, 3), 1.38005703129325473e-6},
		{"Chi2SF(1500,12)", Chi2SF(1500, 12), 3.78586159034070477e-314},
		{"Chi2SF(100,100)", Chi2SF(100, 100), 0.481191684527956718},
		{"Chi2SF(1,7)", Chi2SF(1, 7), 0.994828536516515482},
		{"BetaInc(2,3,0.4)", BetaInc(2, 3, 0.4), 0.5248},
		{"BetaInc(300,700,0.2)", BetaInc(300, 700, 0.2), 3.32824087260649419e-14},
	} {
		near(t, c.name, c.got, c.want, 2e-12)
	}
}

func TestQuantilesInvertTails(t *testing.T) {
	for _, p := range []float64{1e-300, 1e-100, 1e-20, 1e-9, 1e-4, 0.005, 0.025, 0.2, 0.4999, 0.7, 0.99} {
		near(t, "NormalSF(NormalUpper(p))", NormalSF(NormalUpper(p)), p, 1e-11)
		for _, df := range []float64{1, 1.3, 2, 2.7, 5, 30, 444.4, 4e4, 1e7, math.Inf(1)} {
			near(t, "StudentSF(StudentUpper(p))", StudentSF(StudentUpper(p, df), df), p, 1e-10)
		}
	}
}

func TestDistributionEdges(t *testing.T) {
	for name, v := range map[string]float64{"StudentSF df 0": StudentSF(1, 0), "StudentUpper p > 1": StudentUpper(1.1, 3), "NormalUpper p < 0": NormalUpper(-0.1),
		"GammaUpper a 0": GammaUpper(0, 1), "BetaInc a 0": BetaInc(0, 1, 0.5)} {
		if !math.IsNaN(v) {
			t.Errorf("%s = %v, want NaN", name, v)
		}
	}
	if got := StudentTwoSided(math.Inf(1), 3); got != 0 {
		t.Errorf("StudentTwoSided(Inf) = %v, want 0", got)
	}
	if got := StudentTwoSided(0, 3); got != 1 {
		t.Errorf("StudentTwoSided(0) = %v, want 1", got)
	}
	if got := Chi2SF(0, 3); got != 1 {
		t.Errorf("Chi2SF(0) = %v, want 1", got)
	}
	if got := BetaInc(2, 3, 1); got != 1 {
		t.Errorf("BetaInc(1) = %v, want 1", got)
	}
}

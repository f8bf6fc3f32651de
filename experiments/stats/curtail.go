package stats

import "math"

// ConditionalPower returns the chance that a group-sequential test which has Z = z at a share t of its information ends above the final boundary, if
// the effect is such that the test as planned has E[Z] = drift at its end (Lan & Wittes 1988, Biometrics 44, the B-value). Looks between are left
// out, which understates it a little. At t >= 1 it is 0 or 1. It binds nobody: no alpha is spent or won by it.
func ConditionalPower(z, t, boundary, drift float64) float64 {
	if t >= 1 {
		if z > boundary {
			return 1
		}
		return 0
	}
	return NormalSF((boundary - z*math.Sqrt(math.Max(0, t)) - drift*(1-t)) / math.Sqrt(1-t))
}

package models

import "math"

// trust is how far a model's probabilities may be believed: by how many users it was judged, and how far its calibration was off out of time.
type trust struct {
	Rows  int     `json:"rows,omitempty"`  // users whose outcome was predicted without having been seen; 0 when nobody's was
	Shift float64 `json:"shift,omitempty"` // expected calibration error on the judging cut
}

// trustZ is the normal bound of a 90 % interval.
const trustZ = 1.6449

// interval holds the share who leave among users with a score of p, at 90 %: the sampling error of a tenth of the judged users (Wilson 1927),
// widened by the calibration error that was measured out of time. It is NaN where nobody was judged.
func (t trust) interval(p float64) (low, high float64) {
	if t.Rows < 10 {
		return math.NaN(), math.NaN()
	}
	n, z := float64(t.Rows)/10, trustZ
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n)) / (1 + z*z/n)
	return max(0, min(p, middle-half-t.Shift)), min(1, max(p, middle+half+t.Shift))
}

// trustOf returns what a registered model carries.
func trustOf(m Model) trust {
	if c, ok := m.(*checked); ok && c.rows.Trust != nil {
		return *c.rows.Trust
	}
	return trust{}
}

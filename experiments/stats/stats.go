// Package stats turns mergeable summaries into effects, intervals and p-values. It is arithmetic only: no I/O, no clock, no global
// random numbers. Nothing that could not be computed is returned as a number: functions return one of the errors below.
package stats

import "errors"

// Errors that callers turn into reason codes.
var (
	// ErrTooFew is returned when an arm has fewer than two units.
	ErrTooFew = errors.New("too few units")
	// ErrZeroVariance is returned when neither arm varies.
	ErrZeroVariance = errors.New("nothing varies")
	// ErrControlNearZero is returned when a relative effect has no bounded interval, because the control's mean is not clearly away from zero.
	ErrControlNearZero = errors.New("the control's mean is near zero")
	// ErrMissingVariance is returned when a summary has no sum of squares, or sums that no data can have.
	ErrMissingVariance = errors.New("the variance is missing")
	// ErrSingular is returned when covariates are linearly dependent.
	ErrSingular = errors.New("the covariates are linearly dependent")
	// ErrStopped is returned by a simulation that its caller ended.
	ErrStopped = errors.New("stopped")
	// ErrDesign is returned for a design or a plan that cannot be computed.
	ErrDesign = errors.New("the design cannot be computed")
)

// Summary is n, mean and the centred second moment of one metric in one variant. Merge is exact up to rounding and associative.
type Summary struct {
	N    int64
	Mean float64
	M2   float64 // Σ(x − mean)²
}

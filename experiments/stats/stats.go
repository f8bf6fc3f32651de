// Package stats turns mergeable summaries into effects, intervals and p-values. It is arithmetic only.
package stats

// Summary is n, mean and the centred second moment of one metric in one variant. Merge is exact up to rounding and associative.
type Summary struct {
	N    int64
	Mean float64
	M2   float64
}

package experiments

import "strconv"

// SaltsCollide tells whether two salts give the same buckets: equal salts do, and so does one pair in 2³² whose hash states meet. Then one experiment's
// split would repeat the other's. It compares 64 probe units of different lengths.
func SaltsCollide(a, b string) bool {
	if a == b {
		return true
	}
	p, q := newPrefix(a), newPrefix(b)
	for i := range 64 {
		unit := "probe-" + strconv.Itoa(i*i*i)
		if p.sum(unit) != q.sum(unit) {
			return false
		}
	}
	return true
}

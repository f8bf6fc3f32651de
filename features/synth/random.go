// Package synth makes shops and promotions with known truth: seeded customers who buy, drift away, use coupons, send goods back, and arrive late
// in the log. Tests, benchmarks, simulations and the demo share it. Everything it makes is a function of the seed and the user.
package synth

import (
	"encoding/hex"
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// stream is a user's own source of randomness: the same seed, name and user give the same draws, whatever other users do.
func stream(seed uint64, name, user string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write([]byte(user))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// identity makes the ids of one user's events: version 8 UUIDs that are a function of seed, purpose, user and number.
type identity struct {
	base, n uint64
}

func newIdentity(seed uint64, name, user string) *identity {
	h := fnv.New64a()
	h.Write([]byte(name))
	h.Write([]byte{1})
	h.Write([]byte(user))
	return &identity{base: mix(seed) ^ h.Sum64()}
}

// next returns the next id.
func (id *identity) next() string {
	id.n++
	var raw [16]byte
	high, low := mix(id.base+id.n), mix(id.base^mix(id.n))
	for i := range 8 {
		raw[i], raw[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
	}
	raw[6], raw[8] = raw[6]&0x0f|0x80, raw[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:8], raw[:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:], raw[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64 bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// gamma draws from a gamma distribution with this shape and scale 1 (Marsaglia and Tsang 2000, ACM TOMS 26). A shape of 0 or less gives 0.
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape <= 0 {
		return 0
	}
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - rng.Float64(); math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// poisson draws a Poisson count by its exponential gaps; the mean must be modest (hundreds), which it is for one customer.
func poisson(rng *rand.Rand, mean float64) int {
	n := 0
	for t := rng.ExpFloat64(); t < mean; t += rng.ExpFloat64() {
		n++
	}
	return n
}

// lognormal draws a value with this mean and this sigma of its logarithm.
func lognormal(rng *rand.Rand, mean, sigma float64) float64 {
	return mean * math.Exp(sigma*rng.NormFloat64()-sigma*sigma/2)
}

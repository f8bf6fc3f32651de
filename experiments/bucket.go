package experiments

import "math/bits"

// hashSeed is the seed of Unleash's variant hash, so that an Unleash SDK that evaluates locally and this package agree on every ASCII unit.
const hashSeed = 86028157

// ExplorationSalt is the salt of the exploration slice; no experiment, layer or holdout may have it.
const ExplorationSalt = "perennial.exploration"

// prefix is the state of murmur3_x86_32 (Austin Appleby, SMHasher) after salt + ":": a salt is hashed once, each unit only adds its own bytes.
// Between words it keeps the 0–3 bytes that do not fill one, in the low bits of tail.
type prefix struct {
	h    uint32
	tail uint64
	held uint // bits in tail: 0, 8, 16 or 24
	n    int  // bytes seen
}

// Bucket returns murmur3_x86_32(salt + ":" + unit, seed 86028157) mod 100000. It allocates nothing.
func Bucket(salt, unit string) int { return newPrefix(salt).bucket(unit) }

// Hash32 returns murmur3_x86_32(salt + ":" + unit, seed).
func Hash32(salt, unit string, seed uint32) uint32 {
	p := prefix{h: seed}
	p.add(salt)
	p.add(":")
	return p.sum(unit)
}

func newPrefix(salt string) prefix {
	p := prefix{h: hashSeed}
	p.add(salt)
	p.add(":")
	return p
}

// bucket hashes the rest and reduces it; p itself does not change.
func (p prefix) bucket(unit string) int { return int(p.sum(unit) % Buckets) }

// add hashes s after what came before.
func (p *prefix) add(s string) {
	p.n += len(s)
	if p.held == 0 { // the plain words of murmur3
		h := p.h
		for ; len(s) >= 4; s = s[4:] {
			h = round(h, word(s))
		}
		p.h = h
	}
	for ; len(s) >= 4; s = s[4:] {
		p.tail |= uint64(word(s)) << p.held
		p.h = round(p.h, uint32(p.tail))
		p.tail >>= 32
	}
	for i := 0; i < len(s); i++ {
		p.tail |= uint64(s[i]) << p.held
		if p.held += 8; p.held == 32 {
			p.h, p.tail, p.held = round(p.h, uint32(p.tail)), 0, 0
		}
	}
}

// sum hashes s after the prefix and finishes.
func (p prefix) sum(s string) uint32 {
	p.add(s)
	h := p.h
	if p.held > 0 {
		h ^= mix(uint32(p.tail))
	}
	h ^= uint32(p.n)
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

func word(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func mix(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }

func round(h, k uint32) uint32 { return bits.RotateLeft32(h^mix(k), 13)*5 + 0xe6546b64 }

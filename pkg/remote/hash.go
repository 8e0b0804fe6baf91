package remote

import (
	"crypto/rand"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// Hasher makes keys. One is made at start and used for as long as its keys are.
type Hasher struct {
	hi, lo maphash.Seed
	secret [4]uint64 // of what is made of several hashes
}

// NewHasher draws a secret.
func NewHasher() Hasher {
	h := Hasher{hi: maphash.MakeSeed(), lo: maphash.MakeSeed()}
	var random [32]byte
	rand.Read(random[:]) // never fails
	for i := range h.secret {
		h.secret[i] = binary.LittleEndian.Uint64(random[8*i:]) | 1
	}
	return h
}

// half is Hi of a key.
func (h *Hasher) half(p []byte) uint64 { return max(maphash.Bytes(h.hi, p), 1) }

// otherHalf is Lo of a key.
func (h *Hasher) otherHalf(p []byte) uint64 { return maphash.Bytes(h.lo, p) }

func (h *Hasher) key(p []byte) Key { return Key{h.half(p), h.otherHalf(p)} }

// folding makes one hash of many, which depends on their order. Two chains take turns, so that one multiplication
// needn't wait for the one before.
type folding struct {
	a, b   uint64
	n      uint64
	secret *[4]uint64
}

func (h *Hasher) begin() folding { return folding{a: h.secret[0], b: h.secret[1], secret: &h.secret} }

func (f *folding) add(hash uint64) {
	f.a, f.b = f.b, multiply(f.a^hash, f.secret[2])
	f.n++
}

// sum is the hash; never 0.
func (f *folding) sum() uint64 { return max(multiply(f.a^f.n, f.b^f.secret[3]), 1) }

// multiply mixes all bits of both into each of the result.
func multiply(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

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
	secret [3]uint64 // of what is made of several hashes
}

// NewHasher draws a secret.
func NewHasher() Hasher {
	h := Hasher{hi: maphash.MakeSeed(), lo: maphash.MakeSeed()}
	var random [24]byte
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

// multiply mixes the bits of both into all of the result.
func multiply(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

//go:build amd64 || arm64

package distributor

// prefetch begins to bring an entry from memory, both of its cache lines if it lies on two, and doesn't wait for it.
//
//go:noescape
func prefetch(e *entry)

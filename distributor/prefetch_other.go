//go:build !amd64 && !arm64

package distributor

// prefetch does nothing where there is no instruction known for it.
func prefetch(*entry) {}

package integration

import (
	"testing"

	"github.com/varve-io/varve/integration/loopback"
)

// freeAddress is 127.0.0.1 with a port on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return free[0]
}

package integration

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports lie below those that Linux gives to outgoing connections (from 32768 on), so that a process which is down
// for a while finds its own free again.
const (
	firstPort = 10_000
	ports     = 22_000
)

// portsTaken counts the ports handed out by this test binary, so that none is handed out twice before its process
// listens. It is the package's only variable that changes.
var portsTaken atomic.Int64

// freeAddress returns 127.0.0.1 and a port on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range ports {
		offset := (int64(os.Getpid())*97 + portsTaken.Add(1)) % ports
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+offset)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = listener.Close()
		return address
	}
	t.Fatalf("no free port from %d to %d", firstPort, firstPort+ports-1)
	return ""
}

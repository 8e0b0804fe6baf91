// Package loopback finds ports of 127.0.0.1 for the servers of tests and benches. It promises that no port is found twice
// by one process, and that none is one which Linux gives to outgoing connections (from 32768 on): until its server
// listens, and while that is down, nobody is given it by chance.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
)

const (
	firstPort = 10_000
	ports     = 22_000
)

// next counts the ports that were looked at, from anywhere: other processes look, too.
var next = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(ports))
	return &n
}()

// Free returns n times 127.0.0.1 with a port on which nobody listens.
func Free(n int) (addresses []string, err error) {
	for range ports {
		if len(addresses) == n {
			return addresses, nil
		}
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+next.Add(1)%ports)
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return nil, fmt.Errorf("no %d free ports from %d to %d", n, firstPort, firstPort+ports-1)
}

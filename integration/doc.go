// Package integration tests Varve as its users meet it: real processes on 127.0.0.1, a real Prometheus that
// scrapes and writes, real servers for object storage and for the ring, and nothing in between.
//
// The files without _test in their name are the cast: a Process that can be killed, paused and started again; the
// parts that stand beside Varve (S3, Azurite, FakeGCS, Etcd, Prometheus); Varve and Cluster; and API, which reads
// samples back from Prometheus or from Varve in a form that compares bit by bit. The tests are the plays.
//
// It promises that a test leaves nothing behind: every process that it starts dies with it, by its own process ID,
// and a process that ends without being told to, or that panics, fails its test. When a test fails, the last lines
// of every log are printed; `go test -artifacts` keeps the logs whole.
//
// Parts are built by `make parts`. With -short, tests that need one are skipped.
package integration

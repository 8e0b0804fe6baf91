// Command loadgen writes a deterministic Kubernetes-like metrics load by remote write, keeps a ledger of what was acked,
// and verifies by reading everything back that nothing acked is lost, nothing is there twice, and nothing is invented.
//
//	loadgen write  -url http://127.0.0.1:9009/api/v1/push -series 100000 -samples 240 -ledger load.ledger
//	loadgen verify -query http://127.0.0.1:9009/prometheus -ledger load.ledger
//
// Equal seeds and sizes make equal loads: every label and value is a function of (seed, slot, step), so the
// ledger only records ranges. Package load has the words and the promises; -help of each command its options.
//
// Exit status: 0 all is well; 1 samples were refused or left in doubt (write), or differ (verify); 2 could not run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  loadgen write  [options]   send a load, keep a ledger (loadgen write -help)
  loadgen verify [options]   read it back and compare with the ledger (loadgen verify -help)
`

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 {
		switch args[0] {
		case "write":
			return report(write(ctx, args[1:]))
		case "verify":
			return report(verify(ctx, args[1:]))
		}
	}
	fmt.Fprint(os.Stderr, usage)
	return 2
}

// report turns a command's result into the exit status.
func report(ok bool, err error) int {
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		return 2
	case !ok:
		return 1
	}
	return 0
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

const hour = int64(3600_000)

// truth prints one line of JSON for each hour and cluster. Integers of more than 63 bits are numbers all the same; shares are fractions.
func truth(ctx context.Context, _ *options, f cluster.Fleet) error {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	enc := json.NewEncoder(out)
	all := f.Watched()
	for at := all.From - all.From%hour; at < all.To && ctx.Err() == nil; at += hour {
		for _, c := range f {
			if err := enc.Encode(c.Truth(at)); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return out.Flush()
}

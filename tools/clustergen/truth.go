package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"

	"github.com/varve-io/varve/tools/clustergen/cluster"
)

const hour = int64(3600_000)

// truth prints one line of JSON for each hour. Integers of more than 63 bits are numbers all the same; shares are fractions.
func truth(ctx context.Context, _ *options, c *cluster.Cluster) error {
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	enc := json.NewEncoder(out)
	for at := c.From - c.From%hour; at < c.To && ctx.Err() == nil; at += hour {
		if err := enc.Encode(c.Truth(at)); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return out.Flush()
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"

	"github.com/varve-io/varve/pkg/remote"
	"github.com/varve-io/varve/pkg/tenant"
)

const selfEvery = 15 * time.Second

// writeOwnMetrics sends the process' own metrics to its own write path, as any sender would.
func (p *process) writeOwnMetrics(ctx context.Context) error {
	tick := time.NewTicker(selfEvery)
	defer tick.Stop()
	for ready := false; ; {
		if !ready {
			ready = p.health.Ready() == nil
		}
		if ready {
			if err := p.writeOnce(ctx); err != nil && ctx.Err() == nil {
				p.logger.Warn("write own metrics", "error", err)
			}
		}
		wait := tick.C
		if !ready {
			wait = time.After(200 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		}
	}
}

func (p *process) writeOnce(ctx context.Context) error {
	families, err := p.reg.Gather()
	if err != nil {
		return err
	}
	body, err := remote.FromGathered(families, time.Now().UnixMilli(),
		prompb.Label{Name: "job", Value: "varve"}, prompb.Label{Name: "instance", Value: p.cfg.HTTP.Address}).Marshal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, selfEvery)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.cfg.HTTP.Address+"/api/v1/push", bytes.NewReader(s2.EncodeSnappy(nil, body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set(tenant.Header, p.cfg.Self.Tenant)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return nil
}

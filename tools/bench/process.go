package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	readyWithin = 10 * time.Minute // a replay may take its time
	pollEvery   = 5 * time.Millisecond
)

// program describes a server's process.
type program struct {
	name, path string
	args, env  []string
	dir        string // its own: where it runs, with its log
	ready      string // URL that answers 2xx when it is ready
}

// process is a running server.
type process struct {
	program
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a process and waits until it is ready, or kills it.
func start(ctx context.Context, p program) (*process, error) {
	s, err := launch(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx); err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// launch starts a process, which ends with the context.
func launch(ctx context.Context, p program) (*process, error) {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}, p.env...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	s := &process{p, cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(s.done)
	}()
	return s, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// waitReady waits until the ready URL answers 2xx.
func (p *process) waitReady(ctx context.Context) error {
	deadline := time.Now().Add(readyWithin)
	for {
		_, err := get(ctx, p.ready)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %v: %s", p.name, p.cmd.ProcessState, p.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w", p.name, readyWithin, err)
		}
	}
}

// lastWords are the last lines of the log.
func (p *process) lastWords() string {
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	lines = lines[max(0, len(lines)-5):]
	for i, l := range lines {
		lines[i] = fmt.Sprintf("%.300s", l)
	}
	return strings.Join(lines, "\n")
}

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// alive returns an error if the process has ended.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %v: %s", p.name, p.cmd.ProcessState, p.lastWords())
	default:
		return nil
	}
}

// get returns what a URL answers, if it answers 2xx.
func get(ctx context.Context, url string) ([]byte, error) {
	return ask(ctx, http.MethodGet, url, nil, nil)
}

func post(ctx context.Context, url string) ([]byte, error) {
	return ask(ctx, http.MethodPost, url, nil, nil)
}

// ask sends one request over a connection of its own, and returns the answer's body if it is a 2xx.
func ask(ctx context.Context, method, url string, header http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Close = true // servers are killed and started again
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, url, resp.Status, bytes.TrimSpace(answer))
	}
	return answer, err
}

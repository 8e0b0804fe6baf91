package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyWithin = 60 * time.Second
	stopWithin  = 60 * time.Second
	pollEvery   = 20 * time.Millisecond
	logTail     = 12  // lines of each log that a failed test prints: what failed comes before them, and must stay in sight
	logWidth    = 300 // bytes of each of these lines
)

// Program is what a Process runs.
type Program struct {
	Name  string   // names the process in messages and its log; unique within a test
	Path  string   // of the executable
	Args  []string // without the name of the executable
	Env   []string // all of the environment besides PATH, HOME and TMPDIR: nothing else is inherited
	Ready string   // URL that answers 2xx when the process is ready, or tcp://host:port
}

// Process is a running program, or one that was killed and may be started again. Its methods belong to the goroutine
// of its test, which they end when something goes wrong.
type Process struct {
	Program
	t    testing.TB
	log  string // path
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	told bool          // its end was asked for
}

// Start starts a program and waits until it is ready. The process is killed at the end of the test.
func Start(t testing.TB, program Program) *Process {
	t.Helper()
	p := New(t, program)
	p.Start()
	p.WaitReady()
	return p
}

// New makes a process that is not started yet.
func New(t testing.TB, program Program) *Process {
	t.Helper()
	p := &Process{Program: program, t: t, told: true}
	p.log = filepath.Join(t.ArtifactDir(), program.Name+".log")
	t.Cleanup(p.end)
	return p
}

// Start starts the process, which must not be running. It does not wait for anything.
func (p *Process) Start() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("start %s: it is running already", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	_, _ = fmt.Fprintf(log, "%s --- %s %s\n", time.Now().Format(time.RFC3339Nano), p.Path, strings.Join(p.Args, " "))

	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir()}, p.Env...)
	cmd.Dir = filepath.Dir(p.log)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(done)
	}()
	p.cmd, p.done, p.told = cmd, done, false
}

// WaitReady waits until the ready URL answers 2xx and returns how long that took.
func (p *Process) WaitReady() time.Duration {
	p.t.Helper()
	begin := time.Now()
	waitUntil(p.t, p.Name+" is ready", readyWithin, func() error {
		err := ping(p.Ready)
		if err != nil && !p.Running() {
			p.t.Fatalf("%s ended before it was ready: %v", p.Name, p.cmd.ProcessState)
		}
		return err
	})
	return time.Since(begin)
}

// Running tells whether the process has been started and has not ended.
func (p *Process) Running() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill9 ends the process as a crash would, and returns when it is gone.
func (p *Process) Kill9() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.told = true
	<-p.done
}

// Stop asks the process to end (SIGTERM) and waits until it has. One that does not end in time, or that ends with
// an error, fails the test.
func (p *Process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.told = true
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.Kill9()
		p.t.Errorf("%s did not stop within %v", p.Name, stopWithin)
		return
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.diedOfTerm() {
		p.t.Errorf("%s stopped with %v", p.Name, p.cmd.ProcessState)
	}
}

// diedOfTerm tells whether the process has no handler for SIGTERM, as some of the parts don't.
func (p *Process) diedOfTerm() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// Restart stops the process, starts it again and waits until it is ready, which took as long as it returns.
func (p *Process) Restart() time.Duration {
	p.t.Helper()
	p.Stop()
	p.Start()
	return p.WaitReady()
}

// Pause freezes the process (SIGSTOP): its connections stay open and nothing answers.
func (p *Process) Pause() { p.t.Helper(); p.signal(syscall.SIGSTOP) }

// Continue wakes a paused process.
func (p *Process) Continue() { p.t.Helper(); p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if !p.Running() {
		p.t.Fatalf("send %v to %s: it is not running", s, p.Name)
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("send %v to %s: %v", s, p.Name, err)
	}
}

// end kills what is left of the process and judges how it lived.
func (p *Process) end() {
	if p.cmd == nil {
		return
	}
	if !p.told && !p.Running() {
		p.t.Errorf("%s ended by itself: %v", p.Name, p.cmd.ProcessState)
	}
	if p.Running() {
		p.told = true
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	log, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Errorf("read the log of %s: %v", p.Name, err)
	}
	for _, mark := range []string{"\npanic: ", "\nfatal error: ", "WARNING: DATA RACE"} {
		if bytes.Contains(log, []byte(mark)) {
			p.t.Errorf("%s: its log says %q", p.Name, strings.TrimSpace(mark))
		}
	}
	if p.t.Failed() {
		lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
		lines = lines[max(0, len(lines)-logTail):]
		for i, line := range lines {
			lines[i] = line[:min(len(line), logWidth)]
		}
		p.t.Logf("the last lines of %s:\n\t%s", p.Name, strings.Join(lines, "\n\t"))
	}
}

// waitUntil waits until something is so, of which check says what is missing.
func waitUntil(t testing.TB, what string, within time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(pollEvery) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v until %s: %v", within, what, err)
		}
	}
}

// client asks without a proxy and without keeping connections to processes that will be killed.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// ping returns nil when the URL answers 2xx, or accepts a connection, within a second.
func ping(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if address, ok := strings.CutPrefix(url, "tcp://"); ok {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("get %s: %s: %s", url, resp.Status, bytes.TrimSpace(body))
	}
	return nil
}

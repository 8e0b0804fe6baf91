package integration

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Load is a run of tools/loadgen: a deterministic load and the ledger of what was acked.
type Load struct {
	*Process
	ledger string
	tenant string
}

// Write starts a load against a push URL that goes on, retrying whatever is not acked, until Finish.
func Write(t testing.TB, name, pushURL string, args ...string) *Load {
	t.Helper()
	l := &Load{ledger: filepath.Join(t.TempDir(), name+".ledger"), tenant: name}
	l.Process = New(t, Program{
		Name: name, Path: part(t, "bin", "loadgen"),
		Args: append([]string{"write", "-url=" + pushURL, "-tenant=" + name, "-ledger=" + l.ledger}, args...),
	})
	l.Start()
	return l
}

// Finish waits until the load has ended by itself, with every sample acked.
func (l *Load) Finish() {
	l.t.Helper()
	l.told = true
	select {
	case <-l.done:
	case <-time.After(5 * time.Minute):
		l.t.Fatalf("%s does not end", l.Name)
	}
	if code := l.cmd.ProcessState.ExitCode(); code != 0 {
		l.t.Fatalf("%s: %v: something was refused or is in doubt", l.Name, l.cmd.ProcessState)
	}
}

// Verify reads the whole load back: nothing acked may be lost, nothing may be there twice, changed or invented.
func (l *Load) Verify(baseURL, when string, args ...string) {
	l.t.Helper()
	if output, err := l.verify(baseURL, args...); err != nil {
		l.t.Fatalf("%s: verify %s: %v\n%s", when, l.Name, err, output)
	}
}

func (l *Load) verify(baseURL string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	all := append([]string{"verify", "-query=" + baseURL, "-ledger=" + l.ledger, "-exclusive"}, args...)
	cmd := exec.CommandContext(ctx, l.Path, all...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	output, err := cmd.CombinedOutput()
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")), err
}

package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what processes have used.
type Usage struct {
	CPU     time.Duration // user and system
	RSS     int64         // bytes now
	PeakRSS int64         // bytes; of several processes the sum of their peaks
}

// ProcessUsage adds up what running processes have used so far, from /proc (Linux). CPU counts in hundredths of a second.
func ProcessUsage(pids []int) (Usage, error) {
	var sum Usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return sum, fmt.Errorf("usage of process %d: %w", pid, err)
		}
		// The command's name, in parentheses, may hold spaces; utime and stime are the 12th and 13th field after it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 13 {
			return sum, fmt.Errorf("usage of process %d: stat has %d fields", pid, len(fields))
		}
		for _, f := range fields[11:13] {
			ticks, err := strconv.ParseInt(string(f), 10, 64)
			if err != nil {
				return sum, fmt.Errorf("usage of process %d: %w", pid, err)
			}
			sum.CPU += time.Duration(ticks) * 10 * time.Millisecond
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return sum, fmt.Errorf("usage of process %d: %w", pid, err)
		}
		rss, err := statusBytes(string(status), "VmRSS:")
		if err != nil {
			return sum, fmt.Errorf("usage of process %d: %w", pid, err)
		}
		peak, err := statusBytes(string(status), "VmHWM:")
		if err != nil {
			return sum, fmt.Errorf("usage of process %d: %w", pid, err)
		}
		sum.RSS, sum.PeakRSS = sum.RSS+rss, sum.PeakRSS+peak
	}
	return sum, nil
}

// statusBytes is a size of /proc/PID/status, which has it in KiB; 0 if it isn't there.
func statusBytes(status, name string) (int64, error) {
	for line := range strings.Lines(status) {
		if kb, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, nil
}

// OwnCPU is what this process has used so far.
func OwnCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("own usage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

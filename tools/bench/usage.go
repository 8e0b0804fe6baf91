package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used so far, and has now.
type usage struct {
	cpu       time.Duration // user and system
	rss, peak int64         // bytes
	anon      int64         // of rss, without the pages of files
	files     int           // open
}

// add adds another process'. The sum of peaks is an upper bound: they need not have been at one time.
func (u usage) add(o usage) usage {
	return usage{u.cpu + o.cpu, u.rss + o.rss, u.peak + o.peak, u.anon + o.anon, u.files + o.files}
}

// usageOf reads /proc.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	cpu, err := parseCPU(stat)
	if err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: cpu}
	for name, to := range map[string]*int64{"VmRSS:": &u.rss, "VmHWM:": &u.peak, "RssAnon:": &u.anon} {
		if *to, err = parseKB(status, name); err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.files = len(files)
	return u, err
}

// parseCPU reads utime and stime of /proc/PID/stat, in hundredths of a second. The command's name, in parentheses,
// may hold spaces; the two are the 12th and 13th field after it.
func parseCPU(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields", len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// parseKB reads a line of /proc/PID/status, in bytes.
func parseKB(status []byte, name string) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("status has no %s", name)
}

// parseMetric reads the sum of a metric's series out of the Prometheus text format.
func parseMetric(text []byte, name string) (float64, error) {
	var sum float64
	found := false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		if i := strings.LastIndexByte(rest, '}'); i >= 0 {
			rest = rest[i+1:]
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0, fmt.Errorf("metric %s has no value", name)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, nil
}

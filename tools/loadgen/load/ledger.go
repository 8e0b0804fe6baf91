package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// State is what is known about a position of a lane.
type State byte

// The states of a position. Only Acked and Refused are promises of the server.
const (
	Unsent  State = 0   // the ledger does not name it: it must not exist
	Unknown State = 'U' // sent, no or no clear answer: may exist, with the right bits
	Acked   State = 'A' // 2xx: exists exactly once
	Partial State = 'P' // 4xx that may have stored a part of the request: as Unknown
	Refused State = 'R' // 4xx for the whole request: does not exist
)

// Range is a range of positions of one lane: From ≤ position < To.
type Range struct {
	Lane     int
	From, To int64
}

// Ledger keeps the state of all positions, in memory (a few spans per lane, as neighbours are joined) and, if it
// has one, in a file. Safe for concurrent use.
//
// The file is text: a line of JSON, the Config, and then one line per event: time in Unix milliseconds, state, lane, from, to,
// HTTP status. Each line is one write; a line without its newline is not there. It outlives a kill of this process
// and of any server; it is not synced, so it is no evidence after a power loss of its own machine.
type Ledger struct {
	mu     sync.Mutex
	cfg    Config
	lanes  [][]span
	file   *os.File
	offset int64 // read so far, of an opened file
	write  bool
	err    error // the first failed write
}

// span is a run of positions of one state.
type span struct {
	from, to int64
	state    State
}

// NewLedger makes a ledger; path "" keeps it in memory only. The file must not exist.
func NewLedger(path string, cfg Config) (*Ledger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("new ledger: %w", err)
	}
	l := &Ledger{cfg: cfg, lanes: make([][]span, cfg.Lanes), write: true}
	if path == "" {
		return l, nil
	}
	head, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("new ledger: %w", err)
	}
	if l.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o644); err != nil {
		return nil, fmt.Errorf("new ledger: %w", err)
	}
	if _, err := l.file.Write(append(head, '\n')); err != nil {
		return nil, fmt.Errorf("new ledger: %w", errors.Join(err, l.file.Close()))
	}
	return l, nil
}

// OpenLedger reads a ledger's file, to look at it only: Refresh follows what its writer adds.
func OpenLedger(path string) (*Ledger, error) { return openLedger(path, os.O_RDONLY) }

// ResumeLedger opens a ledger's file to go on writing the same load. Positions that were under way are Unknown.
func ResumeLedger(path string) (*Ledger, error) {
	l, err := openLedger(path, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	l.write = true
	if err := l.file.Truncate(l.offset); err != nil { // a torn last line
		return nil, fmt.Errorf("resume ledger %s: %w", path, errors.Join(err, l.file.Close()))
	}
	return l, nil
}

func openLedger(path string, flags int) (*Ledger, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{file: f}
	head, err := bufio.NewReader(f).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(head, &l.cfg)
	}
	if err == nil {
		err = l.cfg.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: first line: %w", path, errors.Join(err, f.Close()))
	}
	l.lanes = make([][]span, l.cfg.Lanes)
	l.offset = int64(len(head))
	if err := l.Refresh(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// Refresh reads what another process has added to the file since; a ledger that is written here has nothing to refresh.
func (l *Ledger) Refresh() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write || l.file == nil {
		return nil
	}
	r := bufio.NewReader(io.NewSectionReader(l.file, l.offset, 1<<62))
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read ledger %s: %w", l.file.Name(), err)
		}
		if err := l.parse(line); err != nil {
			return fmt.Errorf("read ledger %s at %d: %w", l.file.Name(), l.offset, err)
		}
		l.offset += int64(len(line))
	}
}

func (l *Ledger) parse(line []byte) error {
	var ms int64
	var state byte
	var status int
	var r Range
	_, err := fmt.Fscanf(bytes.NewReader(line), "%d %c %d %d %d %d", &ms, &state, &r.Lane, &r.From, &r.To, &status)
	if err != nil {
		return fmt.Errorf("line %q: %w", line, err)
	}
	switch State(state) {
	case Unknown, Acked, Partial, Refused:
	default:
		return fmt.Errorf("line %q: no such state", line)
	}
	if r.Lane < 0 || r.Lane >= len(l.lanes) || r.From < 0 || r.From >= r.To {
		return fmt.Errorf("line %q: no such range", line)
	}
	l.set(r, State(state))
	return nil
}

// Begin says that a range is about to be sent: Unknown until Set says more.
func (l *Ledger) Begin(r Range) error { return l.Set(r, Unknown, 0) }

// Set records what became of a range and the HTTP status (0 if none) that says so. An error means that the file
// cannot be trusted any more; nothing further must be sent.
func (l *Ledger) Set(r Range, state State, status int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(r, state)
	if l.file == nil || l.err != nil {
		return l.err
	}
	line := fmt.Appendf(nil, "%d %c %d %d %d %d\n", time.Now().UnixMilli(), state, r.Lane, r.From, r.To, status)
	if _, err := l.file.Write(line); err != nil {
		l.err = fmt.Errorf("write ledger %s: %w", l.file.Name(), err)
	}
	return l.err
}

// set overwrites a range and joins it with its neighbours.
func (l *Ledger) set(r Range, state State) {
	spans := l.lanes[r.Lane]
	first := firstEndingAfter(spans, r.From-1) // may touch on the left
	last := first
	from, to := r.From, r.To
	var before, after []span
	for ; last < len(spans) && spans[last].from <= r.To; last++ {
		s := spans[last]
		if s.state == state {
			from, to = min(from, s.from), max(to, s.to)
			continue
		}
		if s.from < r.From {
			before = append(before, span{s.from, r.From, s.state})
		}
		if s.to > r.To {
			after = append(after, span{r.To, s.to, s.state})
		}
	}
	mid := append(append(before, span{from, to, state}), after...)
	l.lanes[r.Lane] = slices.Replace(spans, first, last, mid...)
}

// firstEndingAfter finds the first span whose end is greater than pos.
func firstEndingAfter(spans []span, pos int64) int {
	i, _ := slices.BinarySearchFunc(spans, pos, func(s span, pos int64) int {
		if s.to <= pos {
			return -1
		}
		return 1
	})
	return i
}

// State says what is known about a position now.
func (l *Ledger) State(lane int, pos int64) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	spans := l.lanes[lane]
	if i := firstEndingAfter(spans, pos); i < len(spans) && spans[i].from <= pos {
		return spans[i].state
	}
	return Unsent
}

// Next is the position after the greatest one that a lane has sent.
func (l *Ledger) Next(lane int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.lanes[lane]; len(s) > 0 {
		return s[len(s)-1].to
	}
	return 0
}

// gaps lists the ranges below Next that were never sent: requests that were kept back to be sent late.
func (l *Ledger) gaps(lane int) []Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Range
	pos := int64(0)
	for _, s := range l.lanes[lane] {
		if s.from > pos {
			out = append(out, Range{lane, pos, s.from})
		}
		pos = s.to
	}
	return out
}

// Config returns what the load was made of.
func (l *Ledger) Config() Config { return l.cfg }

// Close closes the file, if there is one.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

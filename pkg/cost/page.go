package cost

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unsafe"
)

// Page says which lines of an answer are wanted.
type Page struct {
	Limit  int    // at most; 0 for all
	Cursor string // of the page before; "" for the first one
}

// Errors of pages.
var (
	ErrChanged = errors.New("what it belongs to has changed; start anew without it")
	ErrPage    = errors.New("there is no such page")
)

// parsePage reads limit and cursor.
func parsePage(get func(parameter string) string) (p Page, err error) {
	if text := get("limit"); text != "" {
		if p.Limit, err = strconv.Atoi(text); err != nil || p.Limit < 0 {
			return p, fmt.Errorf("limit: %q is not a number of lines; 0 or nothing is for all", text)
		}
	}
	if p.Cursor = get("cursor"); p.Cursor != "" {
		_, _, err = p.at()
	}
	return p, err
}

// Of is the name of the answer that the cursor belongs to; "" without a cursor.
func (p Page) Of() string {
	of, _, _ := p.at()
	return of
}

// at is the name of the cursor's answer, and the line at which the page begins.
func (p Page) at() (of string, line int, err error) {
	of, text, ok := strings.Cut(p.Cursor, ".")
	line, err = strconv.Atoi(text)
	if !ok || err != nil || len(of) != nameLength || line < 0 {
		return "", 0, fmt.Errorf("cursor: %q is none; it is what the page before has as next", p.Cursor)
	}
	return of, line, nil
}

// Part is the part of an answer that a page is. A whole answer has none.
type Part struct {
	First, End, Of int    // lines [First, End) of so many
	Next           string // the cursor of the next page; "" after the last
}

// of is the part of so many lines of the answer with the name.
func (p Page) of(name string, lines int) (*Part, error) {
	s := &Part{Of: lines}
	if p.Cursor != "" {
		of, first, err := p.at()
		switch {
		case err != nil:
			return nil, err
		case of != name:
			return nil, fmt.Errorf("cursor: %w", ErrChanged)
		case first > lines:
			return nil, fmt.Errorf("cursor: %q is beyond the last of %d lines: %w", p.Cursor, lines, ErrPage)
		}
		s.First = first
	}
	s.End = lines
	if p.Limit > 0 && p.Limit < lines-s.First {
		s.End = s.First + p.Limit
		s.Next = fmt.Sprintf("%s.%d", name, s.End)
	}
	return s, nil
}

// write tells people which part it is, if it isn't all.
func (s *Part) write(w io.Writer) error {
	if s == nil || s.First == 0 && s.End == s.Of {
		return nil
	}
	text := fmt.Sprintf("lines %d to %d of %d", s.First+1, s.End, s.Of)
	if s.First == s.End {
		text = fmt.Sprintf("no lines, of %d", s.Of)
	}
	if s.Next != "" {
		text += "; the next page is cursor=" + s.Next
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// nameLength is how many hexadecimal digits of its hash are an answer's name.
const nameLength = 16

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func nameOf(hash string) string { return strings.TrimPrefix(hash, "sha256:")[:nameLength] }

// Name implements Answer.
func (r *Report) Name() string { return nameOf(r.Hash) }

// Bytes implements Answer.
func (r *Report) Bytes() int64 {
	var n int64
	for _, l := range r.Lines {
		n += int64(unsafe.Sizeof(*l)) + 16*int64(len(l.Key)) + 64
	}
	return n + 1024
}

// Page implements Answer.
func (r *Report) Page(p Page) (Answer, string, error) {
	s, err := p.of(r.Name(), len(r.Lines))
	if err != nil {
		return nil, "", err
	}
	page := *r
	page.Lines, page.Next, page.Part, page.whole = r.Lines[s.First:s.End], s.Next, s, r
	return &page, s.Next, nil
}

// Name implements Answer.
func (f *Fleet) Name() string { return nameOf(f.Hash) }

// Bytes implements Answer.
func (f *Fleet) Bytes() int64 {
	return 1024 + int64(len(f.Lines))*int64(unsafe.Sizeof(FleetLine{})+256)
}

// Page implements Answer.
func (f *Fleet) Page(p Page) (Answer, string, error) {
	s, err := p.of(f.Name(), len(f.Lines))
	if err != nil {
		return nil, "", err
	}
	page := *f
	page.Lines, page.Next, page.Part = f.Lines[s.First:s.End], s.Next, s
	return &page, s.Next, nil
}

// hash is of the exact costs and quantities of all lines, and of what was asked.
func (f *Fleet) hash(q FleetQuery, book []byte) string {
	h := sha256.New()
	window := q.window()
	fmt.Fprintf(h, "{From:%d To:%d Step:%s By:%s Method:%s} %q\n%s", q.From, q.To, q.Step, q.By, q.Method, book, window.zoneName())
	var buf []byte
	for _, l := range f.Lines {
		buf = append(buf[:0], l.key...)
		buf = appendStrings(buf, l.Namespace, l.Claim)
		buf = appendAmount(appendAmount(buf, l.cost), l.overhead)
		for _, q := range l.quantities() {
			buf = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(buf, q.value.Hi), q.value.Lo)
		}
		buf = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(buf, uint64(l.Sum.Up)), uint64(l.Sum.Blind))
		h.Write(buf)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Name implements Answer.
func (e *ScaleEvents) Name() string { return nameOf(e.Hash) }

// Bytes implements Answer.
func (e *ScaleEvents) Bytes() int64 {
	return 1024 + int64(e.lines())*int64(unsafe.Sizeof(ScaleLine{})+128)
}

func (e *ScaleEvents) lines() int {
	return len(e.Workloads) + len(e.Nodes) + len(e.Classes) + len(e.Changes) + len(e.Creep.Workloads)
}

// Page implements Answer. Lines are in the order of CSV: workloads, nodes, classes, changes, creep.
func (e *ScaleEvents) Page(p Page) (Answer, string, error) {
	s, err := p.of(e.Name(), e.lines())
	if err != nil {
		return nil, "", err
	}
	page, first := *e, 0
	page.Workloads = cutPage(e.Workloads, s, &first)
	page.Nodes = cutPage(e.Nodes, s, &first)
	page.Classes = cutPage(e.Classes, s, &first)
	page.Changes = cutPage(e.Changes, s, &first)
	page.Creep.Workloads = cutPage(e.Creep.Workloads, s, &first)
	page.Next, page.Part = s.Next, s
	return &page, s.Next, nil
}

// cutPage is what the part has of lines, the first of which is that of the answer.
func cutPage[T any](lines []T, s *Part, first *int) []T {
	from, to := max(s.First-*first, 0), max(s.End-*first, 0)
	*first += len(lines)
	return lines[min(from, len(lines)):min(to, len(lines))]
}

// hash is of all lines, and of what was asked. It is the JSON's without its warnings.
func (e *ScaleEvents) hash(book []byte) (string, error) {
	plain := *e
	plain.Warnings = nil
	text, err := json.Marshal(&plain)
	if err != nil {
		return "", fmt.Errorf("hash of scale events: %w", err)
	}
	return hashOf(fmt.Appendf(text, "%s %q", AskScaleEvents, book)), nil
}

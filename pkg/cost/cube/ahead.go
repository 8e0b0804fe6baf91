package cube

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// bytesAt is where bytes lie in a file.
type bytesAt = struct{ Off, Len int64 }

// Ahead opens the chosen tables among files, all at once, and fetches what a reader of the periods that begin before until will ask of them, up to so
// many bytes in sum. What it returns is read as the files are; what was not fetched is fetched when its turn comes. Errors are those of reading.
func Ahead(ctx context.Context, level Level, files Files, columns Columns, until, most int64) (Files, error) {
	var room atomic.Int64
	room.Store(most)
	var mu sync.Mutex
	out := Files{}
	all, ctx := errgroup.WithContext(ctx)
	tables := RollUpTables()
	if level == HourLevel {
		tables = HourTables()
	}
	for _, name := range tables {
		src, ok := files[name]
		names, chosen := columns[name]
		if !ok || columns != nil && !chosen {
			continue
		}
		all.Go(func() (err error) {
			defer recoverDamage(&err)
			f, err := Open(ctx, name, src)
			if err != nil {
				return err
			}
			groups, err := upcoming(level, f, names, until)
			if err != nil {
				return fmt.Errorf("open cost cube: table %s: %w", name, err)
			}
			a := &ahead{Source: src, file: f, parts: map[bytesAt][]byte{}}
			f.src = a
			mu.Lock()
			out[name] = a
			mu.Unlock()
			return a.fetch(ctx, groups, &room)
		})
	}
	return out, all.Wait()
}

// upcoming is what a reader of the periods before until asks for, by row group.
func upcoming(level Level, f *File, names []string, until int64) ([][]bytesAt, error) {
	if level == HourLevel {
		t, err := openHourTable(f, names)
		if err != nil {
			return nil, err
		}
		return t.upcoming(until), nil
	}
	t, err := openRollUpTable(f, names)
	if err != nil {
		return nil, err
	}
	return t.upcoming(until), nil
}

// ahead is a file that is open, and parts of it.
type ahead struct {
	Source
	file  *File
	parts map[bytesAt][]byte
}

// fetch gets the first row groups: as many as there is room for.
func (a *ahead) fetch(ctx context.Context, groups [][]bytesAt, room *atomic.Int64) error {
	var ranges []bytesAt
	for _, group := range groups {
		var bytes int64
		for _, r := range group {
			bytes += r.Len
		}
		if room.Add(-bytes) < 0 {
			room.Add(bytes)
			break
		}
		ranges = append(ranges, group...)
	}
	if len(ranges) == 0 {
		return nil
	}
	data, err := a.Source.Ranges(ctx, ranges)
	if err != nil {
		return err
	}
	for i, r := range ranges {
		a.parts[r] = data[i]
	}
	return nil
}

// Ranges gives away what is there, and asks the file for the rest.
func (a *ahead) Ranges(ctx context.Context, ranges []bytesAt) ([][]byte, error) {
	out := make([][]byte, len(ranges))
	var rest []bytesAt
	var places []int
	for i, r := range ranges {
		data, ok := a.parts[r]
		if !ok {
			rest, places = append(rest, r), append(places, i)
			continue
		}
		out[i] = data
		delete(a.parts, r)
	}
	if len(rest) == 0 {
		return out, nil
	}
	data, err := a.Source.Ranges(ctx, rest)
	if err != nil {
		return nil, err
	}
	for k, i := range places {
		out[i] = data[k]
	}
	return out, nil
}

package series

import "sync"

// Recycler lets a source use the room of series again that nobody needs any more: of a selection that uses one, labels and chunks are valid only until
// their room is freed. The source retires a room once all of its series were given; who reads the set takes note of what is retired after each of its
// batches, and frees that when all of the batch, and all before it, is done. The zero value is ready.
type Recycler struct {
	mu      sync.Mutex
	retired []any
	free    []any
}

// Take is a room that was freed, nil if there is none.
func (r *Recycler) Take() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.free)
	if n == 0 {
		return nil
	}
	room := r.free[n-1]
	r.free = r.free[:n-1]
	return room
}

// Retire says that the set has moved on from all series in the room.
func (r *Recycler) Retire(room any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = append(r.retired, room)
}

// Retired are the rooms that were retired since it was asked for last.
func (r *Recycler) Retired() []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	rooms := r.retired
	r.retired = nil
	return rooms
}

// Free gives rooms back to be used again.
func (r *Recycler) Free(rooms []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, rooms...)
}

package series

// Ack is what an owner says of a batch that it has logged, synced and applied.
type Ack struct {
	// Conflicts counts samples whose series had, as its newest, another value at the same time.
	Conflicts int
	// First describes one of them, for the sender.
	First string
}

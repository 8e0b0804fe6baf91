package series

import "context"

// Ack is what an owner says of a batch that it has logged, synced and applied.
type Ack struct {
	// Conflicts counts samples whose series had, as its newest, another value at the same time.
	Conflicts int
	// First describes one of them, for the sender.
	First string
}

// Receipt stands for a batch on its way to one owner.
type Receipt interface {
	// Wait returns when the owner has synced the batch, or never will have.
	Wait(ctx context.Context) (Ack, error)
}

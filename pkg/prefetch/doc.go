// Package prefetch asks the memory for what will soon be looked at. It owns the few lines of assembly that this takes, and
// promises that nothing but time depends on it: nobody waits for what was asked for, and no address can do harm.
//
// An ordinary load of something that isn't in a cache doesn't suffice. The processor goes on behind it, but only some hundred
// instructions far, and then waits.
package prefetch

//go:build !race

package distributor_test

// slowdown is what the race detector costs.
const slowdown = 1

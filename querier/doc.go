// Package querier is the component that answers: the Prometheus HTTP API, remote read and federation, PromQL over
// what the ingesters hold and what the bucket keeps.
//
// It owns the way of a read. A request passes the edge (http.go: tenants, bounds, a place in the gate), Prometheus'
// own API and engine, and reaches Select (select.go) with a tenant, a range and matchers. Select asks the owners of
// every partition (fanout.go) first and the blocks in the bucket (blocks.go) afterwards, and merges both exactly.
//
// It also answers what clusters cost (cost.go): out of the compactor's cubes, and out of samples for hours that are not in
// them (costcubes.go), priced by the tenant's price book, and the same as the series varve_cost_per_hour (costseries.go).
//
// It promises that an answer is complete or says that it is not: a read that cannot overlap the write quorum is an
// error (503), or carries a warning where the tenant chose partial answers; a block that has vanished is looked for
// again, never skipped. Everything is bounded, and each bound names itself in the error that it causes. The querier
// holds no state of its own: when it dies, only the requests that it was answering are lost.
package querier

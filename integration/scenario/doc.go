// Package scenario plays what happens to a whole cluster as texts in testdata: each is a story of commands and of what
// comes of them, and `go test ./integration/scenario -rewrite` writes down what comes of them now.
//
// The distributors, ingesters, catalog and querier are the real ones, in one process and under testing/synctest's
// clock, which begins at midnight and stands still while anybody works; the logs and blocks are real files. Only the
// network, the bucket's store and the ring's views are the scenario's own, so that it can break them. Stopping an
// ingester here is orderly; package integration kills real processes.
//
// The commands:
//
//	cluster partitions=N rf=N distributors=N      catalog-age=15 is in seconds; ingester a0 is the owner of partition 0 in zone a
//	write D [tenant=T] [many=N] [quiet]           lines of: series time value; time is now, now-5m or 00:05:00
//	query [tenant=T] [count] SERIES               as a user reads it: the owners and the bucket
//	ask I [count] SERIES                          what one ingester holds
//	holds                                         samples on each ingester, and blocks in the catalog
//	stop I | start I | wipe I                     wipe is of an ingester that is stopped
//	restart D                                     a distributor
//	cut A B | heal A B | freeze I | thaw I        links from a distributor or the querier q to an ingester
//	lose-acks D I                                 what is sent arrives, what is answered doesn't, and then the link breaks
//	bucket down | bucket up
//	rotate I… | flush I…                          all for all; flush ends when everything is in the catalog
//	ring [of=PROCESS] ID=STATE…                   the view of everybody, or of one process
//	standing I                                    how far a reader may rely on it
//	advance DURATION
package scenario

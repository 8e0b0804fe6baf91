// Package bucket owns the object storage: opening a bucket of any kind (a local directory, S3, GCS, Azure) and
// reading immutable objects by pages through caches. It is the only importer of objstore's providers.
//
// It promises:
//   - an object is there whole or not at all, also on a local directory after a loss of power, and a failed
//     upload leaves nothing that a Get or a listing shows;
//   - transient errors are retried with jitter, within the context, and what comes back after that is the
//     provider's own error: IsObjNotFoundErr and IsAccessDeniedErr of the opened Bucket tell those two apart;
//   - names are checked alike for every kind of bucket, so that none leaves the bucket's root or prefix;
//   - a File never answers with fewer bytes than asked for: a short object is an error.
//
// If the object store is gone, every call fails after its retries (some seconds) or when its context ends;
// nothing is queued here. A damaged or lost disk cache costs reads from the bucket and nothing else.
package bucket

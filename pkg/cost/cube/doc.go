// Package cube owns the format of cost cubes: the rows of hours, and roll-ups, as Parquet that any engine reads.
//
// Level 0 has one file per UTC day and table. A file's bytes depend on its rows only, so the same hours give the same file whatever
// order they came in. Row groups hold whole hours, and adding an hour copies those that it leaves as they were.
//
// Readers fetch only the columns that they are asked for, hold one row group of them, compressed, and one hour of rows. What is
// damaged or foreign is an error that wraps ErrDamaged, never a panic; sizes are checked before they are believed.
//
// The package reads and writes single files. Which files a tenant has is for the manifest to say: docs/formats/cube.md.
package cube

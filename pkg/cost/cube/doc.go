// Package cube owns the format of cost cubes: the rows of hours, and roll-ups, as Parquet that any engine reads.
//
// Level 0 has one file per UTC day and table. A file's bytes depend on its rows only, so the same hours give the same file whatever
// order they came in. Row groups hold whole hours, and adding an hour copies those that it leaves as they were.
//
// Readers fetch only the columns that they are asked for, hold one row group of them, compressed, and one hour of rows. What is
// damaged or foreign is an error that wraps ErrDamaged, never a panic; sizes are checked before they are believed.
//
// A tenant's Manifest says which files are to be read and for which hours they are good; it is the only object that changes. Files
// below it are immutable. docs/formats/cube.md has the bytes.
package cube

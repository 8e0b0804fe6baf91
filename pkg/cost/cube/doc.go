// Package cube owns the format of cost cubes: the rows of hours, and roll-ups, as Parquet.
package cube

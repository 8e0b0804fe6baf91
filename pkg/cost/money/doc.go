// Package money owns the exact arithmetic of the cost analysis: quantities (128 bits), prices as they are written (Decimal), rates,
// and amounts of money (256 bits).
//
// Money is a whole number of grains. A grain is so small a part of the currency that each price of up to 12 decimals with a discount of up to
// 6 is a whole number of grains per core-microsecond, byte-second, millisecond or byte. So no sum of money is ever rounded, whatever
// its order. A rate that is the result of a division (a node's total among its pools) is rounded down to a grain once: of a
// node-year at 1,000,000 an hour less than 1e-15 is lost, on the bill and on its lines alike.
package money

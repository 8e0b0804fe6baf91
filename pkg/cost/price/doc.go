// Package price owns the price book: rules that give nodes, volumes and overheads their prices, by the hour from which they are in force.
package price

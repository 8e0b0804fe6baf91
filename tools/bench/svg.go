package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a picture of lines over evenly spaced ticks, with a scale at each side.
type chart struct {
	title, x, left, right string
	ticks                 []string
	lines                 []line
}

// line has a value for each tick.
type line struct {
	name, figure string
	right        bool // measured by the scale on the right
	values       []float64
}

// The picture and the plot in it.
const (
	width, height            = 720, 380
	plotLeft, plotRight      = 70, 650
	plotTop, plotBottom      = 60, 310
	gridLines                = 5
	lineColors               = "#2a6f97 #c1121f #6a994e #bc6c25"
	textColor, gridLineColor = "#333", "#ddd"
)

// svg draws the chart as text that any browser shows.
func (c chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="%s">`+"\n", width, height, textColor)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	text := func(x, y float64, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
	}
	text(plotLeft, 24, "start", c.title)
	text((plotLeft+plotRight)/2, plotBottom+44, "middle", c.x)
	text(plotLeft-8, plotTop-16, "end", c.left)
	text(width-4, plotTop-16, "end", c.right)
	left, right := c.top(false), c.top(true)
	for i := range gridLines + 1 {
		share := float64(i) / gridLines
		y := plotBottom - share*(plotBottom-plotTop)
		fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="%s"/>`+"\n", plotLeft, y, plotRight, gridLineColor)
		text(plotLeft-8, y+4, "end", number(share*left))
		text(plotRight+8, y+4, "start", number(share*right))
	}
	for i, t := range c.ticks {
		text(c.at(i), plotBottom+20, "middle", t)
	}
	for i, l := range c.lines {
		scale := left
		if l.right {
			scale = right
		}
		color := strings.Fields(lineColors)[i%4]
		b.WriteString(c.path(l, scale, color))
		x := float64(plotLeft + 200 + i*110)
		fmt.Fprintf(&b, `<path d="M%.0f 20h24" stroke="%s" stroke-width="2"/>`+"\n", x, color)
		text(x+30, 24, "start", l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// path is a line with a dot for each value.
func (c chart) path(l line, top float64, color string) string {
	var d, dots strings.Builder
	for i, v := range l.values {
		x, y := c.at(i), plotBottom-v/top*(plotBottom-plotTop)
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], x, y)
		fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, color)
	}
	return fmt.Sprintf(`<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n%s", d.String(), color, dots.String())
}

// at is where a tick is.
func (c chart) at(tick int) float64 {
	return plotLeft + (plotRight-plotLeft)*(float64(tick)+0.5)/float64(len(c.ticks))
}

// top is the end of a scale: 1, 2 or 5 times a power of ten, above all values that are measured by it.
func (c chart) top(right bool) float64 {
	most := 0.0
	for _, l := range c.lines {
		if l.right == right {
			most = max(most, slices.Max(l.values))
		}
	}
	if most <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= most {
			return n * unit
		}
	}
	return 10 * unit
}

// number shows a value on a scale without an exponent.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64) }

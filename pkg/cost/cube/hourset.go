package cube

import (
	"math/bits"
	"time"
)

const (
	hourLength = int64(time.Hour / time.Millisecond)
	dayLength  = 24 * hourLength
)

// HourSet are hours of a UTC day: bit n is the hour that begins n hours after midnight.
type HourSet uint32

// allHours are those of a day.
const allHours = HourSet(1<<24 - 1)

// hourBit is the hour's bit in its day.
func hourBit(start int64) HourSet { return 1 << ((start - dayOf(start)) / hourLength) }

// dayOf is the midnight before a time, in Unix milliseconds.
func dayOf(at int64) int64 {
	n := at % dayLength
	if n < 0 {
		n += dayLength
	}
	return at - n
}

// Len is how many hours there are.
func (s HourSet) Len() int { return bits.OnesCount32(uint32(s & allHours)) }

// MonthOf is the begin and the end of the UTC month of a time, in Unix milliseconds.
func MonthOf(at int64) (start, end int64) {
	y, m, _ := time.UnixMilli(at).UTC().Date()
	first := time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return first.UnixMilli(), first.AddDate(0, 1, 0).UnixMilli()
}

// fileOf is the time of the file that has the period of a level: a day, a month, or a year.
func fileOf(level Level, at int64) (start, end int64) {
	switch level {
	case HourLevel:
		return dayOf(at), dayOf(at) + dayLength
	case DayLevel:
		return MonthOf(at)
	}
	y := time.UnixMilli(at).UTC().Year()
	return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(y+1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
}

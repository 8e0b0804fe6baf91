package cube

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/varve-io/varve/pkg/tenant"
)

// Level is what a file's periods are.
type Level string

// Levels. A file has the hours of a day, the days of a month, or the months of a year.
const (
	HourLevel  Level = "hours"
	DayLevel   Level = "days"
	MonthLevel Level = "months"
)

// Name is the object of a table's periods around a time. Sum is of its content, so an object never changes.
func Name(id tenant.ID, level Level, at time.Time, table Table, sum string) (string, error) {
	name, err := NameOf(level, at.UnixMilli(), table, sum)
	return directory(id) + "/" + name, err
}

// NameOf is the same name without the tenant's directory, as manifests have it; the time is in Unix milliseconds.
func NameOf(level Level, at int64, table Table, sum string) (string, error) {
	layout, ok := map[Level]string{HourLevel: "2006-01-02", DayLevel: "2006-01", MonthLevel: "2006"}[level]
	if !ok {
		return "", fmt.Errorf("cost cube: no level %q", level)
	}
	return fmt.Sprintf("%s/%s/%s-%s.parquet", level, time.UnixMilli(at).UTC().Format(layout), table, sum), nil
}

// Sum is the part of an object's name that its content decides.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

package cube

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/varve-io/varve/pkg/cost"
)

// readSource reads all of a table's file, or says what is wrong. It is the same where the file is fetched ahead, a part of it or all.
func readSource(t testing.TB, table Table, data []byte) (rows string, err error) {
	t.Helper()
	files := Files{table: &memory{data: data}}
	rows, err = readHours(t, files)
	for _, most := range []int64{0, 1000, 1 << 40} {
		fetched, failed := Ahead(t.Context(), HourLevel, files, nil, 1<<62, most)
		again := ""
		if failed == nil {
			again, failed = readHours(t, fetched)
		}
		if again != rows || (failed == nil) != (err == nil) {
			t.Fatalf("fetched ahead, %d bytes: %v, not %v; the same rows: %v", most, failed, err, again == rows)
		}
	}
	return rows, err
}

func readHours(t testing.TB, files Files) (rows string, err error) {
	t.Helper()
	for h, err := range Hours(t.Context(), files, nil) {
		if err != nil {
			return "", err
		}
		rows += fmt.Sprint(*h)
	}
	return rows, nil
}

func sample(t testing.TB) Files {
	r := rand.New(rand.NewPCG(11, 1))
	return write(t, nil, randomHour(r, 0), randomHour(r, hourMillis), randomHour(r, 2*hourMillis))
}

// Whatever bit flips: an error that says so, or, where nothing is read, the same rows; never a panic or other rows without a word.
func TestEveryFlippedByteIsFound(t *testing.T) {
	for table, src := range sample(t) {
		whole := src.(*memory).data
		want, err := readSource(t, table, whole)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(12, 1))
		for range 100 {
			data := bytes.Clone(whole)
			at := r.IntN(len(data))
			data[at] ^= 1 << r.IntN(8)
			rows, err := readSource(t, table, data)
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%s: byte %d: %v", table, at, err)
			}
			if err == nil && rows != want {
				t.Fatalf("%s: byte %d: other rows", table, at)
			}
			checkRewrite(t, table, data)
		}
	}
}

// checkRewrite adds an hour to a damaged file: an error, or a file that can be read.
func checkRewrite(t *testing.T, table Table, data []byte) {
	t.Helper()
	var out bytes.Buffer
	err := WriteHours(t.Context(), &out, table, &memory{data: data}, []*cost.Hour{{Start: 5 * hourMillis}})
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		return
	}
	if _, err := readSource(t, table, out.Bytes()); err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func TestTruncatedAndForeignFiles(t *testing.T) {
	files := sample(t)
	whole := files[Nodes].(*memory).data
	for _, data := range [][]byte{nil, []byte("PAR1"), []byte("PAR1PAR1PAR1"), bytes.Repeat([]byte{0xff}, 100), whole[:len(whole)-1], whole[:len(whole)/2], whole[8:]} {
		if _, err := readSource(t, Nodes, data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	}
	if _, err := Open(t.Context(), Workloads, files[Nodes]); !errors.Is(err, ErrDamaged) {
		t.Errorf("another table: %v", err)
	}
	for _, version := range []string{"1", "3"} {
		other := bytes.Replace(whole, []byte(`{"version":2,`), []byte(`{"version":`+version+`,`), 1)
		seal(other)
		if _, err := Open(t.Context(), Nodes, &memory{data: other}); !errors.Is(err, ErrVersion) {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

// seal gives a footer its checksum, if it can be found.
func seal(data []byte) {
	if len(data) < 8 {
		return
	}
	end := len(data) - 8
	n := int(binary.LittleEndian.Uint32(data[end:]))
	if n > end {
		return
	}
	if at, ok := findSum(data[end-n : end]); ok {
		copy(data[end-n+at:], footerSum(data[end-n:end], at))
	}
}

// Whatever a file says: an error that says so, or rows; no panic, and no allocation that it only claims to need. Its checksum is
// made right, so that what is behind it is tried too.
func FuzzOpen(f *testing.F) {
	for table, src := range sample(f) {
		data := src.(*memory).data
		f.Add(string(table), data)
		f.Add(string(table), data[:len(data)-9])
	}
	f.Fuzz(func(t *testing.T, table string, data []byte) {
		data = bytes.Clone(data)
		seal(data)
		if _, err := readSource(t, Table(table), data); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}

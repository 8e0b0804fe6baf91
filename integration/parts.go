package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// part returns the path of a program or file below .parts, where `make parts` puts it. With -short the test is
// skipped instead.
func part(t testing.TB, path ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs real parts")
	}
	file, err := filepath.Abs(filepath.Join(append([]string{"..", ".parts"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v; `make integration` builds it", err)
	}
	return file
}

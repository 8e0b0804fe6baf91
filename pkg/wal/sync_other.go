//go:build unix && !linux

package wal

import (
	"errors"
	"os"
)

func dataSync(f *os.File) error { return f.Sync() }

func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

package ring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ElectionFile keeps the elections of a process that is alone, so that a restart changes none.
type ElectionFile struct {
	path string

	mu  sync.Mutex
	all Elections
}

// OpenElectionFile reads the file, if there is one. One that is damaged is begun anew: then replicas are elected anew.
func OpenElectionFile(path string, log *slog.Logger) (*ElectionFile, error) {
	f := &ElectionFile{path: path, all: Elections{}}
	packed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read elections: %w", err)
	}
	v, err := ledgerCodec{}.Decode(packed)
	if err != nil {
		log.Warn("the file of elections is damaged: replicas of HA pairs are elected anew", "file", path, "error", err)
		return f, nil
	}
	f.all = v.(*ledger).Elections
	return f, nil
}

// PublishElections writes elections down.
func (f *ElectionFile) PublishElections(_ context.Context, mine Elections) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all.merge(mine)) == 0 {
		return nil
	}
	f.all.forget(time.Now().Add(-ElectionKept))
	packed, err := ledgerCodec{}.Encode(&ledger{f.all})
	if err != nil {
		return err
	}
	if err := replace(f.path, packed); err != nil {
		return fmt.Errorf("write elections: %w", err)
	}
	return nil
}

// WatchElections calls take once, with what was written down, and returns when ctx ends.
func (f *ElectionFile) WatchElections(ctx context.Context, take func(Elections)) {
	f.mu.Lock()
	all := maps.Clone(f.all)
	f.mu.Unlock()
	take(all)
	<-ctx.Done()
}

// replace writes a file so that it is the old or the new one, whatever happens.
func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

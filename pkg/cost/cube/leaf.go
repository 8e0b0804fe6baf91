package cube

import (
	"errors"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// leaf reads one Parquet column of one row group, page after page.
type leaf struct {
	pages *parquet.FilePages
	kind  parquet.Kind

	page  parquet.Page
	slots int // of the page: values, and empty lists
	slot  int // the next one
	value int // the next value

	index []int32  // of the page's values in the dictionary; nil without one
	texts []string // of the page or the dictionary
	ints  []int64
	bits  []byte
	known parquet.Dictionary // whose content texts or ints is

	repeats, defined []byte   // of the page's slots, if it has lists
	only             []string // of names of labels: those that are asked for; nil for all
	wanted           []bool   // by the places of texts, if only some are
}

func (l *leaf) close() {
	parquet.Release(l.page)
	l.page = nil
	if l.pages != nil {
		_ = l.pages.Close() // it reads from memory: nothing can fail
		l.pages = nil
	}
}

// fill makes sure that the page has a slot left.
func (l *leaf) fill() error {
	for l.slot == l.slots {
		page, err := l.pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return damaged("a column ends before its rows do")
		}
		if err != nil {
			return damaged("%w", err)
		}
		parquet.Release(l.page)
		l.page, l.slot, l.value, l.slots = page, 0, 0, int(page.NumValues())
		if err := l.load(); err != nil {
			return err
		}
	}
	return nil
}

// load takes the page's values out, and those of a new dictionary.
func (l *leaf) load() error {
	l.repeats, l.defined = l.page.RepetitionLevels(), l.page.DefinitionLevels()
	dictionary := l.page.Dictionary()
	if dictionary == nil {
		l.index, l.known = nil, nil
		return l.take(l.page)
	}
	data := l.page.Data()
	l.index = data.Int32()
	if dictionary == l.known {
		return nil
	}
	l.known = dictionary
	return l.take(dictionary.Page())
}

func (l *leaf) take(page parquet.Page) error {
	data := page.Data()
	switch l.kind {
	case parquet.ByteArray:
		bytes, offsets := data.ByteArray()
		l.texts = l.texts[:0]
		all := string(bytes)
		for i := 1; i < len(offsets); i++ {
			l.texts = append(l.texts, all[offsets[i-1]:offsets[i]])
		}
		l.want()
	case parquet.Int64:
		l.ints = data.Int64() // of the page or the dictionary, which stays as long as it is read
	case parquet.Int32:
		l.ints = make([]int64, 0, len(data.Int32()))
		for _, v := range data.Int32() {
			l.ints = append(l.ints, int64(v))
		}
	case parquet.Boolean:
		l.bits = data.Boolean()
	default:
		return damaged("a column of type %s", l.kind)
	}
	return nil
}

// want finds which of the texts are asked for.
func (l *leaf) want() {
	l.wanted = l.wanted[:0]
	for _, text := range l.texts {
		if l.only != nil {
			l.wanted = append(l.wanted, slices.Contains(l.only, text))
		}
	}
}

// run takes up to n values of a column without lists: the first one's place, and how many they are.
func (l *leaf) run(n int) (from, count int, err error) {
	if err := l.fill(); err != nil {
		return 0, 0, err
	}
	from, count = l.slot, min(n, l.slots-l.slot)
	l.slot += count
	return from, count, nil
}

// list takes the next row's list: the first element's place, and how many they are. No row has parts in two pages.
func (l *leaf) list() (from, count int, err error) {
	if err := l.fill(); err != nil {
		return 0, 0, err
	}
	from = l.value
	for first := true; l.slot < l.slots && (first || l.repeats[l.slot] > 0); first = false {
		if l.defined[l.slot] > 0 {
			l.value++
		}
		l.slot++
	}
	return from, l.value - from, nil
}

// text, integer and boolean are the value at a place of the page. A place out of bounds panics: whoever reads a group recovers.

func (l *leaf) text(at int) string {
	if l.index != nil {
		at = int(l.index[at])
	}
	return l.texts[at]
}

// asks tells whether the text at a place of the page is asked for.
func (l *leaf) asks(at int) bool {
	if l.only == nil {
		return true
	}
	if l.index != nil {
		at = int(l.index[at])
	}
	return l.wanted[at]
}

func (l *leaf) integer(at int) int64 {
	if l.index != nil {
		at = int(l.index[at])
	}
	return l.ints[at]
}

func (l *leaf) boolean(at int) bool { return l.bits[at/8]>>(at%8)&1 != 0 }

package block

import (
	"encoding/binary"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunks"
)

// FuzzEntry feeds the decoders of what checksums usually keep away from them.
func FuzzEntry(f *testing.F) {
	good := binary.AppendUvarint(nil, 1)
	good = append(good, 3, 4, 2, 20, 10, 8, 5, 10, 40)
	f.Add(good)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := cursor{b: b}
		pairs := appendPairs(nil, &c)
		metas, after := appendChunks(nil, &c, allTime)
		if len(pairs) > len(b) || len(metas) > len(b) || after != 0 {
			t.Errorf("%d pairs and %d chunks of %d bytes, %d behind the last", len(pairs), len(metas), len(b), after)
		}
		e := tableEntry{}
		c = cursor{b: b}
		e.parse(&c)
		d := chunkDecoder{r: &reader{b: &Block{}}, to: &room{}}
		_, _ = d.decode("chunks/000001", 0, b)
	})
}

func TestEntryRange(t *testing.T) {
	// Three chunks: [10, 20], [25, 30], [40, 50].
	b := binary.AppendUvarint(nil, 3)
	b = binary.AppendVarint(b, 10)
	b = append(b, 10, 8, 5, 5)
	b = binary.AppendVarint(b, 100)
	b = append(b, 10, 10)
	b = binary.AppendVarint(b, 60)
	for _, c := range []struct {
		t     timeRange
		refs  []chunks.ChunkRef
		after chunks.ChunkRef
	}{
		{allTime, []chunks.ChunkRef{8, 108, 168}, 0},
		{timeRange{20, 25}, []chunks.ChunkRef{8, 108}, 168},
		{timeRange{21, 24}, nil, 0},
		{timeRange{0, 10}, []chunks.ChunkRef{8}, 108},
		{timeRange{50, 60}, []chunks.ChunkRef{168}, 0},
		{timeRange{1, 0}, nil, 0},
	} {
		cur := cursor{b: b}
		metas, after := appendChunks(nil, &cur, c.t)
		if cur.bad || len(cur.b) > 0 || after != c.after || len(metas) != len(c.refs) {
			t.Fatalf("%v: %v, then %d, malformed %v", c.t, metas, after, cur.bad)
		}
		for i, m := range metas {
			if m.Ref != c.refs[i] {
				t.Errorf("%v: chunk %d is %d, want %d", c.t, i, m.Ref, c.refs[i])
			}
		}
	}
}

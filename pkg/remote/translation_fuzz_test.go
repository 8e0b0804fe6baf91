package remote

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
)

// fuzzTranslation: whatever comes, the result is a request that can be read, or an error of a known kind.
func fuzzTranslation(t *testing.T, f func(*Translation) error) {
	_, err := translate(t, wide(), f)
	if err == nil {
		return
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrTooMany) {
		t.Errorf("error of another kind: %v", err)
	}
	if strings.Contains(err.Error(), "OTLP: translate:") {
		t.Errorf("not seen by the inspection: %v", err)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{
		"# HELP m h\n# TYPE m histogram\nm_bucket{le=\"1\"} 1 123\nm_sum NaN\n", "m{a=\"\\\"\xff\"} 1\n", "# TYPE a counter\na_total 1 1.5 # {x=\"y\"} 1 2\n# EOF\n", "{\"a.b\",c=\"d\"} 1",
		"a 1\nb\n\n#\nc{ 1\r\n", "# UNIT a s\n# EOF",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) { fuzzTranslation(t, func(tr *Translation) error { return tr.Text(p) }) })
}

func FuzzInflux(f *testing.F) {
	for _, s := range []string{"m,a=b f=1,g=2i,h=3u,i=t,j=\"x\" 123\n", "a\\ b,c\\=d=e\\,f value=-1e5 -1", "# c\n\nm f=\"a\nb\"", "m f= 1\nm f=1 x"} {
		f.Add([]byte(s), "ms")
	}
	f.Fuzz(func(t *testing.T, p []byte, unit string) {
		precision, err := Precision(unit)
		if err != nil {
			return
		}
		fuzzTranslation(t, func(tr *Translation) error { return tr.Influx(p, precision) })
	})
}

// otlpSeeds has one metric of every kind.
func otlpSeeds() []string {
	kv := attribute("a.b", "c") + `,{"key":"n","value":{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":"x","value":{"bytesValue":"YQ=="}}]}},{"doubleValue":1.5}]}}}`
	point := timed(0) + `,"attributes":[` + kv + `],"exemplars":[{` + timed(0) + `,"asInt":"1","filteredAttributes":[` + kv + `]}]`
	var seeds []string
	for _, m := range []string{
		`"gauge":{"dataPoints":[{` + point + `,"asDouble":1}]}`,
		`"sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{` + point + `,"asInt":"1"}]}`,
		`"histogram":{"aggregationTemporality":2,"dataPoints":[{` + point + `,"count":"3","sum":1,"bucketCounts":["1","2"],"explicitBounds":[1]}]}`,
		`"exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{` + point + `,"count":"3","scale":22,"zeroCount":"1","positive":{"offset":-5,"bucketCounts":["1","0","0","0","0","1"]},"negative":{"bucketCounts":["1"]}}]}`,
		`"summary":{"dataPoints":[{` + timed(0) + `,"quantileValues":[{"quantile":1,"value":2}]}]}`,
	} {
		seeds = append(seeds, metrics(kv+","+attribute("service.name", "s"), fmt.Sprintf(`{"name":"a.%d","unit":"By/s","description":"d",%s}`, len(seeds), m)))
	}
	return seeds
}

func FuzzOTLP(f *testing.F) {
	for _, s := range otlpSeeds() {
		f.Add([]byte(s), true, true)
		f.Add(protobuf(f, s), false, false)
	}
	f.Fuzz(func(t *testing.T, p []byte, json, escape bool) {
		o := otlpOptions()
		o.JSON, o.Promote = json, []string{"a.b"}
		if !escape {
			o.Names = otlptranslator.NoTranslation
		}
		fuzzTranslation(t, func(tr *Translation) error { return tr.OTLP(p, o) })
	})
}

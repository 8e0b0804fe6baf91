package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PrometheusConfig is what a Prometheus scrapes and where it writes.
type PrometheusConfig struct {
	Name         string   // of the process
	Targets      []string // host:port to scrape each second, besides itself
	RemoteWrite  string   // URL; none if empty
	RemoteWrite2 bool     // by remote write 2.0, and classic histograms turned to custom buckets
	Tenant       string   // to write as
	Cluster      string   // of an HA pair, and
	Replica      string   // which of it this is; none if empty
}

// PrometheusServer is a real Prometheus.
type PrometheusServer struct {
	*Process
	API
	Address string // host:port
}

// Prometheus starts a Prometheus that scrapes itself and its targets each second, native histograms included.
func Prometheus(t testing.TB, config PrometheusConfig) *PrometheusServer {
	t.Helper()
	dir := t.TempDir()
	p := &PrometheusServer{Address: freeAddress(t)}
	p.API = API{URL: "http://" + p.Address}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.yaml(p.Address)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Process = Start(t, Program{
		Name: config.Name,
		Path: part(t, "bin", "prometheus"),
		Args: []string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + p.Address, "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver",
			"--enable-feature=exemplar-storage,metadata-wal-records,otlp-native-delta-ingestion", "--scrape.discovery-reload-interval=100ms",
		},
		Ready: p.URL + "/-/ready",
	})
	p.waitScraping(t, 1+len(config.Targets))
	return p
}

// waitScraping waits until that many targets have been scraped.
func (p *PrometheusServer) waitScraping(t testing.TB, targets int) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("%s scrapes %d targets", p.Name, targets), readyWithin, func() error {
		answer, err := p.Query("up == 1", time.Now())
		if err == nil && len(answer.Samples) != targets {
			err = fmt.Errorf("%d", len(answer.Samples))
		}
		return err
	})
}

func (c PrometheusConfig) yaml(self string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global:
  scrape_interval: 1s
  scrape_native_histograms: true
  convert_classic_histograms_to_nhcb: %t
  external_labels: %s
scrape_configs:
  - job_name: %s
    static_configs: [{targets: [%q]}]
`, c.RemoteWrite2, c.externalLabels(), c.Name, self)
	for i, target := range c.Targets {
		fmt.Fprintf(&b, "  - job_name: target-%d\n    static_configs: [{targets: [%q]}]\n", i, target)
	}
	if c.RemoteWrite == "" {
		return b.String()
	}
	message := "prometheus.WriteRequest"
	if c.RemoteWrite2 {
		message = "io.prometheus.write.v2.Request"
	}
	fmt.Fprintf(&b, `remote_write:
  - url: %q
    protobuf_message: %s
    send_exemplars: true
    send_native_histograms: true
    headers: {X-Scope-OrgID: %q}
    queue_config: {batch_send_deadline: 500ms, min_backoff: 50ms, max_backoff: 500ms}
`, c.RemoteWrite, message, c.Tenant)
	return b.String()
}

func (c PrometheusConfig) externalLabels() string {
	if c.Replica == "" {
		return "{}"
	}
	return fmt.Sprintf("{cluster: %q, __replica__: %q}", c.Cluster, c.Replica)
}

// WaitWritten waits until the Prometheus has an ack for every sample up to a time.
// Nothing that it had to write may have been refused or dropped.
func (p *PrometheusServer) WaitWritten(t testing.TB, until time.Time) {
	t.Helper()
	// The queue reads the log in the order of scrapes, and a scrape ends within its interval of a second: when it has
	// sent a sample that is younger by scrapeSlack, and then nothing is pending, all the older ones are acked.
	const scrapeSlack = 3 * time.Second
	waitUntil(t, fmt.Sprintf("%s has written all up to %v", p.Name, until), time.Minute, func() error {
		m, err := Metrics(p.URL)
		if err != nil {
			t.Fatalf("metrics of %s: %v", p.Name, err)
		}
		for _, kind := range []string{"samples", "histograms", "exemplars", "metadata"} {
			for _, fate := range []string{"failed", "dropped"} {
				if name := "prometheus_remote_storage_" + kind + "_" + fate + "_total"; m[name] > 0 {
					t.Fatalf("%s: %s is %v", p.Name, name, m[name])
				}
			}
		}
		sent := m["prometheus_remote_storage_queue_highest_sent_timestamp_seconds"]
		pending := m["prometheus_remote_storage_samples_pending"] + m["prometheus_remote_storage_histograms_pending"]
		if sent >= float64(until.Add(scrapeSlack).UnixMilli())/1000 && pending == 0 {
			return nil
		}
		return fmt.Errorf("newest sent %v, %v pending", sent, pending)
	})
}

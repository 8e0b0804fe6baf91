package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A bill out of blocks adds up, and one that a server gives, too; each number that is changed on the way is found.
func TestCostVerify(t *testing.T) {
	blocks := simulated(t)
	window := "-window=2026-01-01T00:00:00Z,2026-01-01T02:00:00Z"
	out := want(t, 0, "cost", "verify", "-blocks="+blocks, window, "-by=label:app", "-step=hour")
	for _, line := range []string{"report by=pod,container", "report by=label:app step=hour", "assets by=class", " sums are right."} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	answers := map[string]string{} // of the server, by request
	var tamper func(request, answer string) string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Scope-OrgID") != "chain" {
			http.Error(w, "whose?", http.StatusUnauthorized)
			return
		}
		request := r.URL.Path + "?" + r.URL.RawQuery
		if answers[request] == "" {
			args := []string{"cost", strings.TrimPrefix(r.URL.Path, "/api/v1/cost/"), "-blocks=" + blocks}
			for name, values := range r.URL.Query() {
				args = append(args, "-"+name+"="+values[0])
			}
			_, answers[request], _ = cli(t, nil, args...)
		}
		_, _ = w.Write([]byte(tamper(request, answers[request])))
	}))
	defer server.Close()
	verify := []string{"cost", "verify", "-url=" + server.URL, "-tenant=chain", window}
	for _, c := range []struct{ name, of, from, to, says string }{
		{"nothing", "none", "", "", "sums are right."},
		{"a total", "by=node", `"total": "`, `"total": "1`, "report by=node: total"},
		{"a line", "by=node", `"cost": "0.0`, `"cost": "0.1`, "report by=node: lines: they add up to"},
		{"a pool", "by=cluster&", `"ram": "0.`, `"ram": "1.`, "pools: they add up to"},
		{"a use", "by=pod", `"unused": "0.`, `"unused": "1.`, "used, unused, usage_unknown and shared: they add up"},
		{"a quantity", "by=pod", `"cpu_core_microseconds_used": "`, `"cpu_core_microseconds_used": "9`, "quantity of workload cpu_core_microseconds_used"},
		{"bytes of a class", "by=pod", `"network_sent_bytes_internet": "`, `"network_sent_bytes_internet": "9999999`, "network_sent_bytes with a class are"},
		{"an asset", "by=asset", `"cost": "0.`, `"cost": "9.`, "assets by=asset: assets: they add up to"},
		{"capacity", "by=class", `"ram_byte_seconds_capacity": "`, `"ram_byte_seconds_capacity": "9`, "capacity of ram_byte_seconds"},
		{"the residual", "by=&", `"residual": "0"`, `"residual": "0.1"`, `residual: "0.1"`},
	} {
		changed := c.of == "none"
		tamper = func(request, answer string) string {
			if !strings.Contains(request+"&", c.of) && !(c.of == "by=&" && !strings.Contains(request, "by=")) {
				return answer
			}
			changed = changed || strings.Contains(answer, c.from)
			return strings.Replace(answer, c.from, c.to, 1)
		}
		status := 1
		if c.of == "none" {
			status = 0
		}
		if out := want(t, status, verify...); !changed || !strings.Contains(out, c.says) {
			t.Errorf("%s: no %q in\n%s", c.name, c.says, out)
		}
	}
	tamper = func(_, answer string) string { return answer }
	if got := want(t, 0, "cost", "report", "-url="+server.URL, "-tenant=chain", window, "-by=node", "-format=csv"); !strings.HasPrefix(got, "kind,") {
		t.Errorf("CSV of the server: %s", got)
	}
	for _, c := range []struct{ option, says string }{
		{"-tenant=other", "401 Unauthorized: whose?"}, {"-prices=x.yaml", "-prices: a server"}, {"-token_file=/none", "read token"}, {"-step=year", "step"},
	} {
		if out := want(t, 2, append(verify, c.option)...); !strings.Contains(out, c.says) {
			t.Errorf("%s: %s", c.option, out)
		}
	}
}

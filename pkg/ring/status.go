package ring

import (
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/dskit/kv/memberlist"
)

// ServeRing shows the partitions, their states and their owners.
func (r *Ring) ServeRing(w http.ResponseWriter, _ *http.Request) {
	render(w, ringPage, r.status(time.Now()))
}

// ServeMembers shows who takes part in gossip.
func (r *Ring) ServeMembers(w http.ResponseWriter, _ *http.Request) {
	m := r.members.Load()
	if m == nil || m.pages == nil {
		render(w, storePage, &r.cfg)
		return
	}
	header(w)
	// dskit's handler knows the members. What else it does is done by parameters, so it gets none.
	memberlist.NewHTTPStatusHandler(m.pages, membersPage).ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{}})
}

func header(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
}

func render(w http.ResponseWriter, t *template.Template, data any) {
	header(w)
	_ = t.Execute(w, data) // fails only where the reader has gone
}

type ringStatus struct {
	Cluster           string
	Version           uint32
	ReplicationFactor int
	Partitions        []partitionStatus
}

type partitionStatus struct {
	ID     int32
	State  State
	Since  time.Duration
	Owners []ownerStatus
}

type ownerStatus struct {
	Owner
	Heartbeat time.Duration // ago
	Known     bool          // whether there was one
	Stale     bool
}

func (r *Ring) status(now time.Time) ringStatus {
	v := r.View()
	s := ringStatus{Cluster: r.cfg.Cluster, Version: v.Version, ReplicationFactor: v.ReplicationFactor}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range v.Partitions {
		ps := partitionStatus{ID: p.ID, State: p.State}
		if r.partitions != nil {
			if d, ok := r.partitions.Partitions[p.ID]; ok {
				ps.Since = now.Sub(d.GetStateTime()).Round(time.Second)
			}
		}
		for _, o := range p.Owners {
			os := ownerStatus{Owner: o, Stale: true}
			if o.Address == "" {
				os.Address = "this process"
			}
			if r.instances != nil {
				if i, ok := r.instances.Ingesters[o.Instance]; ok {
					os.Known, os.Heartbeat = true, now.Sub(time.Unix(i.Timestamp, 0)).Round(time.Second)
					os.Stale = os.Heartbeat > r.timing.stale
				}
			}
			ps.Owners = append(ps.Owners, os)
		}
		s.Partitions = append(s.Partitions, ps)
	}
	return s
}

const style = `<style>body{font:14px system-ui;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left}.bad{background:#fdd}</style>`

var ringPage = template.Must(template.New("ring").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Varve: ring</title>` + style + `</head><body>
<h1>Ring of {{.Cluster}}</h1>
<p>View {{.Version}}, replication factor {{.ReplicationFactor}}.</p>
<table><tr><th>Partition</th><th>State</th><th>For</th><th>Owner</th><th>Zone</th><th>Address</th><th>Heartbeat</th></tr>
{{range .Partitions}}{{$p := .}}{{range .Owners}}<tr{{if .Stale}} class="bad"{{end}}><td>{{$p.ID}}</td><td>{{$p.State}}</td><td>{{$p.Since}}</td><td>{{.Instance}}</td><td>{{.Zone}}</td><td>{{.Address}}</td><td>{{if .Known}}{{.Heartbeat}} ago{{else}}never{{end}}</td></tr>
{{else}}<tr class="bad"><td>{{.ID}}</td><td>{{.State}}</td><td>{{.Since}}</td><td colspan="4">nobody</td></tr>
{{end}}{{end}}</table></body></html>
`))

var membersPage = template.Must(template.New("members").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Varve: members</title>` + style + `</head><body>
<h1>Members</h1>
<table><tr><th>Name</th><th>Address</th><th>State</th></tr>
{{range .SortedMembers}}<tr><td>{{.Name}}</td><td>{{.Address}}</td><td>{{if eq .State 0}}alive{{else}}suspected ({{.State}}){{end}}</td></tr>
{{end}}</table></body></html>
`))

var storePage = template.Must(template.New("store").Parse(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Varve: members</title>` + style + `</head><body>
<h1>Members</h1>
<p>{{if .Clustered}}The ring of {{.Cluster}} is kept in {{.Store}} {{.StoreEndpoints}}.{{else}}This process is alone.{{end}}</p></body></html>
`))

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
	"github.com/varve-io/varve/pkg/cost/price"
	"github.com/varve-io/varve/pkg/tenant"
	"github.com/varve-io/varve/querier"
)

// answers gives the answer to each question; ledgers are read once. The questions are of one window and method.
func answers(questions []*cost.Question, book *price.Book, ledgers iter.Seq2[*cost.Ledger, error]) ([]cost.Answer, error) {
	out, failed := make([]cost.Answer, len(questions)), make([]error, len(questions))
	var now *cost.Ledger // what all get next, nil for the end
	var next []func() (struct{}, bool)
	for i, q := range questions {
		one, stop := iter.Pull(func(yield func(struct{}) bool) {
			out[i], failed[i] = q.Answer(book, func(each func(*cost.Ledger, error) bool) {
				for yield(struct{}{}) && now != nil && each(now, nil) {
				}
			})
		})
		defer stop()
		one()
		next = append(next, one)
	}
	all := func() {
		for _, one := range next {
			one()
		}
	}
	for l, err := range ledgers {
		if err != nil {
			return nil, err
		}
		now = l
		all()
		if err := errors.Join(failed...); err != nil {
			return nil, err
		}
	}
	now = nil
	all()
	return out, errors.Join(failed...)
}

// server is a running Varve.
type server struct {
	url    string
	header http.Header
}

func (o *costOptions) server() (*server, error) {
	for name, given := range map[string]bool{"prices": o.Prices != "", "blocks": o.Blocks != "", "cluster_label": o.ClusterLabel != defaultClusterLabel} {
		if given {
			return nil, fmt.Errorf("-%s: a server, which -url names, has its own", name)
		}
	}
	header, err := headerOf(o.Tenant, o.TokenFile)
	return &server{strings.TrimRight(o.URL, "/"), header}, err
}

// headerOf names the tenant, and shows a token if a file has one.
func headerOf(name, tokenFile string) (http.Header, error) {
	header := http.Header{tenant.Header: {name}}
	if tokenFile != "" {
		secret, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	}
	return header, nil
}

// ask copies the answer in a format, and gives the cursor of the next page. An answer that isn't one is an error that has what the server says.
// If progress isn't nil, it is told how far the server is.
func (s *server) ask(ctx context.Context, w io.Writer, a ask, format string, progress *hoursProgress) (next string, err error) {
	v := url.Values{"format": {format}}
	for name, value := range a.parameters {
		if value != "" {
			v.Set(name, value)
		}
	}
	header, end := s.header.Clone(), func() {}
	if progress != nil {
		header.Set(querier.ProgressHeader, "1")
		ctx, end = progress.told(ctx)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/cost/"+string(a.verb)+"?"+v.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("-url: %w", err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	end()
	if err != nil {
		return "", fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // what there is of it
		var told struct{ Error string }
		if json.Unmarshal(text, &told) != nil || told.Error == "" {
			told.Error = strings.TrimSpace(string(text))
		}
		return "", fmt.Errorf("ask %s: %s: %s", s.url, resp.Status, told.Error)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return "", fmt.Errorf("ask %s: %w", s.url, err)
	}
	return resp.Header.Get(querier.NextHeader), nil
}

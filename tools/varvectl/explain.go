package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/varve-io/varve/distributor"
)

// explainWrite asks distributors why a tenant's writes were limited or dropped, and adds up what they say.
func (p *program) explainWrite(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("varvectl explain-write TENANT", flag.ContinueOnError)
	f.SetOutput(p.notice)
	urls := f.String("url", "http://127.0.0.1:9009", "distributors, by comma: each knows what it saw itself")
	token := f.String("token-file", "", "file whose content is sent as bearer token; it needs the scope write")
	asJSON := f.Bool("json", false, "print what each distributor answers")
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if name == "" || f.NArg() > 0 {
		return fmt.Errorf("explain-write: name one tenant, and then options\n%s", usage)
	}
	header, err := headerOf(name, *token)
	if err != nil {
		return err
	}
	var all []distributor.Explanation
	for url := range strings.SplitSeq(*urls, ",") {
		e, err := askWhy(ctx, url, header)
		if err != nil {
			return err // a sum without this one would be wrong
		}
		all = append(all, e)
	}
	if *asJSON {
		e := json.NewEncoder(p.out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	printExplanation(p.out, name, all)
	return nil
}

func askWhy(ctx context.Context, url string, header http.Header) (e distributor.Explanation, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+distributor.ExplainPath, nil)
	if err != nil {
		return e, err
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return e, fmt.Errorf("ask a distributor: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return e, fmt.Errorf("ask %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return e, fmt.Errorf("ask %s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("ask %s: %w", url, err)
	}
	return e, nil
}

// added adds up what several distributors say.
func added(all []distributor.Explanation) (usage []distributor.Usage, causes []distributor.Cause) {
	usage = slices.Clone(all[0].Usage)
	by := map[string]int{}
	for i, e := range all {
		for j, u := range e.Usage {
			if i > 0 && j < len(usage) {
				usage[j].Current += u.Current
			}
		}
		for _, c := range e.Causes {
			at, ok := by[c.Reason]
			if !ok {
				by[c.Reason] = len(causes)
				causes = append(causes, c)
				continue
			}
			s := &causes[at]
			s.FiveMinutes, s.Hour, s.Total = s.FiveMinutes+c.FiveMinutes, s.Hour+c.Hour, s.Total+c.Total
			s.Examples = append(s.Examples, c.Examples...)
		}
	}
	for i := range causes {
		slices.SortStableFunc(causes[i].Examples, func(a, b distributor.Example) int { return b.Time.Compare(a.Time) })
		causes[i].Examples = causes[i].Examples[:min(3, len(causes[i].Examples))]
	}
	slices.SortStableFunc(causes, func(a, b distributor.Cause) int {
		return cmp.Or(cmp.Compare(b.Hour, a.Hour), cmp.Compare(b.Total, a.Total))
	})
	return usage, causes
}

func printExplanation(w io.Writer, name string, all []distributor.Explanation) {
	usage, causes := added(all)
	t := newTable("limit", ">now", ">at most", "set by")
	for _, u := range usage {
		most := "no limit"
		if u.Max > 0 {
			most = number(u.Max)
		}
		t.row(u.Limit, number(int64(u.Current+0.5)), most, u.Source)
	}
	fmt.Fprintf(w, "Tenant %s, as %s saw it; a distributor applies the limits to what it sees itself.\n\n", name, plural(len(all), "distributor"))
	t.print(w)
	if len(causes) == 0 {
		fmt.Fprintln(w, "\nNothing was limited or dropped.")
		return
	}
	fmt.Fprintln(w)
	t = newTable("reason", ">last 5m", ">last 1h", ">in all", "of", "setting")
	for _, c := range causes {
		setting := c.Setting
		if setting != "" {
			setting += "=" + c.Value + " (" + c.Source + ")"
		}
		t.row(c.Reason, number(c.FiveMinutes), number(c.Hour), number(c.Total), c.Counts, setting)
	}
	t.print(w)
	for _, c := range causes {
		fmt.Fprintf(w, "\n%s: %s\n", c.Reason, c.Advice)
		for _, e := range c.Examples {
			fmt.Fprintf(w, "  %s  %s\n", moment(e.Time.UnixMilli()), e.Text)
		}
	}
}

// plural is "1 thing" or "2 things".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

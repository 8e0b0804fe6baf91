package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/varve-io/varve/pkg/cost"
)

// checks are the questions whose answers must agree: the bill by several groupings, steps and ways of sharing, and the assets.
func (o *costOptions) checks() (all []ask) {
	add := func(verb cost.Verb, by, step, share string) {
		all = append(all, ask{verb, map[string]string{"window": o.Window, "timezone": o.Timezone, "method": o.Method, "by": by, "step": step, "share": share}})
	}
	for _, by := range []string{"", "cluster", "namespace,controller", "node", "pod,container"} {
		add(cost.AskReport, by, "", "")
	}
	add(cost.AskReport, "namespace", "day", "")
	add(cost.AskReport, "cluster", "", "idle=weighted,system=even,overhead=weighted")
	if o.By+o.Step+o.Share != "" {
		add(cost.AskReport, o.By, o.Step, o.Share)
	}
	for _, by := range []cost.FleetBy{cost.ByAsset, cost.ByClass, cost.ByCluster} {
		add(cost.AskAssets, string(by), "", "")
	}
	return all
}

// checked is an answer as a script reads it, of a report or of assets.
type checked struct {
	Currency, Total, Residual, Next string
	Lines, Assets                   []checkedLine
}

// checkedLine has the names of docs/cost.md.
type checkedLine struct {
	Kind string            `json:"kind"`
	Key  map[string]string `json:"key"`
	Name string            `json:"name"`
	Cost string            `json:"cost"`

	Used, Unused, Shared        string
	UsageUnknown                string `json:"usage_unknown"`
	CPU, RAM, GPU               json.RawMessage
	Storage, Network, LB, Other string
	Quantities                  map[string]string
}

// verifier adds up again what answers say, in exact decimals, and tells of differences.
type verifier struct {
	out         io.Writer
	total       string            // of the first answer
	quantities  map[string]string // of the first report, by kind and name
	billed      map[string]*big.Rat
	sums, wrong int
}

// verifyCosts checks the answers to checks, and prints what it checked.
func verifyCosts(out io.Writer, asks []ask, texts []bytes.Buffer) error {
	v := &verifier{out: out}
	for i, a := range asks {
		var c checked
		if err := json.Unmarshal(texts[i].Bytes(), &c); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		if c.Next != "" {
			return fmt.Errorf("%s: the server answers in pages only", a)
		}
		before := v.wrong
		if i == 0 {
			v.total = c.Total
		}
		v.same(a.String()+": total", c.Total, v.total)
		if a.verb == cost.AskReport {
			v.report(a, &c)
		} else {
			v.assets(a, &c)
		}
		if v.wrong == before {
			fmt.Fprintf(out, "%-72s %6d lines  total %s %s\n", a, len(c.Lines)+len(c.Assets), c.Total, c.Currency)
		}
	}
	if v.wrong > 0 {
		fmt.Fprintf(out, "%s of %s sums are wrong.\n", number(v.wrong), number(v.sums))
		return errFound
	}
	fmt.Fprintf(out, "All %s sums are right.\n", number(v.sums))
	return nil
}

func (v *verifier) report(a ask, c *checked) {
	var costs []string
	sums := map[string]*big.Rat{}
	for _, l := range c.Lines {
		what := fmt.Sprintf("%s: %s %v", a, l.Kind, l.Key)
		costs = append(costs, l.Cost)
		v.add(what+": pools", l.Cost, unquoted(l.CPU), unquoted(l.RAM), unquoted(l.GPU), l.Storage, l.Network, l.LB, l.Other)
		if l.Kind == "workload" {
			v.add(what+": used, unused, usage_unknown and shared", l.Cost, l.Used, l.Unused, l.UsageUnknown, l.Shared)
		}
		for name, q := range l.Quantities {
			addTo(sums, l.Kind+" "+name, q)
		}
		v.classes(what, l.Quantities)
	}
	v.same(a.String()+": residual", c.Residual, "0")
	v.add(a.String()+": lines", c.Total, costs...)
	quantities := map[string]string{}
	for name, sum := range sums {
		quantities[name] = sum.RatString()
	}
	if v.quantities == nil {
		v.quantities, v.billed = quantities, billed(sums)
	}
	for name := range sums {
		v.same(a.String()+": quantity of "+name, quantities[name], v.quantities[name])
	}
	v.same(a.String()+": number of quantities", fmt.Sprint(len(quantities)), fmt.Sprint(len(v.quantities)))
}

// classes checks that bytes which have a class are not more than all.
func (v *verifier) classes(what string, quantities map[string]string) {
	for _, all := range []string{"network_received_bytes", "network_sent_bytes"} {
		sums := map[string]*big.Rat{all: new(big.Rat), "": new(big.Rat)}
		for name, q := range quantities {
			if name == all {
				addTo(sums, all, q)
			} else if strings.HasPrefix(name, all+"_") {
				addTo(sums, "", q)
			}
		}
		if v.sums++; sums[""].Cmp(sums[all]) > 0 {
			v.differ("%s: %s with a class are %s, more than all, %s", what, all, sums[""].RatString(), sums[all].RatString())
		}
	}
}

// billed is what all lines have of each resource of nodes: what was held of them, idle, system, and unknown.
func billed(sums map[string]*big.Rat) map[string]*big.Rat {
	out := map[string]*big.Rat{}
	for name, sum := range sums {
		_, name, _ = strings.Cut(name, " ")
		for _, r := range nodeResources {
			if use, ok := strings.CutPrefix(name, r); ok && (use == "_used" || use == "_unused" || use == "_usage_unknown") {
				addTo(out, r, sum.RatString())
			}
		}
	}
	return out
}

// nodeResources are the units of what nodes have.
var nodeResources = []string{"cpu_core_microseconds", "ram_byte_seconds", "gpu_microseconds"}

func (v *verifier) assets(a ask, c *checked) {
	var costs []string
	capacity := map[string]*big.Rat{}
	for _, l := range c.Assets {
		costs = append(costs, l.Cost)
		for _, r := range nodeResources {
			if q := l.Quantities[r+"_capacity"]; q != "" {
				addTo(capacity, r, q)
			}
		}
	}
	v.add(a.String()+": assets", c.Total, costs...)
	for _, r := range nodeResources {
		if capacity[r] != nil || v.billed[r] != nil {
			v.same(a.String()+": capacity of "+r+", and what lines have of it", rat(capacity[r]), rat(v.billed[r]))
		}
	}
}

func rat(r *big.Rat) string {
	if r == nil {
		return "0"
	}
	return r.RatString()
}

// add checks that parts are decimals that are not negative and add up to a sum.
func (v *verifier) add(what, sum string, parts ...string) {
	total := map[string]*big.Rat{"": new(big.Rat)}
	for _, p := range parts {
		if strings.HasPrefix(p, "-") || p != "" && !addTo(total, "", p) {
			v.differ("%s: %q is no amount", what, p)
		}
	}
	want, ok := new(big.Rat).SetString(sum)
	v.sums++
	if !ok || want.Cmp(total[""]) != 0 {
		v.differ("%s: they add up to %s, not %s", what, strings.TrimRight(total[""].FloatString(9), "0"), sum)
	}
}

func (v *verifier) same(what, got, want string) {
	v.sums++
	if got != want {
		v.differ("%s: %q, not %q", what, got, want)
	}
}

func (v *verifier) differ(format string, args ...any) {
	v.wrong++
	fmt.Fprintf(v.out, "wrong: "+format+"\n", args...)
}

// addTo is false if the text is no number.
func addTo(sums map[string]*big.Rat, name, text string) bool {
	r, ok := new(big.Rat).SetString(text)
	if ok && sums[name] == nil {
		sums[name] = new(big.Rat)
	}
	if ok {
		sums[name].Add(sums[name], r)
	}
	return ok
}

func unquoted(text json.RawMessage) string {
	var s string
	if err := json.Unmarshal(text, &s); err != nil && len(text) > 0 {
		return string(text)
	}
	return s
}

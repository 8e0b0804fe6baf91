// Package join owns one hour of one tenant: from the series of kube-state-metrics, cAdvisor and others to the rows of cost.Hour.
//
// It first reads the facts: who lived when, whose is what, what was asked for (facts.go, nodes.go). They are labels and small step
// functions, and are kept. Then usage is streamed (usage.go): a series is decoded, integrated into its rows and forgotten, but for
// those of one container that come from several sources or several runs, which wait for each other as encoded chunks.
//
// It promises that rows depend on samples only, not on their order, blocks or sources; that nothing is counted twice; and that
// what it had to leave out or to bound is a warning. docs/cost.md has the rules.
package join

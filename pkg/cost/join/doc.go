// Package join owns one hour of one tenant: from the series of kube-state-metrics, cAdvisor and others to the rows of cost.Hour.
package join

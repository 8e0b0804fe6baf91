package cluster

// perWorkload makes a series of each workload of a kind that is alive.
func perWorkload(name, kind string, fn func(w *Workload, put podPut)) family {
	return family{name, func(v *view) {
		for i := range v.Workloads {
			w := &v.Workloads[i]
			if w.Kind != kind {
				continue
			}
			fn(w, func(life Span, value func(int64) float64, pairs ...string) {
				v.put(stateMetrics, v.shard(w.Namespace+"/"+w.Name), life.clip(w.Span), value, append([]string{"namespace", w.Namespace}, pairs...)...)
			})
		}
	}}
}

func workloadFamilies() []family {
	replicas := func(name, kind, label string) family {
		return perWorkload(name, kind, func(w *Workload, put podPut) { put(w.Span, gauge(w.Replicas, 1), label, w.Name) })
	}
	owner := func(name, kind, label string) family {
		return perWorkload(name, kind, func(w *Workload, put podPut) {
			controller := "true"
			if w.ParentKind == "" {
				controller = ""
			}
			put(w.Span, one, label, w.Name, "owner_kind", w.ParentKind, "owner_name", w.ParentName, "owner_is_controller", controller)
		})
	}
	list := []family{
		replicas("kube_deployment_spec_replicas", "Deployment", "deployment"),
		replicas("kube_deployment_status_replicas", "Deployment", "deployment"),
		replicas("kube_replicaset_spec_replicas", "ReplicaSet", "replicaset"),
		replicas("kube_statefulset_replicas", "StatefulSet", "statefulset"),
		replicas("kube_daemonset_status_desired_number_scheduled", "DaemonSet", "daemonset"),
		owner("kube_replicaset_owner", "ReplicaSet", "replicaset"),
		owner("kube_job_owner", "Job", "job_name"),
		perWorkload("kube_job_info", "Job", func(w *Workload, put podPut) { put(w.Span, one, "job_name", w.Name) }),
		perWorkload("kube_cronjob_info", "CronJob", func(w *Workload, put podPut) {
			put(w.Span, one, "cronjob", w.Name, "schedule", "*/30 * * * *", "concurrency_policy", "Forbid")
		}),
	}
	return append(append(list, scalerFamilies()...), perNamespace("kube_namespace_labels"))
}

func scalerFamilies() []family {
	scaler := func(name string, value func(w *Workload) func(int64) float64) family {
		return perWorkload(name, "Deployment", func(w *Workload, put podPut) {
			if w.HPA != nil {
				put(w.Span, value(w), "horizontalpodautoscaler", w.Name)
			}
		})
	}
	replicas := func(w *Workload) func(int64) float64 { return gauge(w.Replicas, 1) }
	return []family{
		perWorkload("kube_horizontalpodautoscaler_info", "Deployment", func(w *Workload, put podPut) {
			if w.HPA != nil {
				put(w.Span, one, "horizontalpodautoscaler", w.Name, "scaletargetref_api_version", "apps/v1", "scaletargetref_kind", w.Kind,
					"scaletargetref_name", w.Name)
			}
		}),
		scaler("kube_horizontalpodautoscaler_spec_min_replicas", func(w *Workload) func(int64) float64 { return constant(float64(w.HPA.Min)) }),
		scaler("kube_horizontalpodautoscaler_spec_max_replicas", func(w *Workload) func(int64) float64 { return constant(float64(w.HPA.Max)) }),
		scaler("kube_horizontalpodautoscaler_status_current_replicas", replicas),
		scaler("kube_horizontalpodautoscaler_status_desired_replicas", replicas),
	}
}

func perNamespace(name string) family {
	return family{name, func(v *view) {
		for i := range v.Namespaces {
			n := &v.Namespaces[i]
			labelSpans(n.Labels, v.Span, func(s Span, pairs []string) {
				v.put(stateMetrics, v.shard(n.Name), s, one, append([]string{"namespace", n.Name}, pairs...)...)
			})
		}
	}}
}

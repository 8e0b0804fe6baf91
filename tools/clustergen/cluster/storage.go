package cluster

func perVolume(name string, fn func(vol *Volume, put podPut)) family {
	return family{name, func(v *view) {
		for i := range v.Volumes {
			vol := &v.Volumes[i]
			fn(vol, func(life Span, value func(int64) float64, pairs ...string) {
				v.put(stateMetrics, v.shard(vol.Name), life.clip(vol.Span), value, pairs...)
			})
		}
	}}
}

func storageFamilies() []family {
	claim := func(vol *Volume) []string {
		return []string{"namespace", vol.Namespace, "persistentvolumeclaim", vol.Claim}
	}
	return []family{
		perVolume("kube_persistentvolume_info", func(vol *Volume, put podPut) {
			put(vol.Span, one, "persistentvolume", vol.Name, "storageclass", vol.Class, "csi_driver", vol.Driver, "csi_volume_handle", vol.Handle)
		}),
		perVolume("kube_persistentvolume_capacity_bytes", func(vol *Volume, put podPut) {
			put(vol.Span, gauge(vol.Size, 1), "persistentvolume", vol.Name)
		}),
		perVolume("kube_persistentvolume_claim_ref", func(vol *Volume, put podPut) {
			put(vol.Span, one, "persistentvolume", vol.Name, "name", vol.Claim, "claim_namespace", vol.Namespace)
		}),
		perVolume("kube_persistentvolume_status_phase", func(vol *Volume, put podPut) {
			for _, phase := range []string{"Pending", "Available", "Bound", "Released", "Failed"} {
				put(vol.Span, flag(phase == "Bound"), "persistentvolume", vol.Name, "phase", phase)
			}
		}),
		perVolume("kube_persistentvolumeclaim_info", func(vol *Volume, put podPut) {
			put(vol.Span, one, append(claim(vol), "storageclass", vol.Class, "volumename", vol.Name, "volumemode", "Filesystem")...)
		}),
		perVolume("kube_persistentvolumeclaim_resource_requests_storage_bytes", func(vol *Volume, put podPut) {
			put(vol.Span, gauge(vol.Size, 1), claim(vol)...)
		}),
		{"kube_pod_spec_volumes_persistentvolumeclaims_info", mounts},
		{"kubelet_volume_stats_capacity_bytes", func(v *view) { v.volumeStats(func(vol *Volume) Shape { return vol.Size }) }},
		{"kubelet_volume_stats_used_bytes", func(v *view) { v.volumeStats(func(vol *Volume) Shape { return vol.Used }) }},
	}
}

func mounts(v *view) {
	for i := range v.Volumes {
		vol := &v.Volumes[i]
		for _, j := range vol.Pods {
			p := &v.Pods[j]
			v.put(stateMetrics, v.shard(p.UID), p.life(), one, "namespace", p.Namespace, "pod", p.Name, "uid", p.UID,
				"volume", "data", "persistentvolumeclaim", vol.Claim)
		}
	}
}

// volumeStats are exported by each kubelet that mounts the volume, once for all of its pods.
func (v *view) volumeStats(shape func(*Volume) Shape) {
	for i := range v.Volumes {
		vol := &v.Volumes[i]
		if !shape(vol).Set() {
			continue
		}
		lives := map[int][]Span{}
		var nodes []int
		for _, j := range vol.Pods {
			p := &v.Pods[j]
			s := p.sandbox().clip(vol.Span)
			if s.empty() {
				continue
			}
			if lives[p.Node] == nil {
				nodes = append(nodes, p.Node)
			}
			lives[p.Node] = append(lives[p.Node], s)
		}
		for _, n := range nodes {
			for _, s := range lives[n] {
				v.put(kubelet, n, s, gauge(shape(vol), 1), "namespace", vol.Namespace, "persistentvolumeclaim", vol.Claim)
			}
		}
	}
}

package cluster

func perService(name string, fn func(v *view, s *Service, put podPut)) family {
	return family{name, func(v *view) {
		for i := range v.Services {
			s := &v.Services[i]
			fn(v, s, func(life Span, value func(int64) float64, pairs ...string) {
				v.put(stateMetrics, v.shard(s.UID), life.clip(s.Span), value, append([]string{"namespace", s.Namespace}, pairs...)...)
			})
		}
	}}
}

// slice is the name of the only EndpointSlice of a service.
func (s *Service) slice() string { return s.Name + "-" + digest(s.UID)[:5] }

func serviceFamilies() []family {
	return []family{
		perService("kube_service_info", func(_ *view, s *Service, put podPut) {
			put(s.Span, one, "service", s.Name, "uid", s.UID, "cluster_ip", s.IP, "load_balancer_ip", "", "external_traffic_policy", "Cluster")
		}),
		perService("kube_service_spec_type", func(_ *view, s *Service, put podPut) {
			put(s.Span, one, "service", s.Name, "uid", s.UID, "type", s.Type)
		}),
		perService("kube_service_status_load_balancer_ingress", func(_ *view, s *Service, put podPut) {
			if s.Type == "LoadBalancer" {
				put(s.Span, one, "service", s.Name, "uid", s.UID, "ip", s.IngressIP)
			}
		}),
		perService("kube_endpointslice_info", func(_ *view, s *Service, put podPut) {
			put(s.Span, one, "endpointslice", s.slice(), "addresstype", "IPv4")
		}),
		perService("kube_endpointslice_labels", func(_ *view, s *Service, put podPut) {
			put(s.Span, one, "endpointslice", s.slice(), "label_kubernetes_io_service_name", s.Name)
		}),
		perService("kube_endpointslice_endpoints", func(v *view, s *Service, put podPut) {
			for _, i := range s.Pods {
				p := &v.Pods[i]
				put(p.ready(), one, "endpointslice", s.slice(), "address", p.IP, "ready", "true", "serving", "true", "terminating", "false",
					"targetref_kind", "Pod", "targetref_name", p.Name, "targetref_namespace", p.Namespace,
					"endpoint_nodename", v.nodeOf(p).Name, "endpoint_zone", v.nodeOf(p).Zone)
			}
		}),
	}
}

// nodeOf is a pod's node, or nothing.
func (c *Cluster) nodeOf(p *Pod) *Node {
	if p.Node < 0 {
		return &Node{}
	}
	return &c.Nodes[p.Node]
}

// ready is how long the pod is behind its services.
func (p *Pod) ready() Span { return p.phases()["Running"] }

package querier

import (
	"context"

	"github.com/varve-io/varve/pkg/tenant"
)

// TenantLabel is the label that tells the tenants of a federated read apart, as in Cortex and Mimir.
const TenantLabel = "__tenant_id__"

type tenantsKey struct{}

// WithTenants says whose data a request reads: one tenant, or several for a federated read.
func WithTenants(ctx context.Context, ids []tenant.ID) context.Context {
	return context.WithValue(ctx, tenantsKey{}, ids)
}

// TenantsFrom is what WithTenants put into the context; ok is false if nothing did.
func TenantsFrom(ctx context.Context) (ids []tenant.ID, ok bool) {
	ids, ok = ctx.Value(tenantsKey{}).([]tenant.ID)
	return ids, ok && len(ids) > 0
}

// tenantsOf is TenantsFrom with the anonymous tenant for contexts that name none.
func tenantsOf(ctx context.Context) []tenant.ID {
	if ids, ok := TenantsFrom(ctx); ok {
		return ids
	}
	return []tenant.ID{tenant.Anonymous}
}

package integration

import (
	"net"
	"testing"
)

// The account that every Azurite has; it is public.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// AzuriteServer is Microsoft's emulator of Azure's blob storage. It has no container yet.
type AzuriteServer struct {
	*Process
	Endpoint         string // host:port, without TLS
	Account, Key     string
	ConnectionString string
}

// Azurite starts an emulator that is empty.
func Azurite(t testing.TB) *AzuriteServer {
	t.Helper()
	a := &AzuriteServer{Endpoint: freeAddress(t), Account: azuriteAccount, Key: azuriteKey}
	a.ConnectionString = "DefaultEndpointsProtocol=http;AccountName=" + a.Account + ";AccountKey=" + a.Key +
		";BlobEndpoint=http://" + a.Endpoint + "/" + a.Account + ";"
	host, port, err := net.SplitHostPort(a.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	a.Process = Start(t, Program{
		Name: "azurite",
		Path: part(t, "npm", "node_modules", ".bin", "azurite-blob"),
		Args: []string{
			"--blobHost", host, "--blobPort", port, "--location", t.TempDir(),
			"--disableTelemetry", "--skipApiVersionCheck",
		},
		Ready: "tcp://" + a.Endpoint,
	})
	return a
}

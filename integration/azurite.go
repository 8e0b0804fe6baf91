package integration

import (
	"net"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// The account that every Azurite has; it is public.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// AzuriteServer is Microsoft's emulator of Azure's blob storage, with one container.
type AzuriteServer struct {
	*Process
	URL          string // of the account
	Account, Key string
	Container    string
}

// Azurite starts an emulator that is empty.
func Azurite(t testing.TB) *AzuriteServer {
	t.Helper()
	address := freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	a := &AzuriteServer{Account: azuriteAccount, Key: azuriteKey, Container: "varve"}
	a.URL = "http://" + address + "/" + a.Account
	a.Process = Start(t, Program{
		Name: "azurite",
		Path: part(t, "npm", "node_modules", ".bin", "azurite-blob"),
		Args: []string{
			"--blobHost", host, "--blobPort", port, "--location", t.TempDir(),
			"--disableTelemetry", "--skipApiVersionCheck",
		},
		Ready: "tcp://" + address,
	})
	a.createContainer(t)
	return a
}

func (a *AzuriteServer) createContainer(t testing.TB) {
	t.Helper()
	credential, err := azblob.NewSharedKeyCredential(a.Account, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := azblob.NewClientWithSharedKeyCredential(a.URL, credential, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateContainer(t.Context(), a.Container, nil); err != nil {
		t.Fatalf("create a container: %v", err)
	}
}

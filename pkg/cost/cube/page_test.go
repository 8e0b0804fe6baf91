package cube

import (
	"os"
	"strings"
	"testing"
)

// The page for strangers has the schemas as they are.
func TestThePageHasTheSchemas(t *testing.T) {
	page, err := os.ReadFile("../../../docs/formats/cube.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{
		workloadTable().schema.String(), nodeTable().schema.String(), assetTable().schema.String(), shareTable().schema.String(),
		scalingTable("hour").schema.String(), warningTable("hour").schema.String(), itemTable().schema.String(), billTable().schema.String(),
		lifeTable().schema.String(), scalerTable("hour").schema.String(),
	} {
		if !strings.Contains(string(page), schema) {
			t.Errorf("docs/formats/cube.md lacks\n%s", schema)
		}
	}
}

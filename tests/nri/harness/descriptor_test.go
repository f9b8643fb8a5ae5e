package harness

import (
	"os"
	"strings"
	"testing"
)

// The crate's own test compares its messages with that file.
func TestDescriptorThatTheCrateIsComparedWithIsThatOfTheModule(t *testing.T) {
	text, err := os.ReadFile(os.Getenv("PORTCULLIS_NRI_DESCRIPTOR"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(text)) != strings.Join(Descriptor(), "\n") {
		t.Fatal("nri/tests/descriptor.txt differs; (cd tests/nri/harness && go run ./descriptor) prints what it should be")
	}
}

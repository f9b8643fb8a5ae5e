// Prints what the Go module says of the protocol, for nri/tests/descriptor.txt.
package main

import (
	"fmt"
	"strings"

	"portcullis.dev/tests/nri"
)

func main() { fmt.Println(strings.Join(harness.Descriptor(), "\n")) }

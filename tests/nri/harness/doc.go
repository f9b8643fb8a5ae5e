// Package harness tests plugins of the crate nri against the Go module's runtime side, pkg/adaptation, of NRI 0.12.5.
// tests/nri/run builds and runs it.
package harness

// Package before tests plugins of the crate nri against the Go module's runtime side, pkg/adaptation, of NRI 0.9.0:
// before seccomp policies, validators, calls for each event and the runtime saying its version. tests/nri/run builds
// and runs it.
package before

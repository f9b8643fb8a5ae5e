package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const mebibyte = 1 << 20

// A policy with arguments, errno and names that takes a mebibyte at least.
func largePolicy() *api.LinuxSeccomp {
	policy := &api.LinuxSeccomp{
		DefaultAction: "SCMP_ACT_ERRNO", DefaultErrno: &api.OptionalUInt32{Value: 38},
		Architectures: []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}, Flags: []string{"SECCOMP_FILTER_FLAG_LOG"},
		ListenerPath: "/run/listener.sock", ListenerMetadata: "metadata",
	}
	for number := 0; proto.Size(policy) < mebibyte; number += 100 {
		for each := range 100 {
			policy.Syscalls = append(policy.Syscalls, &api.LinuxSyscall{
				Names: []string{fmt.Sprintf("call_%d", number+each)}, Action: "SCMP_ACT_ALLOW",
				ErrnoRet: &api.OptionalUInt32{Value: uint32(each)},
				Args:     []*api.LinuxSeccompArg{{Index: 5, Value: 1 << 63, ValueTwo: ^uint64(0), Op: "SCMP_CMP_MASKED_EQ"}},
			})
		}
	}
	return policy
}

func TestPolicyOfAMebibyteGoesInAndComesBackWhole(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("echo", "10", "policy=echo")
	created := container("c")
	created.Linux.SeccompPolicy = largePolicy()
	for range 5 {
		adjust := r.created(proto.Clone(created).(*api.Container))
		if !proto.Equal(adjust.GetLinux().GetSeccompPolicy(), created.Linux.SeccompPolicy) {
			t.Fatal("the policy came back changed")
		}
	}
	t.Logf("%.1f MiB in memory at most", float64(plugin.MemoryPeak())/mebibyte)
	if peak := plugin.MemoryPeak(); peak > 64*mebibyte {
		t.Fatalf("the plugin had %d bytes in memory", peak)
	}
}

// Lengths around the 4,096 bytes that the Go side reads at a time.
func TestPoliciesOfAllLengthsComeBackWhole(t *testing.T) {
	r := start(t, setting{})
	r.plugin("echo", "10", "policy=echo")
	created := container("c")
	created.Linux.SeccompPolicy = &api.LinuxSeccomp{DefaultAction: "SCMP_ACT_ALLOW"}
	for _, length := range []int{0, 1, 4_000, 4_050, 4_060, 4_070, 4_080, 4_090, 4_096, 4_100, 8_192, 65_536} {
		created.Linux.SeccompPolicy.ListenerMetadata = strings.Repeat("m", length)
		adjust := r.created(proto.Clone(created).(*api.Container))
		if !proto.Equal(adjust.GetLinux().GetSeccompPolicy(), created.Linux.SeccompPolicy) {
			t.Fatalf("a policy with %d bytes came back changed", length)
		}
	}
}

func TestAnnotationAndHookOfAMebibyteReachTheContainer(t *testing.T) {
	r := start(t, setting{})
	r.plugin("large", "10", fmt.Sprint("annotation=", mebibyte), fmt.Sprint("hooks=", mebibyte), "policy=437")
	adjust := r.created(container("c"))
	if length := len(adjust.Annotations["scripted/annotation"]); length != mebibyte {
		t.Fatalf("an annotation of %d bytes", length)
	}
	if length := len(adjust.Hooks.CreateRuntime[0].Args[1]); length != mebibyte {
		t.Fatalf("an argument of %d bytes", length)
	}
	if rulesOf(adjust) != 437 {
		t.Fatalf("%d rules", rulesOf(adjust))
	}
}

func TestAnswerBeyondTheLimitRefusesTheContainer(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("larger", "10", fmt.Sprint("annotation=", 4*mebibyte))
	r.refused(container("c"), "exceeds the limit of 4194304")
	r.refused(container("d"), "exceeds the limit of 4194304")
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was disconnected")
	}
}

func TestRefusalReachesTheRuntimeWordForWord(t *testing.T) {
	r := start(t, setting{})
	r.plugin("refuses", "10", "refuse=profile \"web\" is not on this node")
	_, err := r.create(container("c"))
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatal(err)
	}
	if message := status.Convert(err).Message(); message != `profile "web" is not on this node` {
		t.Fatal(message)
	}
}

func TestTwoPluginsInConflictOverThePolicyAreBothNamed(t *testing.T) {
	r := start(t, setting{})
	r.plugin("one", "10", "policy=1")
	r.plugin("two", "20", "policy=2")
	r.refused(container("c"), "10-one", "20-two", "both tried to set SeccompPolicy")
}

func TestPluginsAreCalledInTheOrderOfTheirIndex(t *testing.T) {
	r := start(t, setting{})
	last := r.plugin("last", "90", "policy=echo")
	r.plugin("first", "10", "refuse=first")
	r.refused(container("c"), "first")
	if last.Said("event CreateContainer") > 0 {
		t.Fatal("the last plugin was asked")
	}
}

func TestPluginThatPanicsRefusesTheContainer(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("panics", "10", "panic=yes")
	r.refused(container("c"), "the plugin panicked while it handled CreateContainer")
	r.refused(container("d"), "the plugin panicked while it handled CreateContainer")
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was disconnected")
	}
}

package harness

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"portcullis.dev/tests/nri/kit"
)

// The calls that were StateChange before NRI 0.12.
var notifications = []string{
	"RunPodSandbox", "PostUpdatePodSandbox", "StopPodSandbox", "RemovePodSandbox", "PostCreateContainer",
	"StartContainer", "PostStartContainer", "PostUpdateContainer", "RemoveContainer",
}

// live takes a pod and a container through everything that can happen to them, and gives what plugins should hear.
func (r *runtime) live() (expected []string) {
	r.t.Helper()
	ctx := context.Background()
	p, c := pod("p"), container("c")
	expect := func(event, container string, err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatalf("%s: %v", event, err)
		}
		expected = append(expected, fmt.Sprintf("event %s p %s", event, container))
	}
	expect("RunPodSandbox", "-", r.RunPodSandbox(ctx, &api.RunPodSandboxRequest{Pod: p}))
	_, err := r.UpdatePodSandbox(ctx, &api.UpdatePodSandboxRequest{Pod: p})
	expect("UpdatePodSandbox", "-", err)
	expect("PostUpdatePodSandbox", "-", r.PostUpdatePodSandbox(ctx, &api.PostUpdatePodSandboxRequest{Pod: p}))
	_, err = r.create(c)
	expect("CreateContainer", "c", err)
	expect("PostCreateContainer", "c", r.PostCreateContainer(ctx, &api.PostCreateContainerRequest{Pod: p, Container: c}))
	expect("StartContainer", "c", r.StartContainer(ctx, &api.StartContainerRequest{Pod: p, Container: c}))
	expect("PostStartContainer", "c", r.PostStartContainer(ctx, &api.PostStartContainerRequest{Pod: p, Container: c}))
	_, err = r.UpdateContainer(ctx, &api.UpdateContainerRequest{Pod: p, Container: c, LinuxResources: &api.LinuxResources{}})
	expect("UpdateContainer", "c", err)
	expect("PostUpdateContainer", "c", r.PostUpdateContainer(ctx, &api.PostUpdateContainerRequest{Pod: p, Container: c}))
	_, err = r.StopContainer(ctx, &api.StopContainerRequest{Pod: p, Container: c})
	expect("StopContainer", "c", err)
	expect("RemoveContainer", "c", r.RemoveContainer(ctx, &api.RemoveContainerRequest{Pod: p, Container: c}))
	expect("StopPodSandbox", "-", r.StopPodSandbox(ctx, &api.StopPodSandboxRequest{Pod: p}))
	expect("RemovePodSandbox", "-", r.RemovePodSandbox(ctx, &api.RemovePodSandboxRequest{Pod: p}))
	return expected
}

func heard(plugin *kit.Plugin) (events []string) {
	for _, line := range plugin.Lines() {
		if len(line) > 6 && line[:6] == "event " {
			events = append(events, line)
		}
	}
	return events
}

func compare(t *testing.T, plugin *kit.Plugin, expected []string) {
	t.Helper()
	if events := heard(plugin); !slices.Equal(events, expected) {
		t.Fatalf("heard %q\nexpected %q", events, expected)
	}
}

func TestEveryEventArrivesInACallOfItsOwn(t *testing.T) {
	called := map[string]bool{}
	r := start(t, setting{call: func(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, call ttrpc.Invoker) error {
		called[request.Method] = true
		return call(ctx, request, answer)
	}})
	plugin := r.plugin("hears", "10")
	compare(t, plugin, r.live())
	if called["StateChange"] {
		t.Fatal("the runtime fell back on StateChange")
	}
	for _, method := range notifications {
		if !called[method] {
			t.Fatalf("%s was not called", method)
		}
	}
}

// A runtime falls back on StateChange where a plugin does not know the call.
func TestEveryEventArrivesAsStateChange(t *testing.T) {
	changes := 0
	r := start(t, setting{call: func(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, call ttrpc.Invoker) error {
		if slices.Contains(notifications, request.Method) {
			return status.Error(codes.Unimplemented, "kept from the plugin")
		}
		if request.Method == "StateChange" {
			changes++
		}
		return call(ctx, request, answer)
	}})
	plugin := r.plugin("hears", "10")
	compare(t, plugin, r.live())
	if changes != len(notifications) {
		t.Fatalf("%d calls of StateChange", changes)
	}
}

func TestOnlyEventsThatWereAskedForArrive(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("few", "10", "events=StartContainer,StopPodSandbox")
	r.live()
	compare(t, plugin, []string{"event StartContainer p c", "event StopPodSandbox p -"})
}

// To the runtime no events are all events.
func TestPluginThatAsksForNoEventHearsNone(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("deaf", "10", "events=none", "policy=1", "refuse=never")
	r.live()
	compare(t, plugin, nil)
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was disconnected")
	}
}

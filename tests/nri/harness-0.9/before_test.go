package before

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"

	"portcullis.dev/tests/nri/kit"
)

type runtime struct {
	*adaptation.Adaptation
	t      testing.TB
	socket string
}

// start gives a runtime that says it is this containerd.
func start(t testing.TB, version string, timeout time.Duration, pods []*api.PodSandbox, containers []*api.Container) *runtime {
	t.Helper()
	adaptation.SetPluginRequestTimeout(timeout)
	adaptation.SetPluginRegistrationTimeout(kit.Patience)
	socket, nowhere := filepath.Join(kit.Folder(t), "nri.sock"), kit.Folder(t)
	made, err := adaptation.New("containerd", version,
		func(ctx context.Context, call adaptation.SyncCB) error {
			_, err := call(ctx, pods, containers)
			return err
		},
		func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil },
		adaptation.WithSocketPath(socket), adaptation.WithPluginPath(nowhere), adaptation.WithPluginConfigPath(nowhere))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Stop)
	return &runtime{made, t, socket}
}

func (r *runtime) plugin(name, index string, script ...string) *kit.Plugin {
	r.t.Helper()
	plugin := kit.Start(r.t, r.socket, name, index, script...)
	plugin.Await("synchronized")
	r.BlockPluginSync().Unblock()
	return plugin
}

func (r *runtime) create() (*api.CreateContainerResponse, error) {
	return r.CreateContainer(context.Background(), &api.CreateContainerRequest{Pod: pod("p"), Container: container("c")})
}

func pod(id string) *api.PodSandbox {
	return &api.PodSandbox{
		Id: id, Name: "name-" + id, Namespace: "default",
		Annotations: map[string]string{"example.com/about": strings.Repeat("a", 300)},
	}
}

func container(id string) *api.Container {
	return &api.Container{Id: id, PodSandboxId: "p", Name: "name-" + id, Linux: &api.LinuxContainer{}}
}

// Asking this runtime for validation would be the end of the registration.
func TestOldRuntimeIsNotAskedForWhatItLacksAndTheLackIsTold(t *testing.T) {
	r := start(t, "v2.1.4", kit.Patience, nil, nil)
	plugin := r.plugin("all", "10", "events=all", "policy=437")
	lacking := []string{
		"lacking: it drops seccomp policies silently (before NRI 0.10)",
		"lacking: it asks no validators (before NRI 0.10)",
		"lacking: it does not tell of changes to pods (before NRI 0.10)",
		"lacking: it ignores failure policies (before NRI 0.12.4)",
	}
	if line := plugin.Lines()[0]; !strings.HasPrefix(line, "configured by containerd v2.1.4 nri 0.6.0 waits 60s") {
		t.Fatal(line)
	}
	if lines := plugin.Lines()[1:5]; !slices.Equal(lines, lacking) {
		t.Fatal(lines)
	}
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was disconnected")
	}
}

func TestPolicyVanishesButAnnotationsAndHooksArrive(t *testing.T) {
	r := start(t, "v2.1.4", kit.Patience, nil, nil)
	r.plugin("sets", "10", "policy=437", "annotation=1048576", "hooks=1048576")
	answer, err := r.create()
	if err != nil {
		t.Fatal(err)
	}
	if length := len(answer.Adjust.Annotations["scripted/annotation"]); length != 1<<20 {
		t.Fatalf("an annotation of %d bytes", length)
	}
	if length := len(answer.Adjust.Hooks.CreateRuntime[0].Args[1]); length != 1<<20 {
		t.Fatalf("an argument of %d bytes", length)
	}
	if linux := answer.Adjust.Linux.String(); strings.Contains(linux, "call_000000") {
		t.Fatalf("a policy arrived: %.200s", linux)
	}
}

func TestRefusalReachesTheRuntime(t *testing.T) {
	r := start(t, "v2.1.4", kit.Patience, nil, nil)
	r.plugin("refuses", "10", "refuse=not on this node")
	if _, err := r.create(); err == nil || !strings.Contains(err.Error(), "not on this node") {
		t.Fatal(err)
	}
}

func TestSlowPluginRefusesBeforeTheRuntimeDropsIt(t *testing.T) {
	r := start(t, "v2.1.4", time.Second, nil, nil)
	r.plugin("slow", "10", "delay=60000")
	for range 2 {
		if _, err := r.create(); err == nil || !strings.Contains(err.Error(), "CreateContainer was not handled within 900 ms") {
			t.Fatal(err)
		}
	}
}

func TestEveryEventArrives(t *testing.T) {
	r := start(t, "v2.1.4", kit.Patience, nil, nil)
	plugin := r.plugin("hears", "10", "events=all")
	ctx, p, c := context.Background(), pod("p"), container("c")
	change := func(container *api.Container) *api.StateChangeEvent {
		return &api.StateChangeEvent{Pod: p, Container: container}
	}
	var expected []string
	expect := func(event, container string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		expected = append(expected, fmt.Sprintf("event %s p %s", event, container))
	}
	expect("RunPodSandbox", "-", r.RunPodSandbox(ctx, change(nil)))
	_, err := r.create()
	expect("CreateContainer", "c", err)
	expect("PostCreateContainer", "c", r.PostCreateContainer(ctx, change(c)))
	expect("StartContainer", "c", r.StartContainer(ctx, change(c)))
	expect("PostStartContainer", "c", r.PostStartContainer(ctx, change(c)))
	_, err = r.UpdateContainer(ctx, &api.UpdateContainerRequest{Pod: p, Container: c, LinuxResources: &api.LinuxResources{}})
	expect("UpdateContainer", "c", err)
	expect("PostUpdateContainer", "c", r.PostUpdateContainer(ctx, change(c)))
	_, err = r.StopContainer(ctx, &api.StopContainerRequest{Pod: p, Container: c})
	expect("StopContainer", "c", err)
	expect("RemoveContainer", "c", r.RemoveContainer(ctx, change(c)))
	expect("StopPodSandbox", "-", r.StopPodSandbox(ctx, change(nil)))
	expect("RemovePodSandbox", "-", r.RemovePodSandbox(ctx, change(nil)))
	var heard []string
	for _, line := range plugin.Lines() {
		if strings.HasPrefix(line, "event ") {
			heard = append(heard, line)
		}
	}
	if !slices.Equal(heard, expected) {
		t.Fatalf("heard %q\nexpected %q", heard, expected)
	}
}

func TestSynchronizeOfTwelveThousandPods(t *testing.T) {
	const count = 12_000
	var pods []*api.PodSandbox
	var containers []*api.Container
	for number := range count {
		id := fmt.Sprintf("%064d", number)
		pods, containers = append(pods, pod(id)), append(containers, container(id))
	}
	r := start(t, "v2.1.4", kit.Patience, pods, containers)
	plugin := kit.Start(t, r.socket, "many", "10")
	plugin.Await(fmt.Sprintf("synchronized %d %d", count, count))
}

func TestPluginThatIsStartedAgainIsTakenInAgain(t *testing.T) {
	r := start(t, "v2.1.4", kit.Patience, nil, nil)
	r.plugin("again", "10", "annotation=1").Kill()
	r.plugin("again", "10", "annotation=2")
	answer, err := r.create()
	if err != nil {
		t.Fatal(err)
	}
	if length := len(answer.Adjust.Annotations["scripted/annotation"]); length != 2 {
		t.Fatalf("an annotation of %d bytes", length)
	}
}

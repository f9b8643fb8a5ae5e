package harness

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/ttrpc"

	"portcullis.dev/tests/nri/kit"
)

func TestPluginRegistersIsConfiguredAndSynchronized(t *testing.T) {
	r := start(t, setting{pods: []*api.PodSandbox{pod("p")}, containers: []*api.Container{container("c")}})
	plugin := kit.Start(t, r.socket, "first", "10")
	if line := plugin.Await("configured"); !strings.HasPrefix(line, "configured by runtime v1.2.3 nri 0.12.5 waits 60s") {
		t.Fatal(line)
	}
	plugin.Await("synchronized 1 1")
	if plugin.Said("lacking") > 0 {
		t.Fatal("NRI 0.12.5 lacks nothing")
	}
}

// Some are built so that they do not know it; that they say something tells that they are not old.
func TestRuntimeThatDoesNotKnowItsVersionLacksNoMoreThanItMust(t *testing.T) {
	for _, version := range []string{"0.0.0-unknown", "(devel)"} {
		r := start(t, setting{version: version})
		plugin := kit.Start(t, r.socket, "first", "10")
		plugin.Await("configured by runtime v1.2.3 nri 0.12.0")
		plugin.Await("synchronized")
		if plugin.Said("lacking") != plugin.Said("lacking: it ignores failure policies") {
			t.Fatal(plugin.Lines())
		}
	}
}

// The runtime's answer to RegisterPlugin is held back until the plugin has answered Configure.
func TestConfigureMayComeBeforeTheAnswerToRegister(t *testing.T) {
	configured := make(chan struct{})
	r := start(t, setting{
		call: func(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, call ttrpc.Invoker) error {
			err := call(ctx, request, answer)
			if request.Method == "Configure" {
				close(configured)
			}
			return err
		},
		server: []ttrpc.ServerOpt{ttrpc.WithUnaryServerInterceptor(
			func(ctx context.Context, decode ttrpc.Unmarshaler, _ *ttrpc.UnaryServerInfo, method ttrpc.Method) (any, error) {
				answer, err := method(ctx, decode)
				select {
				case <-configured:
				case <-time.After(kit.Patience):
					return nil, fmt.Errorf("Configure was not answered before RegisterPlugin")
				}
				return answer, err
			})},
	})
	plugin := r.plugin("early", "10", "policy=3")
	if count := rulesOf(r.created(container("c"))); count != 3 {
		t.Fatalf("%d rules", count)
	}
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was disconnected")
	}
}

func TestSynchronizeOfTwelveThousandPodsComesInParts(t *testing.T) {
	const count = 12_000
	var parts atomic.Int32
	s := setting{call: func(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, call ttrpc.Invoker) error {
		err := call(ctx, request, answer)
		if request.Method == "Synchronize" && err == nil {
			parts.Add(1)
		}
		return err
	}}
	for number := range count {
		id := fmt.Sprintf("%064d", number)
		s.pods = append(s.pods, pod(id))
		s.containers = append(s.containers, container(id))
	}
	r := start(t, s)
	plugin := kit.Start(t, r.socket, "many", "10", "policy=1")
	plugin.Await(fmt.Sprintf("synchronized %d %d", count, count))
	r.settle()
	if parts.Load() < 2 {
		t.Fatalf("%d parts", parts.Load())
	}
	t.Logf("%.1f MiB in memory at most", float64(plugin.MemoryPeak())/(1<<20))
	if peak := plugin.MemoryPeak(); peak > 128<<20 {
		t.Fatalf("the plugin had %d bytes in memory", peak)
	}
	if rulesOf(r.created(container("c"))) != 1 {
		t.Fatal("no policy")
	}
}

func TestPluginAsksForUpdatesOutsideOfRequests(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("updates", "10", "update=other")
	plugin.Await("updated, 0 failed")
	updates := <-r.updated
	if len(updates) != 1 || updates[0].ContainerId != "other" {
		t.Fatal(updates)
	}
}

func TestPluginWaitsForARuntimeThatComesLater(t *testing.T) {
	socket := filepath.Join(kit.Folder(t), "nri.sock")
	plugin := kit.Start(t, socket, "first", "10", "policy=1")
	plugin.Await("disconnected: cannot connect to " + socket)
	plugin.Await("disconnected: cannot connect to " + socket)
	r := start(t, setting{socket: socket})
	plugin.Await("synchronized")
	r.settle()
	if rulesOf(r.created(container("c"))) != 1 {
		t.Fatal("no policy")
	}
}

// The runtime takes in one plugin at a time, and gives up on a silent one only after a while.
func TestPluginWaitsBehindASilentConnection(t *testing.T) {
	r := start(t, setting{silence: 3 * time.Second})
	silent, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	plugin := r.plugin("patient", "10")
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin gave up")
	}
}

func TestPluginWithAnIndexThatIsNotTwoDigitsEnds(t *testing.T) {
	plugin := kit.Start(t, "/nowhere", "wrong", "1x")
	if plugin.AwaitExit() == 0 {
		t.Fatal("exit code 0")
	}
	plugin.Await(`ended: plugin index "1x" is not two digits`)
}

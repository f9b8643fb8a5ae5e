package harness

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	validator "github.com/containerd/nri/plugins/default-validator/builtin"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"

	"portcullis.dev/tests/nri/kit"
)

// What the Go module calls the validator's configuration.
type rules = validator.DefaultValidatorConfig

// A runtime of this process, with nothing of a runtime but its NRI.
type runtime struct {
	*adaptation.Adaptation
	t       testing.TB
	socket  string
	updated chan []*api.ContainerUpdate
}

// What a runtime has, and how it is set.
type setting struct {
	socket     string
	pods       []*api.PodSandbox
	containers []*api.Container
	validator  *rules
	launch     string                       // where plugins are that it launches
	configured string                       // where their configuration is
	call       ttrpc.UnaryClientInterceptor // around each call of a plugin
	server     []ttrpc.ServerOpt
	version    string        // of NRI, as it says; default: this one's
	timeout    time.Duration // for requests
	silence    time.Duration // for registration
}

func (s setting) adaptation(updated chan []*api.ContainerUpdate) (*adaptation.Adaptation, error) {
	synchronize := func(ctx context.Context, call adaptation.SyncCB) error {
		_, err := call(ctx, s.pods, s.containers)
		return err
	}
	update := func(_ context.Context, updates []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) {
		updated <- updates
		return nil, nil
	}
	calls := []ttrpc.UnaryClientInterceptor{saying(cmp.Or(s.version, "v0.12.5"))}
	if s.call != nil {
		calls = append(calls, s.call)
	}
	options := []adaptation.Option{
		adaptation.WithSocketPath(s.socket),
		adaptation.WithPluginPath(s.launch),
		adaptation.WithPluginConfigPath(s.configured),
		adaptation.WithTTRPCOptions([]ttrpc.ClientOpts{ttrpc.WithChainUnaryClientInterceptor(calls...)}, s.server),
	}
	if s.validator != nil {
		s.validator.Enable = true
		options = append(options, adaptation.WithDefaultValidator(s.validator))
	}
	return adaptation.New("runtime", "v1.2.3", synchronize, update, options...)
}

// saying puts a version of NRI into Configure: a test program does not know that of the module.
func saying(version string) ttrpc.UnaryClientInterceptor {
	return func(ctx context.Context, request *ttrpc.Request, answer *ttrpc.Response, _ *ttrpc.UnaryClientInfo, call ttrpc.Invoker) error {
		if request.Method == "Configure" {
			var told api.ConfigureRequest
			err := proto.Unmarshal(request.Payload, &told)
			if err != nil {
				return err
			}
			told.NRIVersion = version
			if request.Payload, err = proto.Marshal(&told); err != nil {
				return err
			}
		}
		return call(ctx, request, answer)
	}
}

func start(t testing.TB, s setting) *runtime {
	t.Helper()
	if s.socket == "" {
		s.socket = filepath.Join(kit.Folder(t), "nri.sock")
	}
	// Only where lateness is what a test is about may a busy machine matter.
	adaptation.SetPluginRequestTimeout(cmp.Or(s.timeout, kit.Patience))
	adaptation.SetPluginRegistrationTimeout(cmp.Or(s.silence, kit.Patience))
	updated := make(chan []*api.ContainerUpdate, 16)
	made, err := s.adaptation(updated)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Stop)
	return &runtime{Adaptation: made, t: t, socket: s.socket, updated: updated}
}

// plugin starts one and waits until the runtime calls it.
func (r *runtime) plugin(name, index string, script ...string) *kit.Plugin {
	r.t.Helper()
	plugin := kit.Start(r.t, r.socket, name, index, script...)
	plugin.Await("synchronized")
	r.settle()
	return plugin
}

// settle waits until a plugin that was synchronized is among those that are called.
func (r *runtime) settle() { r.BlockPluginSync().Unblock() }

func (r *runtime) create(container *api.Container) (*api.CreateContainerResponse, error) {
	request := &api.CreateContainerRequest{Pod: pod("p"), Container: container}
	return r.CreateContainer(context.Background(), request)
}

// created is what the plugins change about a container that they let be created.
func (r *runtime) created(container *api.Container) *api.ContainerAdjustment {
	r.t.Helper()
	answer, err := r.create(container)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.GetAdjust()
}

// refused is the reason why a container is not created.
func (r *runtime) refused(container *api.Container, parts ...string) string {
	r.t.Helper()
	_, err := r.create(container)
	if err == nil {
		r.t.Fatal("the container was created")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			r.t.Fatalf("%q is not in %q", part, err)
		}
	}
	return err.Error()
}

func rulesOf(adjust *api.ContainerAdjustment) int {
	return len(adjust.GetLinux().GetSeccompPolicy().GetSyscalls())
}

func pod(id string) *api.PodSandbox {
	return &api.PodSandbox{
		Id: id, Name: "name-" + id, Uid: "uid-" + id, Namespace: "default",
		Annotations: map[string]string{"example.com/about": strings.Repeat("a", 300)},
	}
}

func container(id string) *api.Container {
	return &api.Container{
		Id: id, PodSandboxId: "p", Name: "name-" + id, Args: []string{"sleep", "inf"}, Linux: &api.LinuxContainer{},
	}
}

// A runtime in a process of its own, which can die.
type process struct {
	command *exec.Cmd
	input   io.Closer
	once    sync.Once
}

const runAs = "NRI_TEST_RUNTIME"

// launch runs this program as a runtime; TestMain is its other end.
func launch(t testing.TB, socket string, folders ...string) *process {
	t.Helper()
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), runAs+"="+strings.Join(append([]string{socket}, folders...), ":"))
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	started := &process{command: command, input: input}
	t.Cleanup(started.kill)
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatalf("the runtime says %q: %v", line, err)
	}
	return started
}

func (p *process) kill() {
	p.once.Do(func() {
		p.command.Process.Kill()
		p.command.Wait()
	})
}

func TestMain(m *testing.M) {
	told, found := os.LookupEnv(runAs)
	if !found {
		os.Exit(m.Run())
	}
	parts := append(strings.Split(told, ":"), "", "")
	s := setting{socket: parts[0], launch: parts[1], configured: parts[2], pods: []*api.PodSandbox{pod("p")}}
	made, err := s.adaptation(make(chan []*api.ContainerUpdate, 16))
	if err == nil {
		err = made.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// How long CreateContainer takes through the runtime side of NRI, with a plugin, with the Go module's own stub, and with
// none, in turns in one run: bench ROUNDS RULES REFERENCE COMMAND..., where {socket} in the command is the runtime's
// socket, and each container's pod selects REFERENCE by annotation.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	nrilog "github.com/containerd/nri/pkg/log"
	"github.com/containerd/nri/pkg/stub"
	"github.com/sirupsen/logrus"
)

// Where the stub's end of this program is told its socket.
const stubAt = "NRI_BENCH_STUB"

// How many containers are created in each turn, and how long a plugin may take to be there.
const (
	turn     = 50
	patience = 30 * time.Second
)

func main() {
	logrus.SetLevel(logrus.ErrorLevel)
	nrilog.Set(quiet{})
	err := error(nil)
	if socket := os.Getenv(stubAt); socket != "" {
		err = runStub(socket)
	} else {
		err = run(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type quiet struct{}

func (quiet) Debugf(context.Context, string, ...any) {}
func (quiet) Infof(context.Context, string, ...any)  {}
func (quiet) Warnf(_ context.Context, format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", arguments...)
}
func (q quiet) Errorf(ctx context.Context, format string, arguments ...any) {
	q.Warnf(ctx, format, arguments...)
}

// A runtime with its plugin, if any.
type subject struct {
	name    string
	runtime *adaptation.Adaptation
	process *exec.Cmd
	rules   int
	selects string
	made    int
	took    []time.Duration
}

func run(arguments []string) error {
	if len(arguments) < 4 {
		return errors.New("usage: bench ROUNDS RULES REFERENCE COMMAND...")
	}
	rounds, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	rules, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "nri-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	os.Setenv("NRI_BENCH_RULES", arguments[1])
	plugin, err := begin(folder, "plugin", rules, arguments[3:])
	if err != nil {
		return err
	}
	defer plugin.end()
	reference, err := begin(folder, "Go stub", rules, []string{"/proc/self/exe"})
	if err != nil {
		return err
	}
	defer reference.end()
	none, err := begin(folder, "no plugin", 0, nil)
	if err != nil {
		return err
	}
	subjects := []*subject{plugin, reference, none}
	for _, each := range subjects {
		each.selects = arguments[2]
	}
	for round := range (rounds+turn-1)/turn + 1 {
		for _, each := range subjects {
			if err := each.create(turn); err != nil {
				return fmt.Errorf("%s: %w", each.name, err)
			}
			if round == 0 {
				each.took = nil // warm now
			}
		}
	}
	fmt.Printf("| CreateContainer, %d rules, %d times | p50 | p99 | resident |\n| --- | --- | --- | --- |\n", rules, len(plugin.took))
	for _, each := range subjects {
		fmt.Printf("| %s | %.3f ms | %.3f ms | %s |\n", each.name, each.at(50), each.at(99), each.resident())
	}
	fmt.Printf("ratio plugin / Go stub: p50 %.2f, p99 %.2f\n", plugin.at(50)/reference.at(50), plugin.at(99)/reference.at(99))
	fmt.Printf("added by the plugin: p50 %.3f ms, p99 %.3f ms\n", plugin.at(50)-none.at(50), plugin.at(99)-none.at(99))
	return nil
}

// begin starts a runtime and, if there is a command, its plugin.
func begin(folder, name string, rules int, command []string) (*subject, error) {
	socket := filepath.Join(folder, strings.ReplaceAll(name, " ", "-")+".sock")
	synchronized := make(chan struct{}, 1)
	runtime, err := adaptation.New("containerd", "v2.4.2",
		func(ctx context.Context, call adaptation.SyncCB) error {
			_, err := call(ctx, nil, nil)
			select {
			case synchronized <- struct{}{}:
			default:
			}
			return err
		},
		func(context.Context, []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) { return nil, nil },
		adaptation.WithSocketPath(socket), adaptation.WithPluginPath(folder+"/none"), adaptation.WithPluginConfigPath(folder+"/none"))
	if err != nil {
		return nil, err
	}
	if err := runtime.Start(); err != nil {
		return nil, err
	}
	<-synchronized // that was those that it launches
	made := &subject{name: name, runtime: runtime, rules: rules}
	if command == nil {
		return made, nil
	}
	var words []string
	for _, word := range command {
		words = append(words, strings.ReplaceAll(word, "{socket}", socket))
	}
	made.process = exec.Command(words[0], words[1:]...)
	made.process.Env = append(os.Environ(), stubAt+"="+socket)
	made.process.Stderr = os.Stderr
	made.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := made.process.Start(); err != nil {
		return nil, err
	}
	select {
	case <-synchronized:
	case <-time.After(patience):
		return nil, fmt.Errorf("%s did not register within %v", name, patience)
	}
	runtime.BlockPluginSync().Unblock()
	return made, nil
}

func (s *subject) end() {
	s.process.Process.Kill()
	s.process.Wait()
}

func (s *subject) create(count int) error {
	for range count {
		s.made++
		id := fmt.Sprintf("%064x", s.made)
		request := &api.CreateContainerRequest{
			Pod: &api.PodSandbox{
				Id: "pod", Name: "web-5d8f9c7b6d-x2x9z", Uid: "0f0e9a3e-7c56-4f4e-9c0b-3b1f4f6f2a10", Namespace: "default",
				Annotations: map[string]string{"seccomp.security.alpha.kubernetes.io/pod": s.selects},
				Labels:      map[string]string{"app": "web"},
			},
			Container: &api.Container{
				Id: id, PodSandboxId: "pod", Name: "web", Args: []string{"/usr/bin/web", "--serve"},
				Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Linux: &api.LinuxContainer{},
			},
		}
		begun := time.Now()
		answer, err := s.runtime.CreateContainer(context.Background(), request)
		s.took = append(s.took, time.Since(begun))
		if err != nil {
			return err
		}
		if found := len(answer.GetAdjust().GetLinux().GetSeccompPolicy().GetSyscalls()); s.rules > 0 && found == 0 {
			return errors.New("the plugin sets no policy")
		}
		gone := &api.RemoveContainerRequest{Pod: request.Pod, Container: request.Container}
		if err := s.runtime.RemoveContainer(context.Background(), gone); err != nil {
			return err
		}
	}
	return nil
}

// at is a percentile in milliseconds.
func (s *subject) at(percent int) float64 {
	sorted := slices.Sorted(slices.Values(s.took))
	return float64(sorted[min(len(sorted)*percent/100, len(sorted)-1)]) / float64(time.Millisecond)
}

func (s *subject) resident() string {
	if s.process == nil {
		return "–"
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		return err.Error()
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, _ := strconv.Atoi(strings.Fields(rest)[0])
			return fmt.Sprintf("%.1f MiB", float64(kilobytes)/1024)
		}
	}
	return "?"
}

// The Go module's own plugin, for comparison.
type reference struct{ policy *api.LinuxSeccomp }

func (r reference) CreateContainer(context.Context, *api.PodSandbox, *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	return &api.ContainerAdjustment{Linux: &api.LinuxContainerAdjustment{SeccompPolicy: r.policy}}, nil, nil
}

func runStub(socket string) error {
	rules, err := strconv.Atoi(os.Getenv("NRI_BENCH_RULES"))
	if err != nil {
		return err
	}
	policy := &api.LinuxSeccomp{DefaultAction: "SCMP_ACT_ERRNO", Architectures: []string{"SCMP_ARCH_X86_64"}}
	for number := range rules {
		policy.Syscalls = append(policy.Syscalls, &api.LinuxSyscall{
			Names: []string{fmt.Sprintf("call_%06d", number)}, Action: "SCMP_ACT_ALLOW",
		})
	}
	made, err := stub.New(reference{policy}, stub.WithPluginName("stub"), stub.WithPluginIdx("10"), stub.WithSocketPath(socket))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return made.Run(ctx)
}

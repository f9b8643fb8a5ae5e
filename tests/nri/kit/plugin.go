// Package kit starts the plugin of nri/examples/scripted and waits for what it says.
package kit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take on a busy machine before a test gives up.
const Patience = 60 * time.Second

// Folder is a temporary folder with a name short enough for sockets.
func Folder(t testing.TB) string {
	folder, err := os.MkdirTemp("", "nri-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// Binary is the plugin's program.
func Binary(t testing.TB) string {
	path := os.Getenv("PORTCULLIS_NRI_PLUGIN")
	if path == "" {
		t.Fatal("PORTCULLIS_NRI_PLUGIN does not name the plugin; run tests/nri/run")
	}
	return path
}

// Log is what a plugin says of itself.
type Log struct {
	t    testing.TB
	path string
	next int
}

// NewLog follows the file in which a plugin writes; it may not exist yet.
func NewLog(t testing.TB, path string) *Log {
	log := &Log{t: t, path: path}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), strings.Join(log.Lines(), "\n"))
		}
	})
	return log
}

// Lines are all whole lines so far.
func (l *Log) Lines() []string {
	text, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		l.t.Fatal(err)
	}
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		return nil
	}
	return strings.Split(string(text[:end]), "\n")
}

// Await waits for a line that begins with prefix, after those that were awaited before.
func (l *Log) Await(prefix string) string {
	l.t.Helper()
	var found string
	Until(l.t, "the line "+strconv.Quote(prefix), func() bool {
		lines := l.Lines()
		for number := l.next; number < len(lines); number++ {
			if strings.HasPrefix(lines[number], prefix) {
				l.next = number + 1
				found = lines[number]
				return true
			}
		}
		return false
	})
	return found
}

// Said counts the lines that begin with prefix.
func (l *Log) Said(prefix string) int {
	count := 0
	for _, line := range l.Lines() {
		if strings.HasPrefix(line, prefix) {
			count++
		}
	}
	return count
}

// Plugin is a running one.
type Plugin struct {
	*Log
	command *exec.Cmd
	ended   chan struct{}
}

// Start runs the plugin against a socket, with a script of KEY=VALUE.
func Start(t testing.TB, socket, name, index string, script ...string) *Plugin {
	t.Helper()
	log := filepath.Join(Folder(t), index+"-"+name+".log")
	arguments := append([]string{socket, name, index, "log=" + log}, script...)
	plugin := &Plugin{
		Log:     NewLog(t, log),
		command: exec.Command(Binary(t), arguments...),
		ended:   make(chan struct{}),
	}
	plugin.command.Stderr = os.Stderr
	plugin.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := plugin.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		plugin.command.Wait()
		close(plugin.ended)
	}()
	t.Cleanup(func() {
		plugin.command.Process.Kill()
		<-plugin.ended
	})
	return plugin
}

// Kill ends it at once.
func (p *Plugin) Kill() {
	p.command.Process.Kill()
	<-p.ended
}

// Terminate asks it to end.
func (p *Plugin) Terminate() { p.command.Process.Signal(syscall.SIGTERM) }

// AwaitExit waits for its end and gives its exit code.
func (p *Plugin) AwaitExit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(Patience):
		p.t.Fatalf("the plugin did not end within %v", Patience)
	}
	return p.command.ProcessState.ExitCode()
}

// MemoryPeak is the most that it has had in memory, in bytes.
func (p *Plugin) MemoryPeak() int {
	p.t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.command.Process.Pid) + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				p.t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	p.t.Fatal("no VmHWM")
	return 0
}

// Until waits for a condition.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(Patience)
	for !holds() {
		if time.Now().After(end) {
			t.Fatalf("%s did not come within %v", what, Patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

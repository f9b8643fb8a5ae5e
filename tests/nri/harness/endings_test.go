package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"

	"portcullis.dev/tests/nri/kit"
)

type outcome struct {
	answer *api.CreateContainerResponse
	err    error
}

// creating starts creating a container, and waits until the plugin knows.
func (r *runtime) creating(plugin *kit.Plugin) chan outcome {
	finished := make(chan outcome, 1)
	go func() {
		answer, err := r.create(container("c"))
		finished <- outcome{answer, err}
	}()
	plugin.Await("event CreateContainer")
	return finished
}

func TestPluginIsReconnectedAndSynchronizedAgainAfterARuntimeRestart(t *testing.T) {
	socket := filepath.Join(kit.Folder(t), "nri.sock")
	first := launch(t, socket)
	plugin := kit.Start(t, socket, "stays", "10", "policy=1")
	plugin.Await("synchronized 1 0")
	first.kill()
	plugin.Await("disconnected: ")
	r := start(t, setting{socket: socket, pods: []*api.PodSandbox{pod("p"), pod("q")}})
	plugin.Await("configured")
	plugin.Await("synchronized 2 0")
	r.settle()
	if rulesOf(r.created(container("c"))) != 1 {
		t.Fatal("no policy")
	}
}

func TestPluginThatIsStartedAgainIsTakenInAgain(t *testing.T) {
	r := start(t, setting{pods: []*api.PodSandbox{pod("p")}})
	r.plugin("again", "10", "policy=1").Kill()
	plugin := r.plugin("again", "10", "policy=2")
	plugin.Kill()
	if rulesOf(r.created(container("c"))) != 0 {
		t.Fatal("a dead plugin has set a policy")
	}
	r.plugin("again", "10", "policy=3")
	if count := rulesOf(r.created(container("d"))); count != 3 {
		t.Fatalf("%d rules", count)
	}
}

func TestPluginThatIsAskedToEndAnswersWhatItWasAsked(t *testing.T) {
	r := start(t, setting{})
	plugin := r.plugin("ends", "10", "policy=7", "delay=300")
	finished := r.creating(plugin)
	plugin.Terminate()
	ended := <-finished
	if ended.err != nil || rulesOf(ended.answer.GetAdjust()) != 7 {
		t.Fatal(ended)
	}
	if code := plugin.AwaitExit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	plugin.Await("stopped")
	if rulesOf(r.created(container("d"))) != 0 {
		t.Fatal("a plugin that ended has set a policy")
	}
}

// A late plugin is dropped and the container created without it: the refusal has to come before that.
func TestSlowPluginRefusesBeforeTheRuntimeDropsIt(t *testing.T) {
	r := start(t, setting{timeout: time.Second})
	plugin := r.plugin("slow", "10", "policy=1", "delay=60000")
	for range 2 {
		r.refused(container("c"), "CreateContainer was not handled within 900 ms")
	}
	if plugin.Said("disconnected") > 0 {
		t.Fatal("the plugin was dropped")
	}
}

func TestPluginThatIsFastEnoughIsHeard(t *testing.T) {
	r := start(t, setting{timeout: 2 * time.Second})
	r.plugin("careful", "10", "policy=1", "delay=500")
	if rulesOf(r.created(container("c"))) != 1 {
		t.Fatal("no policy")
	}
}

func TestDeathOfThePluginFailsTheRequestWhereItAsksForThat(t *testing.T) {
	for fail, expected := range map[string]string{
		"no": "", "yes": "plugin 10-dies failed to handle CreateContainer request",
	} {
		t.Run("fail="+fail, func(t *testing.T) {
			r := start(t, setting{})
			plugin := r.plugin("dies", "10", "delay=60000", "fail="+fail)
			finished := r.creating(plugin)
			plugin.Kill()
			ended := <-finished
			switch {
			case expected == "" && ended.err != nil:
				t.Fatal(ended.err)
			case expected != "" && (ended.err == nil || len(ended.err.Error()) < len(expected) || ended.err.Error()[:len(expected)] != expected):
				t.Fatal(ended.err)
			}
		})
	}
}

// launched puts the plugin where a runtime launches it, with a script for its configuration.
func launched(t *testing.T, script ...string) (folder, configured string, log *kit.Log) {
	folder, configured = kit.Folder(t), kit.Folder(t)
	path := filepath.Join(kit.Folder(t), "launched.log")
	if err := os.Symlink(kit.Binary(t), filepath.Join(folder, "15-launched")); err != nil {
		t.Fatal(err)
	}
	text := "log=" + path
	for _, line := range script {
		text += "\n" + line
	}
	if err := os.WriteFile(filepath.Join(configured, "15-launched.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, configured, kit.NewLog(t, path)
}

func TestLaunchedPluginHasItsNameIndexAndConfiguration(t *testing.T) {
	folder, configured, log := launched(t, "policy=5")
	r := start(t, setting{launch: folder, configured: configured, pods: []*api.PodSandbox{pod("p")}})
	log.Await("configured by runtime v1.2.3 nri 0.12.5")
	log.Await("synchronized 1 0")
	if count := rulesOf(r.created(container("c"))); count != 5 {
		t.Fatalf("%d rules", count)
	}
	// Its name and index are what the runtime calls it.
	r.plugin("external", "20", "policy=1")
	r.refused(container("d"), "15-launched", "20-external")
}

func TestLaunchedPluginEndsWithTheRuntime(t *testing.T) {
	folder, configured, log := launched(t)
	process := launch(t, filepath.Join(kit.Folder(t), "nri.sock"), folder, configured)
	log.Await("synchronized 1 0")
	process.kill()
	log.Await("ended: ")
}

func TestLaunchedPluginWithAWrongConfigurationIsNotTakenIn(t *testing.T) {
	folder, configured, log := launched(t, "nonsense=1")
	r := start(t, setting{launch: folder, configured: configured})
	if rulesOf(r.created(container("c"))) != 0 || log.Said("synchronized") > 0 {
		t.Fatal("the plugin was taken in")
	}
}

func TestPluginThatWasLaunchedWithoutItsDescriptorEnds(t *testing.T) {
	t.Setenv("NRI_PLUGIN_SOCKET", "3")
	t.Setenv("NRI_PLUGIN_NAME", "alone")
	t.Setenv("NRI_PLUGIN_IDX", "10")
	plugin := kit.Start(t, "/nowhere", "alone", "10")
	if plugin.AwaitExit() == 0 {
		t.Fatal("exit code 0")
	}
}

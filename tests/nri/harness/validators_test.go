package harness

import (
	"testing"

	"github.com/containerd/nri/pkg/api"
)

func TestRequiredPluginHasToBeThere(t *testing.T) {
	r := start(t, setting{validator: &rules{RequiredPlugins: []string{"required"}}})
	r.refused(container("a"), `required plugin "required" not present`)
	plugin := r.plugin("required", "10", "policy=1", "fail=yes")
	if rulesOf(r.created(container("b"))) != 1 {
		t.Fatal("no policy")
	}
	plugin.Kill()
	// The validator still counts a plugin whose death the runtime finds out by asking it: its failure policy closes that.
	r.refused(container("c"), "required")
	r.refused(container("d"), `required plugin "required" not present`)
	r.plugin("required", "10", "policy=2")
	if rulesOf(r.created(container("e"))) != 2 {
		t.Fatal("no policy")
	}
}

// The validator counts the plugins that were asked, also one that died of it.
func TestRequiredPluginThatDiesDuringTheRequestIsMissedOnlyByItsFailurePolicy(t *testing.T) {
	for _, fail := range []string{"no", "yes"} {
		r := start(t, setting{validator: &rules{RequiredPlugins: []string{"required"}}})
		plugin := r.plugin("required", "10", "policy=1", "delay=60000", "fail="+fail)
		finished := r.creating(plugin)
		plugin.Kill()
		if ended := <-finished; (ended.err != nil) != (fail == "yes") {
			t.Fatalf("fail=%s: %v", fail, ended)
		}
	}
}

func TestToleratingPodDoesNotNeedTheRequiredPlugin(t *testing.T) {
	r := start(t, setting{validator: &rules{
		RequiredPlugins: []string{"required"}, TolerateMissingAnnotation: "example.com/tolerate",
	}})
	tolerant := pod("p")
	tolerant.Annotations["example.com/tolerate"] = "true"
	request := &api.CreateContainerRequest{Pod: tolerant, Container: container("c")}
	if _, err := r.CreateContainer(t.Context(), request); err != nil {
		t.Fatal(err)
	}
}

func TestRejectedHooksNameThePlugin(t *testing.T) {
	r := start(t, setting{validator: &rules{RejectOCIHookAdjustment: true}})
	r.plugin("hooks", "10", "hooks=1")
	r.refused(container("c"), "10-hooks", "restricted OCI hook injection")
}

func TestRejectedPolicyForRuntimeDefaultNamesThePlugin(t *testing.T) {
	r := start(t, setting{validator: &rules{RejectRuntimeDefaultSeccompAdjustment: true}})
	r.plugin("policies", "10", "policy=1")
	profiled := func(kind api.SecurityProfile_ProfileType) *api.Container {
		made := container("c")
		made.Linux.SeccompProfile = &api.SecurityProfile{ProfileType: kind, LocalhostRef: "web.json"}
		return made
	}
	r.refused(profiled(api.SecurityProfile_RUNTIME_DEFAULT), "10-policies", "runtime default seccomp policy adjustment")
	if rulesOf(r.created(profiled(api.SecurityProfile_LOCALHOST))) != 1 {
		t.Fatal("no policy")
	}
}

func TestPluginIsAValidator(t *testing.T) {
	r := start(t, setting{})
	r.plugin("policies", "10", "policy=1")
	plugin := r.plugin("validates", "90", "events=ValidateContainerAdjustment")
	if rulesOf(r.created(container("c"))) != 1 {
		t.Fatal("no policy")
	}
	plugin.Await("event ValidateContainerAdjustment p c by policies,validates")
	plugin.Kill()
	r.plugin("rejects", "90", "events=ValidateContainerAdjustment", "reject=not on my node")
	r.refused(container("d"), "90-rejects", "not on my node")
}

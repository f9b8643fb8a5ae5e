# shellcheck shell=bash
# How tests/operator-nri-killed kills the agent, starts pods meanwhile, and asks the kernel about them. To be sourced by
# it.
# shellcheck disable=SC2154

in_node() { "$repository/tests/cluster/enter" --name "$name" "$@"; }
component() { "$repository/tests/cluster/component" --name "$name" "$@"; }

# What the agents say since $since, the line of the log at which the last one began.
since=1
says() { tail -n "+$since" "$work/agent.log"; }
kill_agent() {
    kill -KILL "$agent" 2>/dev/null || true
    wait "$agent" 2>/dev/null || true
    started=()
}
new_agent() {
    kill_agent
    since=$(($(wc -l <"$work/agent.log") + 1))
    run_agent "$NODE_NAME" "$SECCOMP_ROOT"
    started=("$agent")
}
registered() { says | grep 'NRI: registered'; }
named() { says | sed -n 's|.*NRI: default/\(.*\) runs without its filter.*|\1|p' | sort -u; }
names() { named | grep -x "$1"; } # POD/CONTAINER

# require_plugin — containerd does from now on, except for pods with this annotation.
require_plugin() {
    cat >>"$CLUSTER_STATE/containerd.toml" <<'END'

[plugins.'io.containerd.nri.v1.nri'.default_validator]
enable = true
required_plugins = ["portcullis"]
tolerate_missing_plugins_annotation = "tolerate-missing-plugins.nri.io"
END
    containerd_again
}
containerd_again() {
    # shellcheck disable=SC2034
    since=$(($(wc -l <"$work/agent.log") + 1))
    component restart containerd
    within 30 in_node ctr version
    [ ${#started[@]} = 0 ] || within 60 registered
}
# How often it has refused a container for want of the plugin.
refusals() { component log containerd | tr -d '\134' | grep -c 'required plugin "portcullis" not present' || true; }
# How often a plugin was lost during the request for a container.
lost_midway() { component log containerd | grep -c 'failed to handle CreateContainer request' || true; }

# dies_midway — the agent dies while containerd waits for its answer about the container of a pod, $midway.
tries=0
dies_midway() {
    local before _
    for _ in {1..5}; do
        tries=$((tries + 1)) before=$(lost_midway)
        midway=midway-$tries
        kill -STOP "$agent"
        pod "$midway" "$(on_pod "$no_mkdir")"
        # What the kubelet says before it has the container created.
        within 20 describe_says "$midway" ' Pulled ' || return
        sleep 0.2
        kill_agent
        ! within 1 more_lost "$before" || return 0
        # It came too early.
        k delete pod "$midway" --force >/dev/null 2>&1
        new_agent
        within 20 registered
    done
    return 1
}
more_lost() { [ "$(lost_midway)" -gt "$1" ]; }

# Pods PREFIX-FROM to PREFIX-TO, each with the annotation, and the label `wave`. Without networks of their own: these
# would take most of the time.
many() { # PREFIX FROM TO WAVE
    jq -n --arg prefix "$1" --argjson from "$2" --argjson to "$3" --arg wave "$4" --arg image "$BUSYBOX_IMAGE" \
        --argjson annotations "$(on_pod "$no_mkdir")" '
        {apiVersion: "v1", kind: "List", items: [range($from; $to + 1) | {apiVersion: "v1", kind: "Pod",
            metadata: {name: "\($prefix)-\(.)", labels: {wave: $wave}, annotations: $annotations},
            spec: {terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, hostNetwork: true,
                enableServiceLinks: false, containers: [{name: "c", image: $image, imagePullPolicy: "Never",
                    command: ["sh", "-c", "mkdir /x && echo made; exec sleep 1000"]}]}}]}'
}

# in_waves PREFIX — starts $pods pods, $wave at once, kills the agent each second until they run, and counts in
# $run, $unfiltered, $odd (where the kernel and the container do not agree), $unnamed (by which what the agent names
# differs from that) and $kills.
in_waves() {
    local from to
    run=0 unfiltered=0 odd=0 unnamed=0 kills=0
    for ((from = 1; from <= pods; from += wave)); do
        to=$((from + wave - 1 < pods ? from + wave - 1 : pods))
        start_wave "$1" "$from" "$to"
        look_at_wave "$1-$from"
        k delete pods -l "wave=$1-$from" --force --wait=false >/dev/null 2>&1
    done
    within 60 no_wave_is_left
}
no_wave_is_left() { [ -z "$(k get pods -l wave -o name)" ]; }
start_wave() { # PREFIX FROM TO
    local applying end=$((SECONDS + 300)) label=$1-$2
    many "$@" "$label" >"$work/pods.json"
    k apply -f "$work/pods.json" >"$work/apply.log" 2>&1 &
    applying=$!
    while [ $SECONDS -lt $end ]; do
        # It lives for a second, however long a busy machine takes to start it.
        within 5 registered || true
        sleep 1 &
        if all_run "$label" $(($3 - $2 + 1)); then break; fi
        wait $!
        kill_agent
        kills=$((kills + 1))
        sleep 0.1
        new_agent
    done
    wait "$applying" || cat "$work/apply.log"
}
all_run() { # WAVE COUNT
    [ "$(k get pods -l "wave=$1" --field-selector status.phase=Running -o name | wc -l)" = "$2" ]
}
look_at_wave() { # WAVE
    kernel_says "wave=$1" >"$work/kernel"
    awk '$2 == 0 {print $1}' "$work/kernel" >"$work/unfiltered"
    run=$((run + $(wc -l <"$work/kernel"))) unfiltered=$((unfiltered + $(wc -l <"$work/unfiltered")))
    contradictions <"$work/kernel" >"$work/odd"
    cat "$work/odd"
    odd=$((odd + $(wc -l <"$work/odd")))
    new_agent
    echo 'nothing was said' >"$work/difference"
    within 20 names_exactly "$1" "$work/unfiltered" || true
    cat "$work/difference"
    unnamed=$((unnamed + $(wc -l <"$work/difference")))
}
names_exactly() { # WAVE FILE
    registered || return
    # Those of the last wave may be there still.
    named | sed 's|/c$||' | join - <(cut -d ' ' -f 1 "$work/kernel") >"$work/named"
    comm -3 "$work/named" "$2" >"$work/difference"
    [ ! -s "$work/difference" ]
}

# The kernel's word on the first process of each pod with this label: "POD MODE FILTERS" a line, by POD. Nothing of
# pods without a running container.
# shellcheck disable=SC2016
kernel_says() { # LABEL
    in_node sh -c 'ctr -n k8s.io task ls 2>/dev/null | while read -r id pid state; do
        [ "$state" = RUNNING ] || continue
        echo $id $(sed -n "s/^Seccomp[_a-z]*:[[:space:]]*//p" "/proc/$pid/status")
    done' | sort >"$work/tasks"
    k get pods -l "$1" -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null and .status.containerStatuses)
        | [(.status.containerStatuses[0].containerID // "" | sub(".*//"; "")), .metadata.name] | join(" ")' | sort |
        join -o '1.2 2.2 2.3' - "$work/tasks" | sort
}
runs() { # POD MODE
    k label pod "$1" --overwrite "looked-at=$1" >/dev/null && kernel_says "looked-at=$1" | tee /dev/stderr | grep -q "^$1 $2 "
}
# contradictions — of lines of kernel_says: a container that could make a folder in spite of a filter, or could not
# without one, in any of its lives.
contradictions() {
    local pod mode filters said expected
    while read -r pod mode filters; do
        said=$(cat "$NODE_ROOT"/var/log/pods/default_"${pod}"_*/c/*.log | cut -d ' ' -f 4- | sort -u)
        case "$mode $filters" in
        "2 1") expected="mkdir: can't create directory '/x': $sixty_one" ;;
        "0 0") expected=made ;;
        *) expected='' ;;
        esac
        [ "$said" = "$expected" ] || echo "$pod: Seccomp $mode, $filters filters, but: $said"
    done
}
# debug POD CONTAINER — one more container of that pod, which no sandbox precedes.
debug() { k debug "$1" --image "$BUSYBOX_IMAGE" --container "$2" --profile general -- sh -c 'exec sleep 1000' >/dev/null 2>&1; }
mode_of() { # POD CONTAINER MODE
    k exec "$1" -c "$2" -- grep -E "^Seccomp:[[:space:]]$3\$" /proc/1/status
}
more_refusals() { [ "$(refusals)" -gt "$1" ]; }

# refused_midway — the container of $midway is not there, and the reason is in describe.
refused_midway() {
    within 30 describe_says "$midway" 'plugin .*portcullis failed to handle CreateContainer request' && never_started "$midway"
}
no_mkdir=localhost/operator/no-mkdir.json

# install_daemon_set — as docs/nri.md has it for a runtime that requires the plugin.
install_daemon_set() {
    local packaging
    packaging=$(realpath --relative-to "$work/kustomization" "$repository/packaging")
    mkdir "$work/kustomization"
    cat >"$work/kustomization/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$packaging]
components: [$packaging/nri, $packaging/nri-required]
END
    in_node ctr -n k8s.io images import "$archive" >/dev/null && k apply -k "$work/kustomization"
}
# web COUNT — a Deployment whose pods all start at once.
web() {
    many web 1 1 none | jq --argjson count "$1" '.items[0] | {apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "web"},
        spec: {replicas: $count, selector: {matchLabels: {app: "web"}},
            strategy: {rollingUpdate: {maxSurge: "100%", maxUnavailable: "100%"}},
            template: {metadata: {labels: {app: "web"}, annotations: .metadata.annotations}, spec: .spec}}}'
}
# roll_out — of the Deployment, while the agent's pod is replaced.
roll_out() {
    k -n portcullis rollout restart ds/portcullis-agent &&
        k rollout restart deployment/web &&
        k -n portcullis rollout status ds/portcullis-agent --timeout=120s &&
        k rollout status deployment/web --timeout=240s
}
all_filtered() { # COUNT — and deny what the profile denies
    kernel_says app=web >"$work/kernel"
    cat "$work/kernel"
    [ "$(grep -c ' 2 1$' "$work/kernel")" = "$1" ] && contradictions <"$work/kernel" >"$work/odd" && [ ! -s "$work/odd" ]
}
# refused_and_running — some pod that the runtime had refused.
refused_and_running() {
    k get events -o json | jq -r '.items[] | select(.message | test("required plugin .*portcullis.* not present")) | .involvedObject.name' |
        sort -u | join - "$work/kernel" | grep ' 2 1$'
}

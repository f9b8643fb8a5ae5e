# shellcheck shell=bash
# The operator on a test cluster: how tests start both and count what they see.
# To be sourced by a script that sets repository, operator, name (the cluster's) and work.
# shellcheck disable=SC2154

passed=0 failed=0 skipped=0
started=()

cleanup() {
    [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true
    "$repository/tests/cluster/down" --name "$name" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

# need NAME PROGRAM... — the programs are there, and go, which builds the control plane; without that the test is
# skipped, counted and said.
need() {
    local test=$1 program
    shift
    for program; do
        [ -x "$program" ] || { echo "$program is missing; make build, cargo build --workspace --bins --examples" >&2; exit 1; }
    done
    command -v go >/dev/null || {
        echo "SKIPPED $test: there is no go, which builds the control plane"
        echo "$test: 0 passed, 0 failed, 1 skipped"
        exit 0
    }
}

# begin_cluster OPTION... — and its `env` as variables.
begin_cluster() {
    "$repository/tests/cluster/up" --name "$name" "$@" >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 1; }
    # shellcheck disable=SC1090
    . "${PORTCULLIS_CLUSTER_STATE:-/var/lib/portcullis-cluster}/$name/env"
}

k() { "$repository/tests/cluster/kubectl" --name "$name" "$@"; }

free_port() {
    local port=$((30000 + $$ % 2000))
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo $port
}

# within SECONDS COMMAND... — until it holds, in so many seconds on a machine at rest: a busy one gets six times as
# long. What the last try printed remains.
within() {
    local end=$((SECONDS + 6 * $1))
    shift
    until "$@" >"$work/try" 2>&1; do
        [ $SECONDS -lt $end ] || { cat "$work/try"; return 1; }
        sleep 0.1
    done
}

# check WHAT COMMAND... — counted; what it printed is shown where it fails.
check() {
    local what=$1
    shift
    if "$@" >"$work/check" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
        tail -n 60 "$work/check" | sed 's/^/        /'
    fi
}

condition() { # PROFILE TYPE STATUS
    [ "$(k get scp "$1" -o "jsonpath={.status.conditions[?(@.type==\"$2\")].status}")" = "$3" ]
}
# condition_says PROFILE TYPE TEXT — in its message.
condition_says() {
    k get scp "$1" -o "jsonpath={.status.conditions[?(@.type==\"$2\")].message}" | grep -F -- "$3" ||
        { k get scp "$1" -o 'jsonpath={.status}'; return 1; }
}
gone() { ! k get scp "$1"; }
# caught_up FOLDER — controller and agent have handled every deletion until now: one that came after them is done.
caught_up() {
    profile barrier '{"allow": ["mkdir"]}' | k create -f - >/dev/null
    within 30 test -s "$1/barrier.json" && within 30 condition barrier Ready True || return
    k delete scp barrier --wait=false >/dev/null
    within 30 gone barrier && within 30 test ! -e "$1/barrier.json"
}
apply() { profile "$@" | k apply -f - >/dev/null; } # NAME SPEC
works() { # NAME — a new profile still becomes a file and is ready
    apply "$1" '{"allow": ["mkdir"]}'
    within 10 test -s "$root/operator/$1.json"
    within 10 condition "$1" Ready True
}

profile() { # NAME SPEC
    jq -n --arg name "$1" --argjson spec "$2" \
        '{apiVersion: "portcullis.dev/v1alpha1", kind: "SeccompProfile", metadata: {name: $name}, spec: $spec}'
}

# account NAME TOKEN — a kubeconfig of one account.
account() {
    k config view --raw --minify -o json | jq --arg token "$2" '.users[0].user = {token: $token}' >"$work/$1.conf"
}

install_operator() {
    k apply -f "$repository/packaging/crds" -f "$repository/packaging/manifests/rbac.yaml" \
        -f "$repository/packaging/manifests/admission.yaml" >/dev/null
    k wait --for=condition=Established crd/seccompprofiles.portcullis.dev crd/seccompnodes.portcullis.dev >/dev/null
}

# run_agent NODE ROOT — $agent is its process; it answers on $port. agent_options: more of its options.
agent_options=()
run_agent() {
    port=${port:-$(free_port)}
    KUBECONFIG=$work/agent.conf "$operator" agent --node-name "$1" --seccomp-root "$2" --state "$work/state" \
        --gate-socket "$work/gate.sock" --listen "127.0.0.1:$port" "${agent_options[@]}" 2>>"$work/agent.log" &
    agent=$!
}
# start_agent NODE ROOT — under its own account, with a token that is bound to its node.
start_agent() {
    local uid
    uid=$(k get node "$1" -o 'jsonpath={.metadata.uid}')
    account agent "$(k -n portcullis create token portcullis-agent --bound-object-kind Node \
        --bound-object-name "$1" --bound-object-uid "$uid")"
    run_agent "$@"
    started+=("$agent")
}
# run_controller — $controller is its process; its lease lasts $lease seconds. A suite that kills it makes that shorter, for
# it waits as long; the others don't, since a controller that the machine keeps waiting loses its lease and ends.
# controller_options: more of its options.
lease=60
controller_options=()
run_controller() {
    KUBECONFIG=$work/controller.conf "$operator" controller --lease-seconds "$lease" "${controller_options[@]}" \
        2>>"$work/controller.log" &
    controller=$!
    started+=("$controller")
}
start_controller() {
    account controller "$(k -n portcullis create token portcullis-controller)"
    run_controller
}
# restart_agent SIGNAL, restart_controller SIGNAL — of node $node with the files in $root.
restart_agent() {
    kill "$1" "$agent" 2>/dev/null || true
    wait "$agent" 2>/dev/null || true
    run_agent "$node" "$root"
    started+=("$agent")
}
restart_controller() {
    kill "$1" "$controller" 2>/dev/null || true
    wait "$controller" 2>/dev/null || true
    run_controller
}

# start_agents COUNT — the agents of many nodes, a hundred in a process and each process as a user of its own, since a
# user may watch 128 folders; agents_run when all do; stop_agents ends them.
agents=()
start_agents() {
    local from to
    mkdir -p "$work/agents"
    chmod 755 "$work"
    rm -f "$work/agents.in" "$work"/agents.*.out
    mkfifo "$work/agents.in"
    for ((from = 1; from <= $1; from += 100)); do
        to=$((from + 99 < $1 ? from + 99 : $1))
        "$scale" agents "$from" "$to" "$work/agents" $((60000 + from)) <"$work/agents.in" >"$work/agents.$from.out" 2>>"$work/agents.log" 8>&- &
        agents+=($!)
        started+=($!)
    done
    exec 8>"$work/agents.in"
}
agents_run() { [ "$(cat "$work"/agents.*.out | grep -c started)" = ${#agents[@]} ]; }
stop_agents() {
    exec 8>&-
    wait "${agents[@]}"
    agents=()
}

summary() { # NAME — the last line and the exit code of a test
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

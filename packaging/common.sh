# What deploy and undeploy share: messages, the cluster they go to, the manifests. Sourced by them.
# shellcheck shell=bash

shopt -s inherit_errexit
packaging=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
repository=${packaging%/packaging}
self=packaging/$(basename -- "$0")
# Exit codes beside 0, 1 (unexpected) and 2 (wrong command line).
unsuitable=3 unfinished=4

say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() { # [CODE] MESSAGE
	local code=1
	if [ $# -gt 1 ]; then
		code=$1
		shift
	fi
	say "$*"
	exit "$code"
}
wrong_usage() {
	say "$*"
	say "see $self --help"
	exit 2
}

# Which cluster: --context, --kubeconfig or --test-cluster. Takes one option and its value; false where it is another.
kubectl=(kubectl) shown=kubectl chosen='' test_cluster=''
takes_cluster() {
	case $1 in
	--context | --kubeconfig | --test-cluster) ;;
	*) return 1 ;;
	esac
	[ $# -ge 2 ] || wrong_usage "$1 needs a value"
	chosen=1
	if [ "$1" = --test-cluster ]; then
		test_cluster=$2
		return
	fi
	kubectl+=("$1=$2")
	shown="$shown $1=$2"
}
k() { "${kubectl[@]}" "$@"; }

# Whether the cluster answers and is new enough; says which one it is.
reach() {
	local env major minor said
	if [ -n "$test_cluster" ]; then
		env=${PORTCULLIS_CLUSTER_STATE:-/var/lib/portcullis-cluster}/$test_cluster/env
		[ -r "$env" ] || die $unsuitable "no test cluster '$test_cluster' is running (start one: tests/cluster/up --name $test_cluster)"
		# shellcheck source=/dev/null
		. "$env"
		kubectl=("$CLUSTER_BIN/kubectl" "--kubeconfig=$KUBECONFIG")
		shown="tests/cluster/kubectl --name $test_cluster"
		[ "$test_cluster" != portcullis ] || shown=tests/cluster/kubectl
	fi
	command -v "${kubectl[0]}" >/dev/null || die $unsuitable "there is no kubectl in PATH"
	said=$(k get --raw /version --request-timeout=15s 2>&1) ||
		die $unsuitable "the cluster does not answer: $(tail -n 1 <<<"$said")"
	major=$(sed -n 's/.*"major": *"\([0-9]*\).*/\1/p' <<<"$said")
	minor=$(sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p' <<<"$said")
	[[ -n $major && -n $minor ]] || die $unsuitable "the cluster does not say its version: $said"
	say "to $(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}'), Kubernetes $major.$minor"
	# The policy that keeps an agent to its own node needs tokens that carry the node's name.
	[ "$major" -gt 1 ] || [ "$minor" -ge 30 ] || die $unsuitable "Kubernetes 1.30 or later is needed"
}

crds=$packaging/crds/portcullis.yaml
rights=$packaging/manifests/rbac.yaml
policy=$packaging/manifests/network.yaml
artifact_rights=$packaging/manifests/artifacts.yaml
admission_rights=$packaging/manifests/admission.yaml
config_map_rights=$packaging/manifests/config-maps.yaml
admission_policies=$packaging/admission/policies.yaml
admission_webhooks=$packaging/admission/webhooks.yaml
# Whether the API server serves every kind of the admission policies. An older one refuses all that is applied with them.
serves_policies() {
	local served
	served=$(k get --raw /apis/admissionregistration.k8s.io/v1) || die "the API server's answer is missing"
	[[ $served == *'"mutatingadmissionpolicies"'* ]]
}
# The network policy, with the ports on which this cluster's API server listens in the place of 6443.
network() {
	local port ports=''
	while read -r port; do
		ports="$ports, {port: $port, protocol: TCP}"
	done < <(k -n default get endpointslices -l kubernetes.io/service-name=kubernetes \
		-o 'jsonpath={range .items[*].ports[*]}{.port}{"\n"}{end}' 2>/dev/null | grep -x '[0-9]*' | sort -u)
	sed -e "s/, {port: 6443, protocol: TCP}/${ports:-&}/" "$policy"
}
# The workloads with another image or another seccomp root.
workloads() { # [IMAGE [SECCOMP-ROOT]]
	sed -e "s|image: localhost/portcullis-operator:.*|image: ${1:-none}|" \
		-e "s|{name: seccomp, hostPath: {path: [^,]*,|{name: seccomp, hostPath: {path: ${2:-/var/lib/kubelet/seccomp},|" \
		"$packaging/manifests/workloads.yaml"
}

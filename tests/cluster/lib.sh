# What the commands of the test cluster share: messages, where things are, and what is running. Sourced by them.
# shellcheck shell=bash

shopt -s inherit_errexit
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
base=${PORTCULLIS_CLUSTER_STATE:-/var/lib/portcullis-cluster}
cache=${PORTCULLIS_CLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/portcullis/cluster}
cgroup_parent=portcullis-cluster

[[ $base =~ ^/[A-Za-z0-9_./-]+$ ]] || {
	echo "PORTCULLIS_CLUSTER_STATE: '$base' is no absolute path of plain characters" >&2
	exit 2
}
self=$(basename -- "$0")
say() { printf '%s: %s\n' "$self" "$*" >&2; }
die() {
	say "$*"
	exit 1
}
wrong_usage() {
	say "$*"
	say "see $self --help"
	exit 2
}
as_root() { [ "$(id -u)" = 0 ] || die "namespaces and mounts need root"; }

# Everything of a cluster follows from its name.
choose() {
	[[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$ ]] ||
		wrong_usage "'$1' is no name for a cluster: up to 30 lower-case letters, digits and -"
	name=$1
	state=$base/$name
}

# The parts that are built: each in a folder of the cache whose name is the hash of all that it is made from.
# shellcheck disable=SC2034
parts=(kubernetes containerd runc cni forward images)

go_kind=
key_of() {
	local part=$1
	(
		cd "$here" || exit
		printf '%s\n' "$part" "$go_kind"
		sha256sum recipes.sh
		find "$part" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
		case $part in
		images) sha256sum image "$(command -v busybox)" ;;
		runc) dpkg-query -W -f '${Version}\n' libseccomp-dev 2>/dev/null || true ;;
		esac
	) | sha256sum | cut -c1-16
}

know_go() { go_kind=$(GOTOOLCHAIN=local go env GOVERSION GOOS GOARCH | tr '\n' ' '); }
folder_of() { printf '%s/%s-%s\n' "$cache" "$1" "$(key_of "$1")"; }

# Whether the process of this identity (a pid and when it started) is still there. A pid alone may be another's by now.
identity_of() {
	local line
	line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# The name in parentheses may hold anything; what follows the last one starts with the state.
	read -r -a fields <<<"${line##*) }"
	[ "${fields[0]}" != Z ] || return 1
	printf '%s %s\n' "$1" "${fields[19]}"
}
alive() {
	local pid _
	[ -s "$1" ] || return 1
	read -r pid _ <"$1" || return 1
	[ "$(identity_of "$pid")" = "$(cat "$1")" ]
}
pid_in() {
	local pid _
	read -r pid _ <"$1"
	printf '%s\n' "$pid"
}

# For commands that talk to a running cluster.
must_run() {
	alive "$state/init" || die "no cluster '$name' is running (start one: $here/up --name $name)"
	# shellcheck source=/dev/null
	. "$state/env"
}

# Inside a cluster's network namespace nothing collides, so every cluster has the same addresses.
# shellcheck disable=SC2034
{
	node_address=10.98.0.1
	pod_network=10.97.0.0/24
	service_address=10.96.0.1
	service_network=10.96.0.0/16
}

# The hierarchies of control groups: one with cgroup v2, many with v1.
cgroup_roots() {
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		echo /sys/fs/cgroup
	else
		awk '$3 == "cgroup" { print $2 }' /proc/mounts
	fi
}

# What a cluster leaves once its last process is gone: empty cgroups and its state folder.
remove_remains() {
	local root mounted _ left=
	for root in $(cgroup_roots); do
		[ -d "$root/$cgroup_parent/$name" ] || continue
		# The kernel lets go of a killed container's cgroup a moment after its last process.
		for _ in {1..50}; do
			find "$root/$cgroup_parent/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
			[ -d "$root/$cgroup_parent/$name" ] || break
			sleep 0.1
		done
		rmdir "$root/$cgroup_parent" 2>/dev/null || true
		[ ! -d "$root/$cgroup_parent/$name" ] || left="$left $root/$cgroup_parent/$name"
	done
	if [ -d "$state" ]; then
		# Only where this runs inside the cluster is there anything mounted.
		awk -v under="$state/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | tac |
			while read -r mounted; do umount -l "$mounted" 2>/dev/null || true; done
		rm -rf --one-file-system "$state" || left="$left $state"
		rmdir "$base" 2>/dev/null || true
	fi
	[ -z "$left" ] || {
		say "could not be removed:$left"
		return 1
	}
}

# How the older API server is built; like build_kubernetes in ../recipes.sh. Sourced by build.
# shellcheck shell=bash disable=SC2154

build_older() {
	local version minor at=k8s.io/component-base/version
	version=$(version_in older k8s.io/kubernetes)
	minor=${version#v*.}
	(
		cd "$here/older" || exit
		CGO_ENABLED=0 go build -trimpath -o "$1/kube-apiserver" \
			-ldflags "-s -w -X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%.*}" .
	)
}

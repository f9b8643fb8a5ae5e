# How the containerd with a newer NRI is built; like build_containerd in ../recipes.sh. Sourced by build.
# shellcheck shell=bash disable=SC2154

build_newer() {
	local version at=github.com/containerd/containerd/v2/version
	version=$(version_in newer github.com/containerd/containerd/v2)
	(
		cd "$here/newer" || exit
		CGO_ENABLED=0 go build -trimpath -tags no_btrfs,no_devmapper,no_zfs -o "$1/containerd" \
			-ldflags "-s -w -X $at.Version=$version" github.com/containerd/containerd/v2/cmd/containerd
	)
}

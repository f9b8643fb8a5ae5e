// No dependencies: what brings the API server out of its network namespace.
module portcullis.dev/tests/cluster/forward

go 1.26.0

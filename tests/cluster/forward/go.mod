module portcullis.dev/tests/cluster/forward

go 1.26.0

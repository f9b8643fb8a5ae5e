module portcullis.dev/tests/nri/kit

go 1.24.0

//go:build tools

// Package etcd names the program that the test cluster builds, so that `go mod tidy` locks what it needs.
package etcd

import _ "go.etcd.io/etcd/server/v3"

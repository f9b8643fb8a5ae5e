// Passes connections on: from each LISTEN address to the last one. It brings the API server of a cluster
// with a network namespace of its own to a loopback port outside. Addresses are NETWORK:ADDRESS
// (unix:/run/x.sock, tcp:127.0.0.1:6443).
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
)

type address struct{ network, address string }

func parse(argument string) (address, error) {
	network, rest, ok := strings.Cut(argument, ":")
	if !ok || (network != "unix" && network != "tcp") || rest == "" {
		return address{}, fmt.Errorf("%q is not unix:PATH or tcp:HOST:PORT", argument)
	}
	return address{network, rest}, nil
}

func main() {
	if len(os.Args) < 3 {
		log.Fatalf("usage: %s LISTEN... TARGET", os.Args[0])
	}
	var all []address
	for _, argument := range os.Args[1:] {
		parsed, err := parse(argument)
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, parsed)
	}
	target := all[len(all)-1]
	ended := make(chan error)
	for _, from := range all[:len(all)-1] {
		if from.network == "unix" {
			// A socket that a predecessor left would make listening fail.
			os.Remove(from.address)
		}
		listener, err := net.Listen(from.network, from.address)
		if err != nil {
			log.Fatal(err)
		}
		go func() { ended <- serve(listener, target) }()
	}
	log.Fatal(<-ended)
}

func serve(listener net.Listener, target address) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go pass(connection, target)
	}
}

func pass(client net.Conn, target address) {
	defer client.Close()
	server, err := net.Dial(target.network, target.address)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		copyAndClose(server, client)
		close(done)
	}()
	copyAndClose(client, server)
	<-done
}

// copyAndClose passes on the end of the stream too, so that half-closed connections work.
func copyAndClose(to, from net.Conn) {
	io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

# shellcheck shell=bash
# Go: a static service that does what services do with the standard library; profiles and stacks of itself, TLS with
# HTTP/2, DNS failure, a full disk, more connections than file descriptors, a graceful and a forced stop.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(golang-1.19-go)
group=language-runtime
title=Go
ends=(TERM QUIT INT)

prepare() {
    mkdir -p "$rootfs/srv/go"
    cat >"$rootfs/srv/go/service.go" <<'END'
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}
func files() {
	folder, err := os.MkdirTemp("", "service")
	must(err)
	defer os.RemoveAll(folder)
	a := filepath.Join(folder, "a")
	must(os.WriteFile(a, make([]byte, 100000), 0o600))
	must(os.Rename(a, a+"b"))
	must(os.Rename(a+"b", a))
	must(os.Link(a, a+"c"))
	must(os.Symlink("a", a+"d"))
	os.Readlink(a + "d")
	filepath.EvalSymlinks(a + "d")
	must(os.Chmod(a, 0o644))
	must(os.Chtimes(a, time.Now(), time.Now()))
	must(os.Truncate(a, 5000))
	os.ReadDir(folder)
	os.Getwd()
	f, err := os.OpenFile(a, os.O_RDWR|os.O_APPEND, 0)
	must(err)
	f.Sync()
	f.ReadAt(make([]byte, 10), 5)
	f.Seek(0, 0)
	f.Chmod(0o600)
	f.Truncate(100)
	syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	m, err := syscall.Mmap(int(f.Fd()), 0, 100, syscall.PROT_READ, syscall.MAP_SHARED)
	must(err)
	syscall.Munmap(m)
	g, err := os.Create(a + "e")
	must(err)
	f.Seek(0, 0)
	io.Copy(g, f) // copy_file_range
	f.Close()
	g.Close()
	var s syscall.Statfs_t
	syscall.Statfs(a, &s)
	os.MkdirAll(filepath.Join(folder, "f", "g"), 0o755)
}
func processes() {
	_, err := exec.Command("ls", "/").Output()
	must(err)
	c, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer stop()
	exec.CommandContext(c, "sleep", "50").Run()
	r, w, _ := os.Pipe()
	w.Close()
	io.ReadAll(r)
	r.Close()
}
func network() {
	_, err := net.LookupHost("nowhere.invalid")
	log.Print(err)
	net.LookupHost("localhost")
	net.LookupHost("service.test")
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		u, err := net.ListenPacket("udp", at)
		must(err)
		u.WriteTo([]byte("x"), u.LocalAddr())
		u.ReadFrom(make([]byte, 1))
		u.Close()
		l, err := net.Listen("tcp", at)
		must(err)
		go func() { c, _ := l.Accept(); io.Copy(c, c); c.Close() }()
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
		must(err)
		c.Write([]byte("x"))
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		c.(*net.TCPConn).SetKeepAlive(true)
		c.(*net.TCPConn).CloseWrite()
		io.ReadAll(c)
		c.Close()
		l.Close()
	}
	l, err := net.Listen("unix", fmt.Sprintf("/tmp/go-%d", time.Now().UnixNano()))
	must(err)
	c, err := net.Dial("unix", l.Addr().String())
	must(err)
	c.Close()
	l.Close()
	net.Interfaces()
	net.InterfaceAddrs()
	http.Get("http://127.0.0.1:1")
	k := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	if r, err := k.Get("https://127.0.0.1:8443/"); err == nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
}
func rest() {
	rand.Read(make([]byte, 10))
	user.Current()
	os.Hostname()
	runtime.NumCPU()
	var w sync.WaitGroup
	for i := 0; i < 100; i++ {
		w.Add(1)
		go func() { defer w.Done(); _ = make([]byte, 3_000_000); time.Sleep(time.Millisecond) }()
	}
	w.Wait()
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	time.Now().Local()
	t := time.NewTicker(time.Millisecond)
	<-t.C
	t.Stop()
	runtime.LockOSThread() // and the thread ends with the goroutine
	runtime.GC()
	debug.FreeOSMemory()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
	}
}
func full() string {
	defer os.Remove("/full/file")
	if err := os.WriteFile("/full/file", make([]byte, 3_000_000), 0o600); err != nil {
		return err.Error()
	}
	return "room"
}
func main() {
	does := func(f func()) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); f(); fmt.Fprintln(w, "it-serves") }
	}
	http.HandleFunc("/", does(func() {}))
	for path, f := range map[string]func(){"/files": files, "/processes": processes, "/network": network, "/rest": rest} {
		http.HandleFunc(path, does(f))
	}
	http.HandleFunc("/full", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, full()) })
	http.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "/srv/go/service") })
	var servers []*http.Server
	for _, at := range []string{"127.0.0.1:8080", "[::1]:8080", "127.0.0.1:8443"} {
		s := &http.Server{Addr: at}
		servers = append(servers, s)
		go func() {
			if s.Addr == "127.0.0.1:8443" {
				log.Print(s.ListenAndServeTLS("/etc/certificate.pem", "/etc/key.pem"))
			} else {
				log.Print(s.ListenAndServe())
			}
		}()
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	for _, s := range servers {
		c, stop := context.WithTimeout(context.Background(), 2*time.Second)
		s.Shutdown(c)
		stop()
	}
}
END
    in_root env HOME=/tmp GO111MODULE=off CGO_ENABLED=0 /usr/lib/go-1.19/bin/go build -o /srv/go/service /srv/go/service.go
}

serve() { exec /srv/go/service; }
ready() { curl -sf http://127.0.0.1:8080/ && curl -skf https://127.0.0.1:8443/; }

load() {
    local path i
    head -c 2000000 /dev/zero >/tmp/body
    for path in '' large files processes network rest; do
        for i in 1 2 3; do
            must curl -sf -o /dev/null "http://127.0.0.1:8080/$path"
            must curl -sf -o /dev/null "http://[::1]:8080/$path"
            must curl -skf -o /dev/null "https://127.0.0.1:8443/$path"
        done
    done
    curl -sf http://127.0.0.1:8080/full | grep -q 'no space left' || exit
    must curl -sf -T /tmp/body -o /dev/null http://127.0.0.1:8080/
    must curl -sf -o /dev/null 'http://127.0.0.1:8080/debug/pprof/goroutine?debug=2'
    must curl -sf -o /dev/null 'http://127.0.0.1:8080/debug/pprof/heap?gc=1'
    must curl -sf -o /dev/null 'http://127.0.0.1:8080/debug/pprof/trace?seconds=1'
    curl -sf -o /dev/null 'http://127.0.0.1:8080/debug/pprof/profile?seconds=1' &
    for i in 1 2 3; do must curl -sf -o /dev/null http://127.0.0.1:8080/rest; done
    wait
    hold 8080 700
    until_ok curl -sf http://127.0.0.1:8080/files
}

# shellcheck shell=bash
# memcached: both protocols, TLS, the crawler, eviction, storage on disk, more connections than it takes.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(memcached)
group=cache
title=memcached
ends=(TERM USR1 INT)
user=1000:1000

serve() {
    memcached -l 127.0.0.1,::1 -p 11311 -m 8 -c 100 -Z -o ssl_chain_cert=/etc/certificate.pem,ssl_key=/etc/key.pem -P /tmp/tls.pid &
    memcached -s /tmp/memcached.sock -m 8 -c 100 -o ext_path=/tmp/external:64m,ext_item_size=512,ext_item_age=0 &
    memcached -l 127.0.0.1 -p 11411 -m 2 -U 11411 -c 30 -k -o no_lru_crawler,maxconns_fast -R 5 &
    exec memcached -l 127.0.0.1,::1 -p 11211 -m 64 -c 64 -t 4 -v -o modern,slab_automove=2,hash_algorithm=murmur3 -e /tmp/memory
}
ready() { echo version | busybox nc -w 2 127.0.0.1 11211 | grep -q VERSION; }

load() {
    cat >/tmp/talk.py <<'END'
import socket, ssl, struct, sys
def connect(where):
    if where.startswith("/"):
        s = socket.socket(socket.AF_UNIX); s.connect(where); return s
    s = socket.create_connection((where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1])), timeout=60)
    if "11311" in where:
        c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE; s = c.wrap_socket(s)
    return s
for where in sys.argv[1:]:
    s = connect(where); f = s.makefile("rwb")
    def say(line, end=b"END"):
        f.write(line.encode() + b"\r\n"); f.flush()
        while True:
            got = f.readline()
            if not got: raise SystemExit(f"{where} closed on {line}")
            if end == b"" or got.startswith((end, b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"OK", b"BUSY", b"BADCLASS", b"SAME", b"NOTFULL", b"RESET", b"EN")): return got
    for n in range(3000):
        f.write(b"set k%d 0 %d 1000 noreply\r\n%s\r\n" % (n, 1 if n % 3 else 0, b"v" * 1000))
    say("version", b"VERSION")
    say("get " + " ".join(f"k{n}" for n in range(90)))
    for line in ("stats", "stats items", "stats slabs", "stats settings", "stats sizes", "stats conns"): say(line)
    for line in ("lru_crawler enable", "lru_crawler crawl all", "slabs automove 1", "slabs reassign 1 2", "verbosity 1", "cache_memlimit 16", "mn"): say(line, b"")
    say("lru_crawler metadump all")
    f.write(b"mg k2999 v\r\n"); f.flush(); f.readline()
    say("flush_all 0", b"OK")
    s.close()
for family in (socket.AF_INET,):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.sendto(struct.pack(">HHHH", 1, 0, 1, 0) + b"stats\r\n", ("127.0.0.1", 11411)); s.recvfrom(2000)
b = socket.create_connection(("127.0.0.1", 11211)); b.sendall(struct.pack(">BBHBBHIIQ", 0x80, 0x0b, 0, 0, 0, 0, 0, 0, 0)); b.recv(100)
END
    must python3 /tmp/talk.py 127.0.0.1:11211 ::1:11211 /tmp/memcached.sock 127.0.0.1:11411 127.0.0.1:11311
    hold 11211 200
    hold 11411 100
    until_ok sh -c 'echo version | busybox nc -w 5 127.0.0.1 11211 | grep VERSION' || exit
    echo watch evictions | busybox nc -w 1 127.0.0.1 11211 >/dev/null
    pkill -HUP -f '[t]ls.pid'
    pkill -USR1 -f '[m]emcached -s'
    true
}

inside() {
    memcached -V
    echo stats | busybox nc -w 2 127.0.0.1 11211 >/dev/null
}

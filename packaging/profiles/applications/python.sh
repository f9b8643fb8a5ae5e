# shellcheck shell=bash
# Python: a WSGI service under gunicorn that does what services do with the standard library; workers that crash,
# reload and log reopening by signal, a dump of its stacks.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(python3 gunicorn)
group=language-runtime
title=Python
ends=(TERM QUIT INT)

configure() {
    cat >"$rootfs/srv/service.py" <<'END'
import asyncio, ctypes, concurrent.futures, faulthandler, fcntl, hashlib, json, logging, mmap, multiprocessing, os, random
import select, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time, urllib.request, uuid, zlib

faulthandler.register(signal.SIGRTMIN, file=open("/tmp/stacks", "a"), all_threads=True)

def square(n): return n * n

def files():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a")
        with open(path, "wb") as f:
            f.write(b"x" * 100000); f.flush(); os.fsync(f.fileno()); os.fdatasync(f.fileno()); f.truncate(50000)
            fcntl.flock(f, fcntl.LOCK_EX); os.posix_fallocate(f.fileno(), 0, 60000); os.fchmod(f.fileno(), 0o600)
        shutil.copy2(path, path + "b"); os.rename(path + "b", path + "c"); os.link(path, path + "d"); os.symlink("a", path + "e")
        os.readlink(path + "e"); os.utime(path); os.chmod(path, 0o644); os.listdir(folder); os.statvfs(folder); os.access(path, os.R_OK)
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m: m[0:1] = b"y"; m.flush()
        os.mkfifo(path + "f"); os.pread(os.open(path, os.O_RDONLY), 10, 5); list(os.scandir(folder)); os.sync()
        shutil.copytree(folder, folder + "-2", symlinks=True, ignore=lambda *_: ["af"]); shutil.rmtree(folder + "-2")

def database():
    with sqlite3.connect("/tmp/data.db", timeout=60) as db:
        db.execute("pragma journal_mode=wal"); db.execute("create table if not exists t (a)")
        db.executemany("insert into t values (?)", [(i,) for i in range(100)]); db.execute("select sum(a) from t").fetchall()

def processes():
    subprocess.run(["ls", "/"], capture_output=True, check=True)
    subprocess.run("true | cat", shell=True, check=True, start_new_session=True)
    # Forks of a process with threads can hang, so a process without them forks.
    subprocess.run([sys.executable, "-c", "import multiprocessing as m; print(m.Pool(2).map(abs, range(9)))"], check=True)
    with multiprocessing.get_context("forkserver").Pool(1) as pool: pool.map(abs, range(3))
    with concurrent.futures.ThreadPoolExecutor(8) as pool: list(pool.map(square, range(100)))
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)

def network():
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as s: s.bind((address, 0)); s.sendto(b"x", s.getsockname()); s.recvfrom(10)
    a, b = socket.socketpair(); a.sendall(b"x"); b.recv(1); socket.send_fds(a, [b"x"], [0]); socket.recv_fds(b, 1, 1)
    socket.getaddrinfo("service.test", 80)
    try: urllib.request.urlopen("http://nowhere.invalid", timeout=1)
    except OSError: pass
    context = ssl.create_default_context(cafile="/etc/certificate.pem")
    urllib.request.urlopen("https://localhost:8443/", context=context).read()
    async def main():
        async def answer(r, w): w.write(await r.read(1)); w.close()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        r, w = await asyncio.open_connection(*server.sockets[0].getsockname()); w.write(b"x"); await r.read(); server.close()
        await (await asyncio.create_subprocess_exec("true")).wait(); await asyncio.to_thread(time.sleep, 0.01)
        try: await asyncio.get_running_loop().getaddrinfo("nowhere.invalid", 80)
        except OSError: pass
    asyncio.run(main())
    p = select.poll(); p.register(a); p.poll(1); select.select([a], [], [], 0.01)

def rest():
    os.urandom(10); uuid.uuid4(); random.SystemRandom().random(); hashlib.scrypt(b"a", salt=b"b", n=2, r=1, p=1); zlib.compress(b"a" * 9999)
    os.getpid(), os.getppid(), os.getuid(), os.getgroups(), os.uname(), os.cpu_count(), os.sched_getaffinity(0), os.getloadavg(), os.times(), os.nice(0)
    import resource; resource.getrusage(resource.RUSAGE_SELF); resource.getrlimit(resource.RLIMIT_NOFILE)
    signal.setitimer(signal.ITIMER_REAL, 0.0); bytearray(50_000_000); os.umask(os.umask(0)); time.sleep(0.01); logging.warning("said")
    os.memfd_create("x"); os.pipe2(0); os.eventfd(0); threading.Thread(target=time.sleep, args=(0.01,)).start()

def full():
    try:
        with open("/full/file", "wb") as f: f.write(b"x" * 3_000_000)
    except OSError as e: return str(e)
    finally: os.path.exists("/full/file") and os.remove("/full/file")

def large(): return None
def index(): return "it-serves"

def app(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(length)
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", []); return environ["wsgi.file_wrapper"](open("/usr/bin/python3", "rb"))
    said = globals()[environ["PATH_INFO"].strip("/") or "index"]()
    start_response("200 OK", [("Content-Type", "text/plain")]); return [json.dumps(said).encode()]
END
}

serve() {
    cd /srv || exit
    export HOME=/tmp
    if [ "$round" = 2 ]; then kind=gthread; else kind=sync; fi
    gunicorn --certfile /etc/certificate.pem --keyfile /etc/key.pem -b 127.0.0.1:8443 -k gthread --threads 4 -p /tmp/tls.pid service:app &
    exec gunicorn -w 2 -k $kind -b 127.0.0.1:8080 -b '[::1]:8080' -b unix:/tmp/service.sock -t 120 \
        --access-logfile /tmp/access.log --error-logfile /tmp/error.log -p /tmp/pid service:app
}
ready() { curl -sf http://127.0.0.1:8080/ && curl -skf https://127.0.0.1:8443/; }

load() {
    local path
    head -c 2000000 /dev/zero >/tmp/body
    for path in '' large files database processes network rest; do
        must curl -sf -o /dev/null "http://127.0.0.1:8080/$path"
        must curl -sf -o /dev/null "http://[::1]:8080/$path"
        must curl -skf -o /dev/null "https://127.0.0.1:8443/$path"
    done
    curl -sf http://127.0.0.1:8080/full | grep -q 'No space left' || exit
    must curl -sf --unix-socket /tmp/service.sock -o /dev/null http://localhost/
    must curl -sf -T /tmp/body -o /dev/null http://127.0.0.1:8080/index
    hold 8080 700
    until_ok curl -sf http://127.0.0.1:8080/ || exit
    mv /tmp/access.log /tmp/access.log.1
    kill -USR1 1
    until_ok test -e /tmp/access.log || exit
    kill -TTIN 1
    kill -TTOU 1
    kill -HUP 1
    until_ok curl -sf http://127.0.0.1:8080/ || exit
    pkill -RTMIN -n -P 1 -f service:app
    pkill -KILL -n -P 1 -f 'kworker|unix:/tmp/service.sock'
    until_ok curl -sf http://127.0.0.1:8080/files || exit
    pkill -QUIT -f -o '[t]ls.pid'
    true
}

inside() {
    python3 -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8080/").read()'
    cd /srv && gunicorn --check-config service:app
}

# shellcheck shell=bash
# Node.js: a cluster of workers that do what services do with the standard library; workers that crash, the inspector and
# reports by signal, TLS with HTTP/2, DNS failure, a full disk, more connections than file descriptors.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(nodejs)
group=language-runtime
title=Node.js
components=1
ends=(TERM INT HUP)

configure() {
    cat >"$rootfs/srv/service.js" <<'END'
'use strict';
const cluster = require('cluster'), http = require('http'), http2 = require('http2'), fs = require('fs'), fsp = fs.promises, net = require('net');
const dgram = require('dgram'), dns = require('dns'), os = require('os'), path = require('path'), zlib = require('zlib'), crypto = require('crypto');
const child = require('child_process'), { promisify } = require('util'), { Worker } = require('worker_threads'), v8 = require('v8');
const keys = { key: fs.readFileSync('/etc/key.pem'), cert: fs.readFileSync('/etc/certificate.pem'), allowHTTP1: true };

if (cluster.isPrimary) {
    cluster.fork(); cluster.fork();
    cluster.on('exit', () => cluster.fork());
    process.on('SIGUSR2', () => { for (const w of Object.values(cluster.workers)) w.disconnect(); });
    for (const end of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(end, () => process.exit(0));
    return;
}
const jobs = {
    async files() {
        const folder = await fsp.mkdtemp('/tmp/service-'), a = path.join(folder, 'a');
        await fsp.writeFile(a, 'x'.repeat(100000)); await fsp.copyFile(a, a + 'b'); await fsp.rename(a + 'b', a + 'c'); await fsp.link(a, a + 'd'); await fsp.symlink('a', a + 'e');
        await fsp.readlink(a + 'e'); await fsp.realpath(a + 'e'); await fsp.chmod(a, 0o600); await fsp.utimes(a, 0, 0); await fsp.readdir(folder, { withFileTypes: true });
        await fsp.access(a, fs.constants.W_OK); await fsp.truncate(a, 5000); await fsp.appendFile(a, 'y'); await fsp.lstat(a); if (fsp.statfs) await fsp.statfs(a);
        const f = await fsp.open(a, 'r+'); await f.read(Buffer.alloc(10), 0, 10, 5); await f.writev([Buffer.from('a'), Buffer.from('b')]); await f.readv([Buffer.alloc(5)]); await f.sync(); await f.datasync(); await f.chmod(0o644); await f.close();
        const watched = new Promise(done => { const w = fs.watch(folder, () => { w.close(); done(); }); }); await fsp.writeFile(a + 'f', ''); await watched;
        fs.watchFile(a, { interval: 10 }, () => {}); await new Promise(r => setTimeout(r, 30)); fs.unwatchFile(a); fs.mkdirSync(a + 'g/h', { recursive: true }); fs.readFileSync(a);
        await require('stream/promises').pipeline(fs.createReadStream(a), zlib.createGzip(), fs.createWriteStream(a + '.gz'));
        await fsp.cp(folder, folder + '-2', { recursive: true }); await fsp.rm(folder + '-2', { recursive: true }); await fsp.rm(folder, { recursive: true });
    },
    async processes() {
        await promisify(child.execFile)('ls', ['/']); await promisify(child.exec)('true | cat'); child.spawnSync('true'); child.spawnSync('cat', { input: 'x' });
        const c = child.spawn('sleep', ['50'], { detached: true, stdio: 'ignore', cwd: '/tmp' }); c.kill(); await new Promise(r => c.on('exit', r));
        await new Promise((r, e) => new Worker('require("worker_threads").parentPort.postMessage(1)', { eval: true }).on('message', r).on('error', e));
    },
    async network() {
        await promisify(dns.lookup)('nowhere.invalid').catch(() => {}); const r = new dns.promises.Resolver({ timeout: 200, tries: 1 }); await r.resolve4('nowhere.invalid').catch(() => {}); await r.resolve4('127.0.0.1.invalid').catch(() => {});
        await promisify(dns.lookup)('localhost'); await promisify(dns.lookup)('service.test', { all: true }); await r.resolve4('service.test').catch(() => {}); await r.resolve6('service.test').catch(() => {});
        for (const [kind, host] of [['udp4', '127.0.0.1'], ['udp6', '::1']]) { const s = dgram.createSocket(kind); await new Promise(r => s.bind(0, host, r)); s.setBroadcast(true); const got = new Promise(r => s.on('message', r)); s.send('x', s.address().port, host); await got; s.close(); }
        for (const where of [{ host: '::1', port: 0 }, { path: '/tmp/node-' + process.pid }]) { const s = net.createServer(c => c.pipe(c)); await new Promise(r => s.listen({ ...where, exclusive: true }, r)); const c = net.connect(s.address().port ? { port: s.address().port, host: '::1' } : where); c.setNoDelay(true); c.setKeepAlive(true); c.write('x'); await new Promise(r => c.once('data', r)); c.destroy(); s.close(); }
        await new Promise(r => http.get('http://127.0.0.1:1', r).on('error', r)); await new Promise(r => http.get('http://nowhere.invalid', r).on('error', r));
        const h = http2.connect('https://127.0.0.1:8443', { rejectUnauthorized: false }), q = h.request({ ':path': '/' }); q.resume(); await new Promise(r => q.on('end', r)); h.close(); os.networkInterfaces();
    },
    async rest() {
        await promisify(crypto.randomBytes)(10); await promisify(crypto.scrypt)('a', 'b', 32); await promisify(crypto.generateKeyPair)('rsa', { modulusLength: 2048 }); crypto.randomUUID(); await promisify(zlib.brotliCompress)(Buffer.alloc(9999));
        os.cpus(); os.loadavg(); os.freemem(); os.uptime(); os.hostname(); os.userInfo(); os.getPriority(); process.memoryUsage(); process.resourceUsage(); process.cpuUsage(); process.umask(); process.getgroups(); process.title = 'worker';
        const held = []; for (let i = 0; i < 200; i++) held.push(new Array(50000).fill(i)); v8.writeHeapSnapshot('/tmp/heap-' + process.pid + '.heapsnapshot'); process.report.writeReport('/tmp/report-' + process.pid + '.json'); console.log('said'); console.error('said');
        const m = await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])); await WebAssembly.instantiate(m); await new Promise(setImmediate);
    },
    async full() { try { await fsp.writeFile('/full/file-' + process.pid, Buffer.alloc(3000000)); return 'room'; } catch (e) { return e.code; } finally { await fsp.rm('/full/file-' + process.pid, { force: true }); } },
};
async function answer(request, response) {
    try { request.resume(); const said = (await (jobs[request.url.slice(1)] || (async () => 'it-serves'))()) || 'done'; response.end(said); } catch (e) { console.error(e); response.statusCode = 500; response.end(); }
}
http.createServer(answer).listen(8080, '127.0.0.1'); http.createServer(answer).listen(8080, '::1'); http2.createSecureServer(keys, answer).listen(8443, '127.0.0.1');
END
}

serve() {
    export NODE_OPTIONS='--report-on-signal --report-signal=SIGQUIT --report-directory=/tmp'
    exec node --max-old-space-size=200 /srv/service.js
}
ready() { curl -sf http://127.0.0.1:8080/ && curl -sf 'http://[::1]:8080/' && curl -skf https://127.0.0.1:8443/; }

load() {
    local path i
    head -c 2000000 /dev/zero >/tmp/body
    for path in '' files processes network rest; do
        for i in 1 2; do
            must curl -sf -o /dev/null "http://127.0.0.1:8080/$path"
            must curl -sf -o /dev/null "http://[::1]:8080/$path"
            must curl -skf -o /dev/null "https://127.0.0.1:8443/$path"
        done
    done
    curl -sf http://127.0.0.1:8080/full | grep -q ENOSPC || exit
    must curl -sf -T /tmp/body -o /dev/null http://127.0.0.1:8080/
    hold 8080 700
    until_ok curl -sf -m 10 http://127.0.0.1:8080/files || exit
    kill -QUIT 1
    until_ok sh -c 'ls /tmp/report.*.json' || exit
    pkill -KILL -n -P 1
    until_ok curl -sf -m 10 http://127.0.0.1:8080/ || exit
    pkill -SEGV -o -P 1
    until_ok curl -sf -m 10 http://127.0.0.1:8080/ || exit
    workers=$(pgrep -P 1 node)
    kill -USR2 1
    for i in $workers; do gone "$i" || exit; done
    until_ok curl -sf -m 10 http://127.0.0.1:8080/files || exit
    # The inspector; last, since new workers would want its port, too.
    kill -USR1 1
    until_ok curl -sf -m 10 http://127.0.0.1:9229/json/version
}

inside() { node -e 'require("http").get("http://127.0.0.1:8080/", r => process.exit(r.statusCode === 200 ? 0 : 1))'; }

# shellcheck shell=bash
# Java: a service that does what services do with the standard library, under four collectors; dumps of threads and heap,
# TLS, child processes, DNS failure, a full disk, more connections than file descriptors.
# shellcheck disable=SC2016,SC2034,SC2086,SC2154,SC2317 # run by lib.sh, some of it in the containers
packages=(openjdk-17-jdk-headless)
group=language-runtime
title='Java (OpenJDK)'
components=1
ends=(TERM INT HUP)

prepare() {
    local java=/usr/lib/jvm/java-17-openjdk-amd64
    mkdir -p "$rootfs/srv/java"
    cat >"$rootfs/srv/java/Service.java" <<'END'
import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.security.*;
import java.util.concurrent.*;
import javax.net.ssl.*;

public class Service {
    static void files() throws Exception {
        Path folder = Files.createTempDirectory("service"), a = folder.resolve("a");
        Files.writeString(a, "x".repeat(100000));
        Files.copy(a, folder.resolve("b"), StandardCopyOption.COPY_ATTRIBUTES);
        Files.move(folder.resolve("b"), folder.resolve("c"), StandardCopyOption.ATOMIC_MOVE);
        Files.createSymbolicLink(folder.resolve("d"), a); Files.createLink(folder.resolve("e"), a); Files.readSymbolicLink(folder.resolve("d"));
        Files.getFileStore(a).getUsableSpace(); Files.setPosixFilePermissions(a, java.nio.file.attribute.PosixFilePermissions.fromString("rw-r--r--"));
        Files.setLastModifiedTime(a, java.nio.file.attribute.FileTime.fromMillis(0)); Files.isWritable(a); a.toRealPath(); Files.getOwner(a);
        try (FileChannel c = FileChannel.open(a, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            c.lock().release(); MappedByteBuffer m = c.map(FileChannel.MapMode.READ_WRITE, 0, 4096); m.put(0, (byte) 1); m.force();
            c.read(ByteBuffer.allocateDirect(10), 5); c.write(ByteBuffer.allocate(10), 5); c.truncate(50000); c.force(true); c.force(false);
            c.transferTo(0, 1000, Channels.newChannel(OutputStream.nullOutputStream()));
            c.write(new ByteBuffer[] {ByteBuffer.allocate(1), ByteBuffer.allocate(1)});
        }
        try (RandomAccessFile r = new RandomAccessFile(a.toFile(), "rws")) { r.setLength(10); r.seek(3); r.write(1); }
        try (WatchService w = FileSystems.getDefault().newWatchService()) {
            folder.register(w, StandardWatchEventKinds.ENTRY_CREATE); Files.createFile(folder.resolve("f")); w.poll(2, TimeUnit.SECONDS);
        }
        try (var walk = Files.walk(folder)) { walk.sorted(java.util.Comparator.reverseOrder()).forEach(p -> p.toFile().delete()); }
    }
    static void processes() throws Exception {
        new ProcessBuilder("ls", "/").inheritIO().redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor();
        Process p = new ProcessBuilder("sleep", "50").directory(new File("/tmp")).start(); p.destroy(); p.waitFor();
        ProcessHandle.allProcesses().count(); Runtime.getRuntime().exec(new String[] {"true"}).waitFor();
    }
    static void network() throws Exception {
        try { InetAddress.getByName("nowhere.invalid"); } catch (UnknownHostException e) { }
        InetAddress.getAllByName("localhost"); InetAddress.getAllByName("service.test"); try (Socket c = new Socket("service.test", 8080)) { c.getRemoteSocketAddress(); }
        try (DatagramChannel u = DatagramChannel.open()) { u.bind(new InetSocketAddress("127.0.0.1", 0)); u.send(ByteBuffer.allocate(1), u.getLocalAddress()); u.receive(ByteBuffer.allocate(1)); }
        try (Selector s = Selector.open(); ServerSocketChannel l = ServerSocketChannel.open().bind(new InetSocketAddress("::1", 0))) {
            l.configureBlocking(false); l.register(s, SelectionKey.OP_ACCEPT);
            try (SocketChannel c = SocketChannel.open(l.getLocalAddress())) { s.select(1000); SocketChannel d = l.accept(); d.write(ByteBuffer.allocate(1)); c.read(ByteBuffer.allocate(1)); s.wakeup(); d.close(); }
        }
        Path path = Path.of("/tmp/java.sock"); Files.deleteIfExists(path);
        try (ServerSocketChannel l = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path)); SocketChannel c = SocketChannel.open(UnixDomainSocketAddress.of(path))) { l.accept().close(); }
        try (AsynchronousServerSocketChannel l = AsynchronousServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0))) { try (Socket c = new Socket()) { var f = l.accept(); c.connect(l.getLocalAddress(), 1000); f.get().close(); } }
        for (var i : java.util.Collections.list(NetworkInterface.getNetworkInterfaces())) { i.getMTU(); i.isUp(); i.getHardwareAddress(); }
        InetAddress.getLocalHost(); InetAddress.getLoopbackAddress().isReachable(300);
        var client = java.net.http.HttpClient.newHttpClient();
        client.send(java.net.http.HttpRequest.newBuilder(URI.create("http://127.0.0.1:8080/")).build(), java.net.http.HttpResponse.BodyHandlers.ofString());
        try (ServerSocket old = new ServerSocket(0); Socket c = new Socket("127.0.0.1", old.getLocalPort())) { old.accept().close(); c.setSoTimeout(100); c.getInputStream().read(); }
    }
    static void rest() throws Exception {
        new SecureRandom().nextInt(); SecureRandom.getInstanceStrong().nextInt(); KeyPairGenerator.getInstance("RSA").generateKeyPair();
        var pool = Executors.newFixedThreadPool(20); for (int i = 0; i < 200; i++) pool.submit(() -> new byte[100000]); pool.shutdown(); pool.awaitTermination(9, TimeUnit.SECONDS);
        for (int i = 0; i < 300; i++) { byte[] b = new byte[500_000]; b[1] = 1; } System.gc(); Thread.sleep(10);
        ForkJoinPool.commonPool().submit(() -> 1).get(); Runtime.getRuntime().availableProcessors();
        java.lang.management.ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
        ((com.sun.management.OperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean()).getCpuLoad();
        ((com.sun.management.UnixOperatingSystemMXBean) java.lang.management.ManagementFactory.getOperatingSystemMXBean()).getOpenFileDescriptorCount();
        System.out.println(System.getProperty("user.home")); java.time.ZonedDateTime.now(); new java.util.zip.CRC32().update(1); java.util.logging.Logger.getGlobal().info("said");
    }
    static String full() { try { Files.write(Path.of("/full/file"), new byte[3_000_000]); return "room"; } catch (IOException e) { return e.getMessage(); } finally { new File("/full/file").delete(); } }

    static void answer(HttpExchange e) throws IOException {
        String said = "it-serves";
        try {
            e.getRequestBody().readAllBytes();
            switch (e.getRequestURI().getPath()) { case "/files": files(); break; case "/processes": processes(); break; case "/network": network(); break; case "/rest": rest(); break; case "/full": said = full(); break; }
            e.sendResponseHeaders(200, said.length()); e.getResponseBody().write(said.getBytes());
        } catch (Throwable t) { t.printStackTrace(); e.sendResponseHeaders(500, -1); } finally { e.close(); }
    }
    public static void main(String[] a) throws Exception {
        var pool = Executors.newCachedThreadPool();
        for (String host : new String[] {"127.0.0.1", "::1"}) { HttpServer s = HttpServer.create(new InetSocketAddress(host, 8080), 50); s.createContext("/", Service::answer); s.setExecutor(pool); s.start(); }
        KeyStore k = KeyStore.getInstance("PKCS12"); try (var in = new FileInputStream("/srv/java/keys.p12")) { k.load(in, "secret".toCharArray()); }
        KeyManagerFactory f = KeyManagerFactory.getInstance("SunX509"); f.init(k, "secret".toCharArray());
        SSLContext c = SSLContext.getInstance("TLS"); c.init(f.getKeyManagers(), null, null);
        HttpsServer t = HttpsServer.create(new InetSocketAddress("127.0.0.1", 8443), 50); t.setHttpsConfigurator(new HttpsConfigurator(c)); t.createContext("/", Service::answer); t.setExecutor(pool); t.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { t.stop(0); System.out.println("stopped"); }));
    }
}
END
    in_root sh -c "openssl pkcs12 -export -in /etc/certificate.pem -inkey /etc/key.pem -passout pass:secret -out /srv/java/keys.p12 &&
            $java/bin/javac -d /srv/java /srv/java/Service.java"
}

serve() {
    case $round in 0) collector='-XX:+UseG1GC' ;; 1) collector='-XX:+UseZGC' ;; 2) collector='-XX:+UseParallelGC' ;; *) collector='-XX:+UseSerialGC' ;; esac
    exec /usr/lib/jvm/java-17-openjdk-amd64/bin/java $collector -Xmx128m -Xlog:gc:/tmp/gc.log -XX:+HeapDumpOnOutOfMemoryError -XX:HeapDumpPath=/tmp -cp /srv/java Service
}
ready() { curl -sf http://127.0.0.1:8080/ && curl -skf https://127.0.0.1:8443/; }

load() {
    local path
    head -c 2000000 /dev/zero >/tmp/body
    for path in '' files processes network rest; do
        must curl -sf -o /dev/null "http://127.0.0.1:8080/$path"
        must curl -sf -o /dev/null "http://[::1]:8080/$path"
        must curl -skf -o /dev/null "https://127.0.0.1:8443/$path"
    done
    curl -sf http://127.0.0.1:8080/full | grep -q 'No space left' || exit
    must curl -sf -T /tmp/body -o /dev/null http://127.0.0.1:8080/
    kill -QUIT 1
    hold 8080 700
    until_ok curl -sf http://127.0.0.1:8080/files
}

inside() {
    bin=/usr/lib/jvm/java-17-openjdk-amd64/bin
    # On a busy machine, the server takes longer than the ten seconds that are the default.
    patient=-J-Dsun.tools.attach.attachTimeout=120000
    $bin/jstack $patient 1 >/dev/null
    for command in VM.flags GC.class_histogram 'GC.heap_dump -overwrite /tmp/heap.hprof' VM.native_memory Thread.print VM.metaspace \
        'JFR.start duration=2s filename=/tmp/recording.jfr' JFR.check GC.run VM.log; do
        $bin/jcmd $patient 1 $command >/dev/null
    done
}

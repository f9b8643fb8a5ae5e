"""The resolver of an application's network, beside its client: service.test has an address of each family, and nothing
else has any. What it says of IPv6 does not fit into a datagram, so that it is asked by TCP, too."""
import signal
import socket
import socketserver
import struct
import threading

ADDRESSES = {1: socket.inet_pton(socket.AF_INET, "127.0.0.1"), 28: socket.inet_pton(socket.AF_INET6, "::1")}
NO_SUCH_NAME, TRUNCATED = 0x8583, 0x8780


def answer(query, datagram):
    end = 12
    while query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    (kind,) = struct.unpack("!H", query[end + 1 : end + 3])
    if datagram and kind == 28:
        return struct.pack("!2s5H", query[:2], TRUNCATED, 1, 0, 0, 0) + question
    if question[:-4].lower() != b"\7service\4test\0":
        return struct.pack("!2s5H", query[:2], NO_SUCH_NAME, 1, 0, 0, 0) + question
    data = ADDRESSES.get(kind)
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(data)) + data if data else b""
    return struct.pack("!2s5H", query[:2], 0x8580, 1, 1 if data else 0, 0, 0) + question + record


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(answer(self.request[0], True), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            said = answer(self.rfile.read(int.from_bytes(head, "big")), False)
            self.wfile.write(struct.pack("!H", len(said)) + said)


# As its first process, httpd signals every process that it can see.
for name in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(name, signal.SIG_IGN)
socketserver.TCPServer.allow_reuse_address = True
stream = socketserver.ThreadingTCPServer(("127.0.0.1", 53), Stream)
threading.Thread(target=stream.serve_forever, daemon=True).start()
socketserver.ThreadingUDPServer(("127.0.0.1", 53), Datagram).serve_forever()

"""Reaches something by a socket; a listener of the test's notices."""

import asyncio
import ctypes
import http.client
import socket
import struct

from calls import checked, libc

MULTIPATH = 262
FAST_OPEN = 0x20000000
LOOPBACK_SERVICE = b"llmspell"


def _connect(family, kind, address, protocol=0):
    with socket.socket(family, kind, protocol) as talk:
        talk.settimeout(5)
        talk.connect(address)
        talk.send(LOOPBACK_SERVICE)


def tcp(room):
    _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", room["tcp4"]))


def tcp6(room):
    _connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", room["tcp6"]))


def multipath_tcp(room):
    _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", room["tcp4"]), MULTIPATH)


def multipath_tcp6(room):
    _connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", room["tcp6"]), MULTIPATH)


def tcp_fast_open(room):
    """Connects within sendto, where connect isn't called."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as talk:
        talk.sendto(LOOPBACK_SERVICE, FAST_OPEN, ("127.0.0.1", room["tcp4"]))


def udp(room):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.sendto(LOOPBACK_SERVICE, ("127.0.0.1", room["udp4"]))


def udp_connected(room):
    _connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", room["udp4"]))


def udp6(room):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as talk:
        talk.sendto(LOOPBACK_SERVICE, ("::1", room["udp6"]))


def udp_by_message(room):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.sendmsg([LOOPBACK_SERVICE], [], 0, ("127.0.0.1", room["udp4"]))


def udp_lite(room):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136) as talk:
        talk.bind(("127.0.0.1", 0))
    return "done"


def sctp(room):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    return "done"


def name_server(room):
    """A question for a name, with what is to be told in the name."""
    question = b"\x04mine\x06secret\x04test\x00" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.sendto(
            struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + question, ("127.0.0.1", room["udp4"])
        )


def look_up(room):
    """A host by its name, as the machine knows it."""
    return "done" if socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM) else "no"


def library_of_http(room):
    talk = http.client.HTTPConnection("127.0.0.1", room["tcp4"], timeout=5)
    talk.request("GET", "/secret")


def event_loop(room):
    async def connect():
        _, writer = await asyncio.open_connection("127.0.0.1", room["tcp4"])
        writer.write(LOOPBACK_SERVICE)
        await writer.drain()
        writer.close()

    asyncio.run(connect())


def listen(room):
    """Waits for others to come, and one does: itself."""
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()):
        server.accept()[0].close()
    return "done"


def raw(room):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as talk:
        talk.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FF, 0, 0), ("127.0.0.1", 0))
    return "done"


def ping_socket(room):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as talk:
        talk.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FF, 0, 0), ("127.0.0.1", 0))
    return "done"


def netlink(room):
    """The addresses of this host."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as talk:
        talk.sendto(struct.pack("<IHHIIB7x", 24, 22, 0x301, 1, 0, 0), (0, 0))
        return "done" if len(talk.recv(65536)) > 24 else "no"


def netlink_of_events(room):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as talk:
        talk.bind((0, 1))
    return "done"


def packets(room):
    """Each packet of the host, as it goes by."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as talk:
        talk.bind(("lo", 0))
    return "done"


def to_the_hypervisor(room):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as talk:
        talk.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    return "done"


def ciphers_of_the_kernel(room):
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as kind:
        kind.bind(("hash", "sha256"))
        talk, _ = kind.accept()
        with talk:
            talk.sendall(b"abc")
            return "done" if talk.recv(32)[:2] == b"\xba\x78" else "no"


def bluetooth(room):
    socket.socket(31, socket.SOCK_RAW, 1).close()
    return "done"


def express_data_path(room):
    socket.socket(44, socket.SOCK_RAW, 0).close()
    return "done"


def can_bus(room):
    socket.socket(29, socket.SOCK_RAW, 1).close()
    return "done"


def tipc(room):
    socket.socket(30, socket.SOCK_SEQPACKET, 0).close()
    return "done"


def kernel_tls_of_messages(room):
    socket.socket(41, socket.SOCK_DGRAM, 0).close()
    return "done"


def key_management(room):
    socket.socket(15, socket.SOCK_RAW, 2).close()
    return "done"


def shared_memory_of_smc(room):
    socket.socket(43, socket.SOCK_STREAM, 0).close()
    return "done"


def unix_by_path(room):
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, room["unix"])


def unix_packets_by_path(room):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as talk:
        talk.sendto(LOOPBACK_SERVICE, room["unix_packets"])


def unix_abstract(room):
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + room["abstract"])


def unix_packets_abstract(room):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as talk:
        talk.sendto(LOOPBACK_SERVICE, "\0" + room["abstract_packets"])


def pair_turned_elsewhere(room):
    """A pair needs no address; one of packets can be given another one."""
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(LOOPBACK_SERVICE, room["unix_packets"])


def pair_connected_elsewhere(room):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.connect("\0" + room["abstract_packets"])
    one.send(LOOPBACK_SERVICE)


def pair_of_raw(room):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)
    one.sendto(LOOPBACK_SERVICE, room["unix_packets"])


def pair_of_packets(room):
    """What has borders, and descriptors that are passed along."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(one, [b"x"], [0])
    return "done" if socket.recv_fds(other, 1, 1)[1] else "no"


def passed_descriptors(room):
    """Descriptors in flight are held by nobody's limit."""
    one, other = socket.socketpair()
    socket.send_fds(one, [b"x"], [0])
    return "done" if socket.recv_fds(other, 1, 1)[1] else "no"


def pair_of_another_family(room):
    ends = (ctypes.c_int * 2)()
    checked(libc.socketpair(30, socket.SOCK_SEQPACKET, 0, ends), "socketpair")
    return "done"


def larger_buffers(room):
    one, _ = socket.socketpair()
    one.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)  # SO_SNDBUFFORCE
    return "done"

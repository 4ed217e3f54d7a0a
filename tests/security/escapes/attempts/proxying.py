"""Asks the proxy that programs have for what isn't listed, or for too much."""

import os
import socket
import time
import urllib.parse


def _proxy():
    found = urllib.parse.urlsplit(os.environ["http_proxy"])
    return found.hostname, found.port


def asks(text):
    """One request, as it is; what comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as talk:
        talk.settimeout(5)
        talk.connect(_proxy())
        talk.sendall(text)
        found = b""
        try:
            while len(found) < 1000 and (part := talk.recv(4096)):
                found += part
        except OSError:
            return found
        return found


def asks_without_end():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as talk:
        talk.connect(_proxy())
        talk.sendall(b"GET / HTTP/1.1\r\n")
        while True:
            talk.sendall(b"X-More: " + b"x" * 65536)


def holds_many():
    """As many as it can, each with half a request."""
    held = []
    try:
        for _ in range(240):
            talk = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            talk.settimeout(0.2)
            talk.connect(_proxy())
            talk.sendall(b"CONNECT api.")
            held.append(talk)
    except OSError:
        pass
    time.sleep(60)


def others(ports):
    """Other listeners by the same address."""
    found = []
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as talk:
            talk.settimeout(1)
            try:
                talk.connect(("127.0.0.1", port))
                found.append(port)
            except OSError:
                continue
    return found


def well():
    return 42

"""A tool that makes requests, in each way that there is."""

import httpx
import requests

from llmspell.security.egress import HttpxTransport, RequestsAdapter, client


def fetch(url):
    response = client().get(url)
    return [response.status, response.text]


def fetch_many(url, count):
    return [client().get(url).status for _ in range(count)]


def by_httpx(url):
    with httpx.Client(transport=HttpxTransport()) as made:
        return made.get(url).text


def by_requests(url):
    with requests.Session() as made:
        made.mount("http://", RequestsAdapter())
        return made.get(url).text


def by_socket(host, port):
    import socket

    socket.create_connection((host, port), timeout=1).close()

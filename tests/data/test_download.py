"""Downloads appear only whole and verified; everything else is a sentence."""

import email.message
import hashlib
import http.server
import io
import os
import socket
import threading
import time
import urllib.request
import urllib.response

import pytest

from labkit.data import download as module
from labkit.data.download import fetch
from labkit.errors import DataError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()
URL = "https://data.example/set.tar.gz"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers GET with what the test put into `plan`: one reply a request."""

    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.plan.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A local server that stands for data.example; pauses between tries are only noted."""
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        server.plan, server.asked, server.pauses = [], [], []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(module, "_connect", lambda _: urllib.request.urlopen(address))
        monkeypatch.setattr(time, "sleep", server.pauses.append)
        yield server
        server.shutdown()


def reply(body, length=None):
    return 200, {"Content-Length": str(length or len(body))}, body


def test_a_good_file_arrives(server, home):
    server.plan = [reply(CONTENT)]
    fetch(URL, home / "new" / "set.tar.gz", size=len(CONTENT), md5=MD5)
    assert (home / "new" / "set.tar.gz").read_bytes() == CONTENT
    assert os.listdir(home / "new") == ["set.tar.gz"]


@pytest.mark.faults(11)
def test_a_truncated_file_is_tried_three_times_then_refused(server, home):
    server.plan = [reply(CONTENT[:n], len(CONTENT)) for n in (1000, 0, 700_000)]
    with pytest.raises(DataError, match=r"ended after 700,000 of 1,048,576 bytes, 3 times"):
        fetch(URL, home / "set", size=len(CONTENT), md5=MD5)
    assert server.pauses == list(module.PAUSES)
    assert os.listdir(home) == []


@pytest.mark.faults(11)
def test_a_truncated_file_is_fetched_again_from_zero(server, home):
    server.plan = [reply(CONTENT[:1000], len(CONTENT)), reply(CONTENT)]
    fetch(URL, home / "set", size=len(CONTENT), md5=MD5)
    assert (home / "set").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.faults(12)
@pytest.mark.parametrize(
    "body", [CONTENT[:-1] + b"?", CONTENT + b"more"], ids=["same size", "long"]
)
def test_another_file_upstream_is_never_kept(server, home, body):
    server.plan = [reply(body)]
    with pytest.raises(DataError, match="the file upstream is not the one") as error:
        fetch(URL, home / "set", size=len(CONTENT), md5=MD5)
    got = hashlib.md5(body[: len(CONTENT) + 1]).hexdigest()
    assert MD5 in str(error.value)
    assert got in str(error.value)
    assert os.listdir(home) == []
    assert len(server.asked) == 1


@pytest.mark.faults(9)
def test_a_full_disk_stops_a_download(server, home, monkeypatch):
    server.plan = [reply(CONTENT)]

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="it needs 1,048,576 bytes"):
        fetch(URL, home / "set", size=len(CONTENT), md5=MD5)
    assert os.listdir(home) == []


def sent_to(target):
    """What urllib's handler of https gives for a reply that redirects to `target`."""

    def https_open(handler, request):
        headers = email.message.Message()
        headers["Location"] = target if request.full_url == URL else "https://data.example/loop"
        found = urllib.response.addinfourl(io.BytesIO(), headers, request.full_url, 302)
        found.msg = "Found"
        return found

    return https_open


@pytest.mark.faults(14)
@pytest.mark.parametrize(
    "target",
    ["http://data.example/x", "https://elsewhere.example/x", "ftp://data.example/x", "file:///x"],
)
def test_a_redirect_away_from_https_or_the_host_is_refused(home, monkeypatch, target):
    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", sent_to(target))
    with pytest.raises(DataError, match=f"{target}'?,? (which labkit does not follow|is not)"):
        fetch(URL, home / "set", size=1, md5="0")
    assert os.listdir(home) == []


def test_a_redirect_on_the_host_is_followed(home, monkeypatch):
    monkeypatch.setattr(
        urllib.request.HTTPSHandler, "https_open", sent_to("https://data.example/new")
    )
    with pytest.raises(DataError, match="cannot reach .*infinite loop"):
        fetch(URL, home / "set", size=1, md5="0")


@pytest.mark.faults(14)
@pytest.mark.parametrize("url", ["http://data.example/x", "ftp://data.example/x", "file:///x"])
def test_only_https_is_opened(url, home):
    with pytest.raises(DataError, match="over https only"):
        fetch(url, home / "set", size=1, md5="0")
    assert os.listdir(home) == []


@pytest.mark.faults(13)
def test_without_network_the_answer_is_quick(home, monkeypatch):
    def unreachable(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"cannot reach https://data.example/set.tar.gz: .*Name or"):
        fetch(URL, home / "set", size=1, md5="0")
    assert time.perf_counter() - started < 2
    assert os.listdir(home) == []


@pytest.mark.faults(13)
def test_a_hanging_name_server_is_given_up(home, monkeypatch):
    waited = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: waited.wait(20))
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    with pytest.raises(DataError, match=r"no answer in 0\.2 seconds"):
        fetch(URL, home / "set", size=1, md5="0")
    waited.set()
    assert module.CONNECT_SECONDS < 5

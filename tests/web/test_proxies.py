"""The proxies of docs/how-to/web.md, as they stand there but for files, ports and passwords, before a running page."""

from __future__ import annotations

import getpass
import grp
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.certificates import Authority
from tests.support.documents import Document
from tests.support.loopback import free_port, running
from tests.support.programs import program
from tests.support.promql import ROOT
from tests.support.streamclient import events
from tests.support.waiting import until
from tests.support.webdata import outage_of_x
from tests.support.webserver import WebServer, web_server

PAGE = Document(ROOT / "docs" / "how-to" / "web.md")
HOST = "status.example.org"
USER, PASSWORD = "newsroom", "a word that nobody guesses"
#: Facts that are there before anybody asks.
BEFORE = 100


class Answer(NamedTuple):
    """What the proxy has answered."""

    code: int
    version: str
    body: str


class Client:
    """`curl`, which knows the proxy by its name and trusts the authority of its certificate."""

    def __init__(self, port: int, authority: Path, folder: Path) -> None:
        self.site = f"https://{HOST}:{port}"
        self._trust = ["--silent", "--show-error", "--http2", "--resolve", f"{HOST}:{port}:127.0.0.1"]
        self._trust += ["--cacert", str(authority)]
        self._folder = folder

    def get(self, path: str, *, password: str | None = PASSWORD) -> Answer:
        """Ask for a path, which is sent as it is."""
        who = [] if password is None else ["--user", f"{USER}:{password}"]
        told = ["--path-as-is", "--write-out", "\n%{http_code} %{http_version}"]
        command = [program("curl"), *self._trust, *who, *told, f"{self.site}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        body, _, last = done.stdout.rpartition("\n")
        code, version = last.split()
        return Answer(int(code), version, body)

    @contextmanager
    def stream(self, path: str) -> Iterator[Path]:
        """Listen until the end of the context; yield the file that holds what has come so far."""
        file = self._folder / "stream"
        command = [program("curl"), *self._trust, "--user", f"{USER}:{PASSWORD}", "--no-buffer", f"{self.site}{path}"]
        with file.open("wb") as output:
            process = subprocess.Popen(command, stdout=output)
            try:
                yield file
            finally:
                process.terminate()
                process.wait()


class Before(NamedTuple):
    """A proxy before a page."""

    client: Client
    server: WebServer


def replaced(text: str, **others: str) -> str:
    """Return a text with each of these put in place of what stands there, which must be there."""
    for old, new in others.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, port: int, server: WebServer, authority: Authority) -> Iterator[None]:
    """Run nginx with the page's block for a server, unprivileged, with all its files in one folder."""
    certified = authority.server("proxy", HOST)
    passwords = folder / "htpasswd"
    passwords.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    [block] = [block.text for block in PAGE.blocks if block.language == "nginx"]
    changed = {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "/etc/ssl/status.example.org.pem": str(certified.certificate),
        "/etc/ssl/private/status.example.org.key": str(certified.key),
        "/etc/nginx/status.htpasswd": str(passwords),
        "http://127.0.0.1:6068": server.address,
    }
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nuser {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};\npid {folder / 'nginx.pid'};\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{replaced(block, **changed)}\n"
        # of the test alone: what says that nginx is there
        f"server {{ listen 127.0.0.1:{(alive := free_port())}; return 200; }}\n}}\n"
    )
    command = [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)]
    with running(command, f"http://127.0.0.1:{alive}/", folder / "nginx.log"):
        yield


@contextmanager
def caddy(folder: Path, port: int, server: WebServer, authority: Authority) -> Iterator[None]:
    """Run Caddy with the page's block for a site and a certificate of ours, with all its files in one folder."""
    caddy = program("caddy")
    certified = authority.server("proxy", HOST)
    [block] = [block.text for block in PAGE.blocks if block.text.startswith(HOST)]
    hash_ = subprocess.run(
        [caddy, "hash-password", "--plaintext", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    version = subprocess.run([caddy, "version"], capture_output=True, text=True, check=True).stdout
    [number] = re.findall(r"^v?(\d+)\.(\d+)", version)
    name = "basic_auth" if tuple(map(int, number)) >= (2, 8) else "basicauth"
    changed = {
        f"{HOST} {{": f"{HOST}:{port} {{\n    bind 127.0.0.1\n    tls {certified.certificate} {certified.key}",
        "basic_auth": name,
        "$2a$14$...": hash_,
        "127.0.0.1:6068": server.address.removeprefix("http://"),
    }
    file = folder / "Caddyfile"
    file.write_text(
        f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{replaced(block, **changed)}\n"
        # of the test alone: what says that Caddy is there
        f"http://127.0.0.1:{(alive := free_port())} {{\n    respond 200\n}}\n"
    )
    places = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    command = [caddy, "run", "--config", str(file), "--adapter", "caddyfile"]
    with running(command, f"http://127.0.0.1:{alive}/", folder / "caddy.log", {**os.environ, **places}):
        yield


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Before]:
    """A page that knows the beginning of the outage of X, behind a proxy."""
    port = free_port()
    authority = Authority(tmp_path)
    with (
        web_server(tmp_path, outage_of_x()[1][:BEFORE]) as server,
        request.param(tmp_path, port, server, authority),
    ):
        yield Before(Client(port, authority.file, tmp_path), server)


def streams(server: WebServer) -> float:
    """Return how many clients the page knows to listen."""
    text = subprocess.run(
        [program("curl"), "--silent", "--fail", f"{server.address}/metrics"], capture_output=True, text=True, check=True
    ).stdout
    [line] = [line for line in text.splitlines() if line.startswith("tocsin_web_streams ")]
    return float(line.split()[1])


def test_who_has_the_password_sees_the_page_and_nobody_else(before: Before) -> None:
    for path in ("/", "/services/x", "/api/v1/services", "/api/v1/stream", "/static/page.js", "/outages.atom"):
        assert before.client.get(path, password=None).code == 401
        assert before.client.get(path, password="wrong").code == 401
    code, version, page = before.client.get("/")
    assert (code, version) == (200, "2")
    assert 'href="/services/x"' in page
    assert before.client.get("/static/page.js").code == 200


def test_programs_get_what_they_would_get_without_the_proxy(before: Before) -> None:
    path = "/api/v1/services"
    direct = subprocess.run(
        [program("curl"), "--silent", f"{before.server.address}{path}"], capture_output=True, text=True, check=True
    )
    assert before.client.get(path) == Answer(200, "2", direct.stdout)
    assert before.client.get("/api/v1/services/x?range=nonsense").code == 400


def test_links_lead_to_the_proxy(before: Before) -> None:
    # nginx does not pass the port on, which is no other than 443 in life
    assert re.search(rf'href="https://{HOST}(:\d+)?/history"', before.client.get("/outages.atom").body)


SPELLINGS = ["{}", "{}/", "/{}", "/.{}", "{}?a=b", "/static/..{}", "/%6d%65trics", "/%2e{}"]


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
def test_what_is_for_the_inside_is_closed_however_it_is_spelt(before: Before, path: str) -> None:
    told = {spelling: before.client.get(spelling.format(path)) for spelling in SPELLINGS}
    assert told["{}"].code == told["{}?a=b"].code == told["/%6d%65trics"].code == 404
    assert [spelling for spelling, answer in told.items() if answer.code == 200] == []


def test_the_stream_arrives_event_by_event(before: Before) -> None:
    """Each change is told before the next one is made; what buffers holds it back until the next heartbeat."""
    facts = outage_of_x()[1][BEFORE:]

    def heard(file: Path, known: int = 0) -> list[str]:
        return [each.name for each in events(file.read_text())[known:]]

    def told(file: Path, known: int) -> bool:
        return "revision" in heard(file, known)

    with before.client.stream("/api/v1/stream?service=x") as file:
        until(lambda: heard(file)[:2] == ["status", "revision"], "it says where it is")
        for number in range(5):
            known = len(heard(file))
            before.server.enter(facts[number * 20 : (number + 1) * 20])
            until(partial(told, file, known), "the change has come", 60)
        assert {"services", "levels"} <= set(heard(file))
        assert file.read_text().count("\n: there\n") < 3, "heartbeats have pushed the changes out"
        assert streams(before.server) == 1
    until(lambda: streams(before.server) == 0, "the page knows that nobody listens any more")

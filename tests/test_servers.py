"""Servers listen on this machine only, and are closed to whoever has no token or comes from another site."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
import pytest

from aelib import sweeps
from aelib.series import ROOT
from benchmarks.serving import free_port, serving

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Server(NamedTuple):
    """A server that runs, one of its kernels, and what a browser has that may come in."""

    name: str
    process: subprocess.Popen
    port: int
    token: str
    cookie: str
    kernel: str

    def status(self, path, method="GET", **headers):
        return ask(self.port, path, method, **headers)[0]

    @property
    def channels(self):
        return f"/api/kernels/{self.kernel}/channels"


def ask(port, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, b"" if answer.status == 101 else answer.read()


def cookies(headers):
    return "; ".join(line.partition(";")[0] for line in headers.get_all("Set-Cookie"))


@pytest.fixture(scope="module")
def explore(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("1 + 1")],
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, folder / "page.ipynb")
    port = free_port()
    (folder / "browser.py").write_text("import sys; open('opened', 'w').write(sys.argv[1])")
    script = (
        f"import os; os.environ['BROWSER'] = {f'{sys.executable} browser.py %s'!r}\n"
        "from aelib import application\n"
        f"application.serve_notebook(application.Path('page.ipynb'), port={port}, open_browser=True)"
    )
    with serving([sys.executable, "-c", script], folder, ready="explorer: http") as (process, log):
        printed = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\w+) ", log.read_text())
        assert int(printed[1]) == port
        _, headers, page = ask(port, f"/?token={printed[2]}")
        kernel = re.search(rb'"kernelId": *"([\w-]+)"', page)[1].decode()
        yield Server("explore", process, port, printed[2], cookies(headers), kernel)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    options = f"ARGS=--no-browser --allow-root --ServerApp.port={port}"
    # The environment that these tests run in, whichever it is.
    command = ["make", "-C", ROOT, "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}", "lab", options]
    with serving(command, folder, ready="token=") as (process, log):
        token = re.search(r"token=(\w+)", log.read_text())[1]
        status, _, body = ask(port, "/api/kernels", "POST", body="{}", Authorization=f"token {token}")
        assert status == 201
        _, headers, _ = ask(port, f"/lab?token={token}")
        yield Server("lab", process, port, token, cookies(headers), json.loads(body)["id"])


@pytest.fixture(params=["explore", "lab"])
def server(request):
    return request.getfixturevalue(request.param)


def listening(process):
    """Addresses at which a process and its children listen."""
    found = set()
    for member in [process, *process.children(recursive=True)]:
        with contextlib.suppress(
            psutil.NoSuchProcess
        ):  # a child that has ended in the meantime listens no more
            found |= {
                connection.laddr[:2]
                for connection in member.net_connections(kind="inet")
                if connection.status == psutil.CONN_LISTEN
            }
    return found


def test_nobody_listens_but_on_this_machine(server):
    end, addresses = time.monotonic() + 60, set()
    while len(addresses) < 6 and time.monotonic() < end:  # a kernel has five channels, once it has started
        addresses = listening(psutil.Process(server.process.pid))
        time.sleep(0.1)
    assert len(addresses) >= 6
    assert ("127.0.0.1", server.port) in addresses
    assert {ip for ip, _ in addresses} <= {"127.0.0.1", "::1"}


def test_whoever_has_the_token_or_its_cookie_comes_in(server):
    own = f"http://127.0.0.1:{server.port}"
    assert server.status(f"/api/kernels/{server.kernel}?token={server.token}") == 200
    assert server.status(f"/api/kernels/{server.kernel}", Cookie=server.cookie) == 200
    assert server.status(server.channels, **UPGRADE, Cookie=server.cookie, Origin=own) == 101


@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong"])
def test_nobody_else_comes_in(server, token):
    page = "/lab" if server.name == "lab" else "/"
    status, headers, _ = ask(server.port, page + token)
    assert (status, headers["Location"].partition("?")[0]) == (302, "/login")
    assert server.status(f"/api/kernels/{server.kernel}{token}") == 403
    assert server.status(f"/api/kernels/{server.kernel}{token}", "DELETE") == 403
    assert server.status(server.channels + token, **UPGRADE) == 403


def test_a_page_of_another_site_does_not_come_in_with_our_cookie(server):
    theirs = {"Cookie": server.cookie, "Origin": "http://elsewhere.example"}
    assert server.status(server.channels, **UPGRADE, **theirs) == 403
    assert server.status(f"/api/kernels/{server.kernel}", "DELETE", **theirs) in (403, 404)
    assert server.status(f"/api/kernels/{server.kernel}", Cookie=server.cookie) == 200


def test_another_name_for_this_machine_is_refused(server):
    name = {"Host": f"elsewhere.example:{server.port}", "Origin": f"http://elsewhere.example:{server.port}"}
    assert server.status(f"/api/kernels/{server.kernel}?token={server.token}", **name) == 403
    assert server.status(f"{server.channels}?token={server.token}", **UPGRADE, **name) == 403


def test_voila_s_route_without_a_token_is_gone(explore):
    assert explore.status(f"/voila/query/{explore.kernel}", **UPGRADE) != 101
    assert explore.status("/voila/files/page.ipynb") == 403
    assert explore.status("/open/0123456789abcdef") == 403


def test_a_page_that_is_left_ends_its_kernel(explore):
    _, _, page = ask(explore.port, "/", Cookie=explore.cookie)
    kernel = re.search(rb'"kernelId": *"([\w-]+)"', page)[1].decode()
    leave = f"/voila/api/shutdown/{kernel}"
    assert explore.status(leave, "POST", Cookie=explore.cookie) == 403
    shown = re.search(r"_xsrf=([^;]+)", explore.cookie)[1]
    assert explore.status(leave, "POST", Cookie=explore.cookie, X_XSRFToken=shown) == 204
    assert explore.status(f"/api/kernels/{kernel}", Cookie=explore.cookie) == 404


def test_the_browser_is_given_an_address_that_leads_in_once(explore):
    opened, end = Path(psutil.Process(explore.process.pid).cwd(), "opened"), time.monotonic() + 60
    while not (opened.exists() and opened.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    address = opened.read_text()
    assert explore.token not in address, "every user of the machine can read a browser's command line"
    path = address.removeprefix(f"http://127.0.0.1:{explore.port}")
    status, headers, _ = ask(explore.port, path)
    assert (status, headers["Location"]) == (302, f"/?token={explore.token}")
    assert explore.status(path) == 403


def test_the_door_opens_once():
    from aelib._guard import _Door

    door = _Door()
    assert not door.opens("")
    key = door.new_key()
    assert [door.opens("x"), door.opens(key), door.opens(key), door.opens("")] == [False, True, False, False]


def test_a_sweep_s_scheduler_listens_here_only_and_speaks_to_its_own(monkeypatch):
    from distributed import Client

    with sweeps._client("", 1) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        addresses = listening(psutil.Process())
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert {ip for ip, _ in addresses} <= {"127.0.0.1", "::1"}
        with pytest.raises(OSError):
            Client(address.replace("tls", "tcp"), timeout=2)

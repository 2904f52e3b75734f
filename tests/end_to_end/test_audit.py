"""The audit of the dependencies, against a vulnerability service of our own: it passes only what the service was asked about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("pip_audit", reason="pip-audit is not installed")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "audit"
FLAW = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "it lets everybody in",
    "affected": [
        {
            "package": {"name": "lonely-package", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.3"}]}],
        }
    ],
}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An environment's folder with one package in it."""
    info = tmp_path / "packages" / "lonely_package-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lonely-package\nVersion: 1.2\n")
    return info.parent


class Service(HTTPServer):
    """Answers every question with `answer`, and remembers the questions."""

    answer: dict[str, object]
    asked: list[dict[str, object]]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), Handler) as server:
        server.answer, server.asked = {}, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def audit(packages: Path, port: int) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{port}/v1/query"
    cache = str(packages.parent / "cache")
    return subprocess.run(
        [str(SCRIPT), sys.prefix, "--osv-url", url, "--path", str(packages), "--cache-dir", cache],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )


def test_nothing_is_known(packages: Path, service: Service) -> None:
    done = audit(packages, service.server_port)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("trio-voice: no known vulnerability in the packages of ")
    assert service.asked == [{"package": {"name": "lonely-package", "ecosystem": "PyPI"}, "version": "1.2"}]


def test_what_is_known_is_listed_with_what_to_do(packages: Path, service: Service) -> None:
    service.answer = {"vulns": [FLAW]}
    done = audit(packages, service.server_port)
    assert done.returncode == 1
    assert ["lonely-package", "1.2", "GHSA-aaaa-bbbb-cccc", "1.3"] in [line.split()[:4] for line in done.stdout.splitlines()]
    assert "--ignore-vuln ID" in done.stderr


def test_a_service_that_cannot_be_asked_is_no_pass(packages: Path, service: Service) -> None:
    service.server_close()
    done = audit(packages, service.server_port)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the dependencies were NOT audited: " in done.stderr
    assert "run make audit where https://api.osv.dev can be reached" in done.stderr
    assert "Traceback" not in done.stderr

"""A store that listens but whose engine has given up is ended and started again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deploy.local import control, launch, ports, store
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, Readiness
from tests.servers.local import local_store

# Speaks just enough of the protocol: greets, and answers every other command as it is told.
_SERVER = """
import socketserver, struct, sys, bson
GREETING = {"ok": 1.0, "isWritablePrimary": True, "ismaster": True, "maxWireVersion": 21,
            "minWireVersion": 0, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000}
FAULT = {"ok": 0.0, "errmsg": "internal server error", "code": int(sys.argv[2])}
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(16):
            size, request, _, kind = struct.unpack("<iiii", head)
            body = self.rfile.read(size - 16)
            if kind == 2004:
                answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(GREETING)
                kind = 1
            else:
                greets = next(iter(bson.decode(body[5:]))).lower() in ("hello", "ismaster")
                answer = struct.pack("<iB", 0, 0) + bson.encode(GREETING if greets else FAULT)
            self.wfile.write(struct.pack("<iiii", 16 + len(answer), 0, request, kind) + answer)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
_INTERNAL_ERROR, _UNAUTHORIZED = 1, 13


def server(tmp_path: Path, port: int, code: int) -> ProcessSpec:
    script = tmp_path / "server.py"
    script.write_text(_SERVER, encoding="utf-8")
    command = [sys.executable, str(script), str(port), str(code)]
    return ProcessSpec("store", command, 1, Readiness.LISTENS, f"127.0.0.1:{port}")


def test_a_store_whose_engine_has_given_up_is_started_again(tmp_path: Path) -> None:
    folder = PlatformFolder(tmp_path / "platform")
    folder.create()
    control.start(folder, [server(tmp_path, ports.choose(), _INTERNAL_ERROR)])
    try:
        until = time.monotonic() + 30
        while not any(one.restarts for one in control.report(folder)):
            assert time.monotonic() < until, "it was left as it was"
            time.sleep(0.1)
    finally:
        control.stop(folder)


def test_another_refusal_and_silence_are_no_reason_to_end_a_store(tmp_path: Path) -> None:
    port = ports.choose()
    spec = server(tmp_path, port, _UNAUTHORIZED)
    process = launch.start(spec.command, tmp_path / "log")
    try:
        launch.wait_until_ready(
            "server",
            process,
            lambda: launch.listens("127.0.0.1", port),
            log_file=tmp_path / "log",
            timeout_s=20,
        )
        assert not store.must_restart(port)
    finally:
        launch.end([process], grace_s=5)
    assert not store.must_restart(port), "nobody listens there any more"


@pytest.mark.local_platform
def test_a_real_store_that_is_well_is_left_alone(tmp_path: Path) -> None:
    with local_store(tmp_path) as url:
        port = int(url.partition("?")[0].rstrip("/").rpartition(":")[2])
        assert not store.must_restart(port)

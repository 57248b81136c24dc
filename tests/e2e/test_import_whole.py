"""A platform moved by its log: what was closed is closed there, what was open goes on there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local import control, credentials
from deploy.local.folders import PlatformFolder

SERVICES = ("intake", "triage", "notify", "reporting")
CLOSED, OPEN = 10, 14
TEXTS = (
    "请问从上海回周口需要提供什么证明，要隔离吗？",
    "我母亲在鹿邑县等着透析，封路出不去，请帮帮我们。",
    "健康码变成黄码了，怎样才能转绿？",
    "我们小区已经两天没有蔬菜了，老人行动不便，请送一些来。",
    "孩子的奶粉快吃完了，超市都关门，求助。",
)


def jieyou(folder: PlatformFolder, *arguments: str) -> str:
    """Run the command as a person would, on one platform; returns what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env={**os.environ, "JIEYOU_HOME": str(folder.root)},
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
    return ended.stdout


def lines(path: Path, count: int, what: str) -> Path:
    path.write_text(
        "".join(
            json.dumps({"text": f"{TEXTS[n % len(TEXTS)]}（{what}{n}）"}, ensure_ascii=False) + "\n"
            for n in range(count)
        ),
        encoding="utf-8",
    )
    return path


def figures(folder: PlatformFolder) -> dict[str, Any]:
    """All figures of a platform, without when they were asked for."""
    token = next(iter(credentials.read_tokens(folder)["operator"].values()))
    url = control.addresses(folder).services["reporting"][0]
    answer = httpx.get(f"{url}/v1/figures", headers={"Authorization": f"Bearer {token}"})
    document: dict[str, Any] = answer.raise_for_status().json()
    del document["as_of"]
    return document


@contextmanager
def stopped_at_the_end(*folders: PlatformFolder) -> Iterator[None]:
    try:
        yield
    finally:
        for folder in folders:
            control.stop(folder)


@pytest.mark.long
@pytest.mark.local_platform
@pytest.mark.timeout(600)
def test_a_platform_moves_by_export_and_import_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JIEYOU_KAFKA_URL", "JIEYOU_MONGO_URL", "JIEYOU_MONGO_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    old, new = PlatformFolder(tmp_path / "old"), PlatformFolder(tmp_path / "new")
    closed, still_open = lines(tmp_path / "a", CLOSED, "甲"), lines(tmp_path / "b", OPEN, "乙")
    export = str(tmp_path / "export")
    held = [f"--scale={service}=0" for service in SERVICES]
    with stopped_at_the_end(old, new):
        jieyou(old, "up")
        jieyou(old, "replay", str(closed), "--timeout", "120")
        jieyou(old, "replay", str(still_open), "--no-play", "--timeout", "60")
        audited = json.loads(jieyou(old, "audit", "--json"))
        before = figures(old)
        jieyou(old, "export", export)
        jieyou(old, "down")
        assert audited["standings"]["closed"] == CLOSED
        assert audited["standings"]["in_flight"] > 0

        new.create()
        shutil.copytree(old.secrets, new.secrets, dirs_exist_ok=True)
        shutil.copy2(old.keys_file, new.keys_file)
        jieyou(new, "up", *held)
        assert f"写入 {CLOSED + OPEN} 条" in jieyou(new, "import", export)
        jieyou(new, "restore", "triage")
        jieyou(new, "restore", "notify")
        jieyou(new, "down")
        jieyou(new, "up")
        assert json.loads(jieyou(new, "audit", "--json"))["standings"] == audited["standings"]
        assert figures(new) == before
        # The same requests once more, with their old keys: they are known, and brought to a close
        # by desk, departments and citizens here. It checks figures and audit itself.
        told = jieyou(new, "replay", str(still_open), "--timeout", "120")
        assert figures(new) != before, told

"""Weights come once, whole and unchanged: from a server (here a local one, which misbehaves on purpose) or a file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import save

from napari_incontext_seg.errors import DownloadError, FileError, ModelError, ResourceError
from napari_incontext_seg.model import download, weights

NAME = "seggpt-vit-large-transformers"


def content_of(seed: int) -> bytes:
    """A safetensors file of no use, 100 kB."""
    return save({"weights": np.random.default_rng(seed).random(12_500)})


class Server:
    """What the hub does, and how it can fail; ``asked`` notes the Range of each request."""

    def __init__(self) -> None:
        self.content = content_of(0)
        self.content_type = "application/octet-stream"
        self.stop_after: int | None = None  # bytes after which the connection breaks
        self.ranges = True
        self.honours_if_range = True
        self.validators = True
        self.status = 200
        self.asked: list[str | None] = []

    @property
    def tag(self) -> str:
        return '"' + hashlib.sha256(self.content).hexdigest()[:16] + '"'

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.asked.append(wanted)
        if self.status != 200:
            handler.send_error(self.status)
            return
        same = handler.headers["If-Range"] == self.tag or not self.honours_if_range
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges and same else None
        if start is not None and start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start or 0 :]
        handler.send_response(200 if start is None else 206)
        if start is not None:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.validators:
            handler.send_header("ETag", self.tag)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Content-Type", self.content_type)
        handler.end_headers()
        handler.wfile.write(body[: self.stop_after])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server that stands in for the hub, and an empty cache."""
    hub = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{http.server_port}")
    monkeypatch.setenv("INCONTEXT_SEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "CHUNK", 1000)
    yield hub
    http.shutdown()
    http.server_close()
    thread.join()


def interrupt(server: Server, after: int = 40_000) -> Path:
    """Begin a download that breaks; return what it left."""
    server.stop_after = after
    with pytest.raises(DownloadError, match=r"interrupted after 0\.0 of 0\.1 MB\. Run the same command again"):
        weights.fetch(NAME)
    server.stop_after = None
    partial = weights.path(NAME).with_name(weights.path(NAME).name + ".partial")
    assert partial.stat().st_size == after
    assert weights.find(NAME) is None
    return partial


def leftovers() -> set[str]:
    return {file.name for file in weights.weights_directory().iterdir()}


# -- the registry -------------------------------------------------------------------------------------------------
def test_the_registry_says_where_and_under_which_licence_and_claims_no_digest() -> None:
    urls = {w.name: w.url("https://huggingface.co") for w in weights.known_weights()}
    assert urls["seggpt-vit-large"] == "https://huggingface.co/BAAI/SegGPT/resolve/main/seggpt_vit_large.pth"
    for known in weights.known_weights():
        assert known.licence.startswith(("MIT", "Apache-2.0"))
        assert known.size_text == "about 1.5 GB"
        assert known.digest is None


def test_names_are_checked_and_nothing_is_here_at_first(server: Server) -> None:
    assert weights.find(NAME) is None
    assert weights.path(NAME) == weights.weights_directory() / f"{NAME}.safetensors"
    assert weights.path("painter-vit-large").suffix == ".pth"
    with pytest.raises(DownloadError, match="weights fetch"):
        weights.verify(NAME)
    with pytest.raises(ModelError, match="seggpt-vit-large"):
        weights.path("segpt")
    assert server.asked == []


# -- fetching -----------------------------------------------------------------------------------------------------
def test_fetch_downloads_once_and_records_the_digest(server: Server) -> None:
    steps: list[tuple[int, int | None]] = []
    file = weights.fetch(NAME, progress=lambda done, total: steps.append((done, total)))
    assert file.read_bytes() == server.content
    assert steps[-1] == (len(server.content), len(server.content))
    assert steps == sorted(steps)
    record = weights.verify(NAME)
    assert record.digest == hashlib.sha256(server.content).hexdigest()
    assert record.size == len(server.content)
    assert record.source.endswith("/BAAI/seggpt-vit-large/resolve/main/model.safetensors")
    assert leftovers() == {file.name, file.name + ".json"}
    assert weights.fetch(NAME) == file
    assert server.asked == [None]


def test_an_interrupted_download_resumes(server: Server) -> None:
    interrupt(server)
    assert weights.fetch(NAME).read_bytes() == server.content
    assert server.asked == [None, "bytes=39999-"]
    assert leftovers() == {f"{NAME}.safetensors", f"{NAME}.safetensors.json"}


def test_a_download_that_broke_twice_resumes_from_the_second_break(server: Server) -> None:
    partial = interrupt(server)
    server.stop_after = 20_000
    with pytest.raises(DownloadError, match="interrupted"):
        weights.fetch(NAME)
    assert partial.read_bytes() == server.content[:59_999]
    server.stop_after = None
    assert weights.fetch(NAME).read_bytes() == server.content
    assert server.asked == [None, "bytes=39999-", "bytes=59998-"]


def test_a_download_stopped_just_before_its_end_was_noticed(server: Server) -> None:
    partial = interrupt(server)
    partial.write_bytes(server.content)
    assert weights.fetch(NAME).read_bytes() == server.content


def test_a_server_without_ranges_begins_anew(server: Server) -> None:
    interrupt(server)
    server.ranges = False
    assert weights.fetch(NAME).read_bytes() == server.content
    assert server.asked == [None, "bytes=39999-"]


def test_a_server_that_names_no_version_is_not_trusted_to_resume(server: Server) -> None:
    server.validators = False
    interrupt(server)
    assert weights.fetch(NAME).read_bytes() == server.content
    assert server.asked == [None, None]


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_changed_between_attempts_is_not_glued_together(server: Server, honours_if_range: bool) -> None:
    interrupt(server)
    server.content = content_of(1)
    server.honours_if_range = honours_if_range
    assert weights.fetch(NAME).read_bytes() == server.content


def test_a_file_that_became_shorter_between_attempts(server: Server) -> None:
    interrupt(server)
    server.content = save({})
    server.honours_if_range = False  # so that the range asked for lies beyond the end
    assert weights.fetch(NAME).read_bytes() == server.content


def test_what_another_address_left_is_not_continued(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(server)
    weights.fetch(NAME, base_url=os.environ["HF_ENDPOINT"] + "/mirror")
    assert server.asked == [None, None]


# -- what can go wrong --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("status", "said"), [(404, "does not exist"), (403, "refuses"), (503, "Try again later")])
def test_refusals(server: Server, status: int, said: str) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=said):
        weights.fetch(NAME)
    assert weights.find(NAME) is None


def test_no_network(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(DownloadError, match=r"cannot reach .*--from FILE"):
        weights.fetch(NAME, base_url=closed)


def test_only_web_addresses(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="https://"):
        weights.fetch(NAME, base_url=tmp_path.as_uri())


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_login_page_is_not_taken_for_weights(server: Server, content_type: str) -> None:
    server.content, server.content_type = b"<html>Please log in</html>", content_type
    with pytest.raises(DownloadError, match="web page"):
        weights.fetch(NAME)
    assert not weights.weights_directory().exists() or leftovers() == set()


def test_a_file_of_another_digest_than_recorded_is_refused(server: Server) -> None:
    file = weights.fetch(NAME)
    first = server.content
    file.unlink()
    server.content = content_of(1)
    with pytest.raises(DownloadError, match=hashlib.sha256(first).hexdigest()) as caught:
        weights.fetch(NAME)
    assert hashlib.sha256(server.content).hexdigest() in str(caught.value)
    assert weights.find(NAME) is None
    file.with_name(file.name + ".json").unlink()  # as the message says
    assert weights.fetch(NAME).read_bytes() == server.content


def test_a_published_digest_and_size_are_checked_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(size: int, digest: str) -> None:
        known = weights.KnownWeights(NAME, "a/b", "c.safetensors", "MIT", size, "", digest)
        monkeypatch.setattr(weights, "_WEIGHTS", (known,))

    right = hashlib.sha256(server.content).hexdigest()
    publish(len(server.content), "0" * 64)
    with pytest.raises(DownloadError, match="0000"):
        weights.fetch(NAME)
    publish(7, right)
    with pytest.raises(DownloadError, match="7 bytes"):
        weights.fetch(NAME)
    publish(len(server.content), right)
    weights.fetch(NAME)
    assert weights.verify(NAME).digest == right


def test_a_file_damaged_here_is_noticed_and_replaced(server: Server) -> None:
    file = weights.fetch(NAME)
    file.write_bytes(server.content[:-1] + b"\0")
    with pytest.raises(DownloadError, match=r"SHA-256.*weights fetch"):
        weights.verify(NAME)
    weights.fetch(NAME)
    weights.verify(NAME)
    assert file.read_bytes() == server.content


def test_a_full_disk_is_noticed_before_the_download(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: free)
    with pytest.raises(ResourceError, match="INCONTEXT_SEG_CACHE"):
        weights.fetch(NAME)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_during_the_download(server: Server) -> None:
    partial = weights.path(NAME).with_name(weights.path(NAME).name + ".partial")
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="disk is full"):
        weights.fetch(NAME)
    assert weights.find(NAME) is None


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INCONTEXT_SEG_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileError, match="writable"):
        weights.fetch(NAME)


# -- without a network --------------------------------------------------------------------------------------------
def test_from_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "stick.bin").write_bytes(server.content)
    file = weights.fetch(NAME, source=tmp_path / "stick.bin")
    assert file.read_bytes() == server.content
    assert weights.verify(NAME).source == str(tmp_path / "stick.bin")
    assert weights.fetch(NAME, source=file) == file
    assert server.asked == []
    assert leftovers() == {file.name, file.name + ".json"}


def test_from_what_is_no_weights_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not a file"):
        weights.fetch(NAME, source=tmp_path)
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DownloadError, match="git lfs pull"):
        weights.fetch(NAME, source=tmp_path / "pointer")
    assert leftovers() == set()


def test_a_file_put_into_the_cache_by_hand_is_adopted(server: Server) -> None:
    file = weights.path(NAME)
    file.parent.mkdir(parents=True)
    file.write_bytes(server.content)
    with pytest.raises(DownloadError, match="nothing to compare"):
        weights.verify(NAME)
    weights.fetch(NAME)
    assert server.asked == []
    assert json.loads(file.with_name(file.name + ".json").read_text())["source"] == "found in the cache"
    weights.verify(NAME)

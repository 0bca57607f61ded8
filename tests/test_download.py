"""Downloads against a small server on this machine that can break off, lie, and forget how to resume."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import vesalius as vs
from vesalius.download import clear_cache, fetch_weights, list_cache, locate_weights

FILE = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(FILE).hexdigest()


@dataclass
class Server:
    """What the server sends, and what it was asked."""

    address: str = ""
    body: bytes = FILE
    etag: str = '"first"'
    kind: str = "application/octet-stream"
    status: int = 200
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # bytes sent in each of the next answers
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, range


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append((self.path, asked))
            same = state.knows_ranges and self.headers.get("If-Range") == state.etag
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and same else 0
            if state.status != 200:
                self.send_error(state.status)
                return
            if start >= len(state.body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", state.kind)
            self.send_header("Content-Length", str(len(state.body) - start))
            self.send_header("ETag", state.etag)
            self.end_headers()
            stop = state.breaks_after.pop(0) if state.breaks_after else len(state.body)
            self.wfile.write(state.body[start : start + stop])

        def log_message(self, *args: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    state.address = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    for name in ("VESALIUS_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "weights" / "toy"


def toy(*urls: str, sha256: str = SHA256) -> vs.Card:
    return replace(vs.find_card("medsam"), name="toy", weights=vs.Weights(urls, "toy.pth", sha256))


def test_a_file_is_fetched_once_and_found_without_network(server: Server, cache: Path) -> None:
    card = toy(f"{server.address}/toy.pth")
    assert locate_weights(card) is None
    steps: list[tuple[int, int]] = []
    file = fetch_weights(card, lambda done, total: steps.append((done, total)))
    assert file == cache / "toy.pth" == locate_weights(card)
    assert file.read_bytes() == FILE
    assert steps[-1] == (len(FILE), len(FILE))
    fetch_weights(card)
    assert len(server.asked) == 1
    assert sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") == ["toy.pth", "toy.pth.json"]


def test_a_broken_connection_is_resumed_where_it_broke(server: Server) -> None:
    server.breaks_after = [300_000]
    assert fetch_weights(toy(f"{server.address}/toy.pth")).read_bytes() == FILE
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-"]


def test_a_download_goes_on_in_the_next_call(server: Server, cache: Path) -> None:
    card = toy(f"{server.address}/toy.pth")
    server.breaks_after = [300_000, 0, 0]
    with pytest.raises(vs.FetchError, match="broke off at 300000 bytes"):
        fetch_weights(card)
    assert [(entry.file.name, entry.complete) for entry in list_cache()] == [("toy.pth.part", False)]
    assert fetch_weights(card).read_bytes() == FILE
    assert server.asked[-1][1] == "bytes=300000-"
    assert not (cache / "toy.pth.part").exists()


def test_a_server_without_ranges_starts_again(server: Server) -> None:
    server.knows_ranges = False
    server.breaks_after = [300_000]
    assert fetch_weights(toy(f"{server.address}/toy.pth")).read_bytes() == FILE


def test_a_file_that_changed_on_the_server_starts_again(server: Server) -> None:
    card = toy(f"{server.address}/toy.pth", sha256="")
    server.breaks_after = [300_000, 0, 0]
    with pytest.raises(vs.FetchError):
        fetch_weights(card)
    server.body, server.etag = FILE[::-1], '"second"'
    assert fetch_weights(card).read_bytes() == FILE[::-1]


def test_a_whole_but_unnamed_part_is_fetched_again(server: Server, cache: Path) -> None:
    card = toy(f"{server.address}/toy.pth")
    cache.mkdir(parents=True)
    (cache / "toy.pth.part").write_bytes(FILE)
    (cache / "toy.pth.part.json").write_text(json.dumps({"address": card.weights.urls[0], "version": server.etag}))
    assert fetch_weights(card).read_bytes() == FILE
    assert [asked for _, asked in server.asked] == [f"bytes={len(FILE)}-", None]


def test_another_file_than_the_published_one_is_removed(server: Server, cache: Path) -> None:
    with pytest.raises(vs.FetchError, match=r"sent another file .*removed.*--weights FILE"):
        fetch_weights(toy(f"{server.address}/toy.pth", sha256="0" * 64))
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_the_next_url_is_tried(server: Server) -> None:
    wrong, right = f"{server.address}/wrong.pth", f"{server.address}/right.pth"
    server.status = 404
    with pytest.raises(vs.FetchError, match=r"wrong.pth answered 404.*right.pth answered 404"):
        fetch_weights(toy(wrong, right))
    assert [path for path, _ in server.asked] == ["/wrong.pth", "/right.pth"]
    server.status = 200
    assert fetch_weights(toy("http://127.0.0.1:9/toy.pth", right)).read_bytes() == FILE


def test_a_page_is_not_taken_for_a_file(server: Server, cache: Path) -> None:
    server.kind, server.body = "text/html; charset=utf-8", b"<html>Virus scan warning</html>"
    with pytest.raises(vs.FetchError, match="sent a web page instead of the file"):
        fetch_weights(toy(f"{server.address}/toy.pth", sha256=""))
    assert not list_cache()


def test_no_network_is_one_sentence() -> None:
    with pytest.raises(vs.FetchError, match=r"^toy.pth cannot be fetched: .* cannot be reached"):
        fetch_weights(toy("http://127.0.0.1:9/toy.pth"))


@pytest.mark.parametrize("switch", ["VESALIUS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_says_what_to_put_where(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    card = toy(f"{server.address}/toy.pth")
    with pytest.raises(vs.FetchError) as caught:
        fetch_weights(card)
    assert str(cache / "toy.pth") in str(caught.value) and card.weights.urls[0] in str(caught.value)
    assert not server.asked
    cache.mkdir(parents=True)
    (cache / "toy.pth").write_bytes(FILE)
    assert fetch_weights(card) == cache / "toy.pth"


def test_without_a_published_hash_the_first_one_is_kept(server: Server) -> None:
    card = toy(f"{server.address}/toy.pth", sha256="")
    file = fetch_weights(card)
    assert [entry.pinned for entry in list_cache()] == [False]
    fetch_weights(card)
    changed = bytearray(FILE)
    changed[500] ^= 1
    file.write_bytes(changed)
    with pytest.raises(vs.FetchError, match=r"has changed or is broken.*delete it"):
        fetch_weights(card)


def test_a_published_hash_is_checked_at_every_use(server: Server) -> None:
    card = toy(f"{server.address}/toy.pth")
    file = fetch_weights(card)
    assert [entry.pinned for entry in list_cache()] == [True]
    file.write_bytes(FILE[:-1])
    with pytest.raises(vs.FetchError, match="has changed or is broken"):
        fetch_weights(card)


def test_the_hub_address_follows_the_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    fetch_weights(toy("hf:someone/nets/small/toy.pth@abc123"))
    assert server.asked[0][0] == "/someone/nets/resolve/abc123/small/toy.pth"


def test_two_at_once_download_once(server: Server) -> None:
    card = toy(f"{server.address}/toy.pth")
    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(fetch_weights, [card, card]))
    assert files[0].read_bytes() == FILE
    assert len(server.asked) == 1


def test_no_disk_space_is_said_before_anything_is_written(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(vs.FetchError, match=rf"{os.strerror(errno.ENOSPC)}, 1 MB are needed; set VESALIUS_CACHE"):
        fetch_weights(toy(f"{server.address}/toy.pth"))
    assert not list_cache()


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file where the cache should be")
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "taken"))
    with pytest.raises(vs.FetchError, match=r"^Cannot use .*set VESALIUS_CACHE to another folder"):
        fetch_weights(toy(f"{server.address}/toy.pth"))


def test_clearing_frees_what_was_listed(server: Server, cache: Path) -> None:
    fetch_weights(toy(f"{server.address}/toy.pth"))
    with pytest.raises(vs.FetchError, match=r"Nothing is cached for '\.\./toy'"):
        clear_cache(["../toy"])
    assert clear_cache(["toy"]) == len(FILE)
    assert list_cache() == [] and not cache.exists()


def test_a_missing_part_of_the_installation_is_not_looked_for_elsewhere() -> None:
    with pytest.raises(vs.FetchError, match="install vesalius again"):
        fetch_weights(toy("package:weights/none.safetensors"))


RESTRICTED = vs.Licence("Apache-2.0", "CC-BY-NC-4.0", commercial=False)


def test_a_restricted_licence_is_asked_for_once(server: Server) -> None:
    card = replace(toy(server.address), licence=RESTRICTED)
    with pytest.raises(vs.LicenceError, match=r"toy are under CC-BY-NC-4\.0.*once with --accept-licence CC-BY-NC-4\.0"):
        fetch_weights(card)
    assert server.asked == []
    vs.accept_licence("CC-BY-NC-SA-4.0")
    with pytest.raises(vs.LicenceError):
        fetch_weights(card)
    vs.accept_licence("CC-BY-NC-4.0")
    assert fetch_weights(card).read_bytes() == FILE


def test_a_licence_can_be_accepted_for_one_process(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(toy(server.address), licence=RESTRICTED)
    monkeypatch.setenv("VESALIUS_ACCEPT_LICENCE", "CC-BY-NC-SA-4.0,CC-BY-NC-4.0")
    fetch_weights(card)
    monkeypatch.delenv("VESALIUS_ACCEPT_LICENCE")
    with pytest.raises(vs.LicenceError):
        fetch_weights(card)

"""Checkpoint files: fetched with resume, verified by their sha256, and kept in a cache.

Several processes may fetch one file at once: one of them downloads, the others wait for it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from vesalius.card import Card
from vesalius.errors import FetchError, LicenceError
from vesalius.files import write_text

ATTEMPTS = 3
TIMEOUT_S = 30
BLOCK = 1 << 20
LICENCES = "licences.json"  # in the cache: the names of those that were accepted

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 where the server does not say)


@dataclass(frozen=True)
class CacheEntry:
    """One file of the cache: the card that it belongs to, and whether its hash was known before its download."""

    name: str
    file: Path
    bytes: int
    pinned: bool
    complete: bool


def fetch_weights(card: Card, progress: Progress = lambda done, total: None) -> Path:
    """The verified checkpoint file of a card, downloaded if it is not on this machine.

    Raises FetchError if it cannot be had, or is not the file that it should be, and LicenceError if its licence must
    be accepted first.
    """
    check_licence(card)
    file = weights_path(card)
    try:
        if file.is_file():
            verify(file, card)
        elif is_packaged(card):
            raise FetchError(f"This installation lacks {file}; install vesalius again or pass --weights FILE.")
        else:
            try_urls(card, file, progress)
    except OSError as error:
        place = error.filename or file
        raise FetchError(f"Cannot use {place}: {error.strerror}; set VESALIUS_CACHE to another folder.") from None
    return file


def check_licence(card: Card) -> None:
    """Raise LicenceError for weights that may not be used commercially, until the user has accepted their licence.

    It is accepted once by `accept_licence`, or for one process by VESALIUS_ACCEPT_LICENCE (names with commas between).
    """
    name = card.licence.weights
    if card.licence.commercial or name in accepted_licences():
        return
    raise LicenceError(
        f"The weights of {card.name} are under {name}, which does not allow commercial use; if you accept that, say so"
        f" once with --accept-licence {name} or set VESALIUS_ACCEPT_LICENCE={name}."
    )


def accept_licence(name: str) -> None:
    """Remember, for this user and for good, that the licence called `name` ("CC-BY-NC-SA-4.0") is accepted."""
    file = cache_folder() / LICENCES
    new = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(sorted(accepted_licences() | {name})))
        new.replace(file)
    except OSError as error:
        raise FetchError(f"Cannot write {file}: {error.strerror}; set VESALIUS_CACHE to another folder.") from None


def accepted_licences() -> set[str]:
    """The names of the licences that the user has accepted."""
    file = cache_folder() / LICENCES
    remembered = json.loads(file.read_text()) if file.is_file() else []
    return {*remembered, *os.environ.get("VESALIUS_ACCEPT_LICENCE", "").split(",")}


def locate_weights(card: Card) -> Path | None:
    """The checkpoint file of a card if it is on this machine, not yet verified."""
    file = weights_path(card)
    return file if file.is_file() else None


def weights_path(card: Card) -> Path:
    """Where the checkpoint file of a card is, or will be."""
    if is_packaged(card):
        return Path(__file__).parent / card.weights.urls[0].removeprefix("package:")
    return cache_folder() / "weights" / card.name / card.weights.file


def is_packaged(card: Card) -> bool:
    """Whether the checkpoint is part of the installation."""
    return card.weights.urls[:1] != () and card.weights.urls[0].startswith("package:")


def cache_folder() -> Path:
    """The folder of everything that can be fetched or measured again; VESALIUS_CACHE moves it."""
    if folder := os.environ.get("VESALIUS_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("vesalius")


def list_cache() -> list[CacheEntry]:
    """The checkpoint files in the cache, unfinished downloads included."""
    entries = []
    for file in sorted((cache_folder() / "weights").glob("*/*")):
        if file.suffix not in (".json", ".lock", ".new"):
            pinned = bool(read_record(file).get("pinned"))
            entries.append(CacheEntry(file.parent.name, file, file.stat().st_size, pinned, file.suffix != ".part"))
    return entries


def clear_cache(names: Iterable[str]) -> int:
    """Delete the cached files of these cards; returns the bytes freed. Raises FetchError if one has none."""
    entries = list_cache()
    freed = 0
    for name in names:
        mine = [entry for entry in entries if entry.name == name]
        if not mine:
            raise FetchError(f"Nothing is cached for {name!r}; see `vesalius cache`.")
        shutil.rmtree(mine[0].file.parent)
        freed += sum(entry.bytes for entry in mine)
    return freed


def verify(file: Path, card: Card) -> None:
    """Check a file against the hash on its card or, where there is none, the one recorded at its first use."""
    found = hash_file(file)
    known = card.weights.sha256 or read_record(file).get("sha256")
    if known and found != known:
        raise FetchError(
            f"{file} has changed or is broken (sha256 {found[:12]}... instead of {known[:12]}...);"
            f" delete it and run `vesalius fetch {card.name}`."
        )
    if not known and not is_packaged(card):
        write_record(file, {"sha256": found, "pinned": False})


def hash_file(file: Path) -> str:
    """The sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_record(file: Path) -> dict[str, Any]:
    """What is written beside a file of the cache."""
    beside = file.with_name(file.name + ".json")
    return json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}


def write_record(file: Path, record: dict[str, Any]) -> None:
    """Write beside a file of the cache what is known about it."""
    beside = file.with_name(file.name + ".json")
    write_text(beside, json.dumps(record))


def try_urls(card: Card, file: Path, progress: Progress) -> None:
    """Bring a card's file into the cache from the first of its urls that gives the right one."""
    from filelock import FileLock

    if is_offline():
        raise FetchError(
            f"Fetching is switched off (VESALIUS_OFFLINE or HF_HUB_OFFLINE) and {file} is not there;"
            f" get it from {' or '.join(card.weights.urls)} and put it there, or pass --weights FILE."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    reasons = []
    with FileLock(f"{file}.lock"):
        if file.is_file():  # another process fetched it meanwhile
            verify(file, card)
            return
        for url in card.weights.urls:
            try:
                resume(web_address(url), part, progress)
            except FetchError as error:
                reasons.append(f"{url} {error}")
                continue
            part.with_name(part.name + ".json").unlink()
            found = hash_file(part)
            if card.weights.sha256 in ("", found):
                write_record(file, {"sha256": found, "pinned": card.weights.sha256 != "", "url": url})
                part.replace(file)
                return
            part.unlink()
            reasons.append(f"{url} sent another file (sha256 {found[:12]}...), which was removed")
    raise FetchError(
        f"{card.weights.file} cannot be fetched: {'; '.join(reasons) or 'its card has no url'};"
        " download it by hand and pass --weights FILE."
    )


def web_address(url: str) -> str:
    """The address of a card's url; "hf:" ones lie at HF_ENDPOINT, which a mirror sets."""
    if not url.startswith("hf:"):
        return url
    from huggingface_hub import hf_hub_url

    place, _, revision = url.removeprefix("hf:").partition("@")
    owner, name, file = place.split("/", 2)
    return hf_hub_url(f"{owner}/{name}", file, revision=revision or None, endpoint=os.environ.get("HF_ENDPOINT"))


def is_offline() -> bool:
    """Whether the user has forbidden downloads."""
    switches = (os.environ.get(name, "") for name in ("VESALIUS_OFFLINE", "HF_HUB_OFFLINE"))
    return any(switch.lower() not in ("", "0", "false", "no", "off") for switch in switches)


def resume(address: str, part: Path, progress: Progress) -> None:
    """Bring a file to `part`, going on from what is there of the same version."""
    for _ in range(ATTEMPTS):
        if receive(address, part, progress):
            return
    raise FetchError(f"broke off at {part.stat().st_size} bytes, from where the next try goes on")


def receive(address: str, part: Path, progress: Progress) -> bool:
    """Ask once for the rest of a file and append it; whether the file is then whole."""
    begun = read_record(part)
    done = part.stat().st_size if part.is_file() and begun.get("address") == address and begun["version"] else 0
    headers = {"User-Agent": "vesalius", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": begun["version"]}
    try:
        response = urlopen(Request(address, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send
            part.unlink()
            return False
        raise FetchError(f"answered {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise FetchError(f"cannot be reached ({getattr(error, 'reason', error)})") from None
    with response:
        if response.headers.get_content_type() == "text/html":
            raise FetchError("sent a web page instead of the file")
        if response.status != 206:  # the whole file: the server cannot resume, or has another version by now
            done = 0
        length = int(response.headers.get("Content-Length", 0))
        if shutil.disk_usage(part.parent).free < length:
            raise OSError(
                errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {length / 1e6:.0f} MB are needed", str(part.parent)
            )
        version = response.headers.get("ETag", "")
        if not version or version.startswith("W/"):
            version = response.headers.get("Last-Modified", "")
        write_record(part, {"address": address, "version": version})
        total = done + length if length else 0
        with part.open("ab" if done else "wb") as out:
            while True:
                try:
                    block = response.read(BLOCK)
                except (OSError, HTTPException):
                    return False
                if not block:
                    return done >= total
                out.write(block)
                done += len(block)
                progress(done, total)

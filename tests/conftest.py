"""Fixtures of the whole suite: small grids, phantoms, and the optional folder of recordings and labelled images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin stall on a busy machine


def shared_folder() -> Path | None:
    """The folder of recordings and labelled images, or None on a machine that has none."""
    folder = Path(os.environ.get("VESALIUS_SHARED", Path(__file__).parents[2] / "shared"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and labelled images; the test skips where there is none."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("needs the folder of recordings and images: set VESALIUS_SHARED")
    return folder

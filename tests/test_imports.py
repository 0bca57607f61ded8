"""What may import what: plain data below, then sessions, then models, then commands; and nothing heavy before work."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vesalius

PACKAGE = Path(vesalius.__file__).parent
DATA = {"errors", "grid", "volume", "prompts", "labels", "answer", "segmentation", "card", "intensity"}
STATE = DATA | {"scene", "look", "look_cubes", "look_examples", "look_frame", "look_memory", "look_windows", "session"}
ALLOWED = {  # what the modules of a room may import of vesalius at any place in the file, beside their own room
    "errors": set(),
    "card": set(),
    "zoo": {"card", "errors"},
    "download": {"card", "errors", "files"},
    **dict.fromkeys(DATA - {"errors", "card"}, DATA),
    **dict.fromkeys(STATE - DATA, STATE),
    "io": DATA | {"scene"},
    "layers": set(),
    "models": STATE | {"layers"},
    "checkpoint": {"errors"},
    "releases": {"card", "checkpoint", "download", "errors", "zoo"},
    "hub": {"card", "checkpoint", "download", "errors", "export", "releases", "session", "zoo"},
    "export": {"download", "errors", "layers", "models"},
    "files": {"errors"},
    "report": STATE | {"download", "files"},
    "overlay": STATE | {"files"},
    "embeddings": STATE | {"files"},
    "batch": {"errors"},
    "ray_cluster": {"batch", "errors"},
    "data": DATA | {"__version__", "batch", "files", "io"},
    "evaluate": STATE | {"batch", "data", "files", "io", "overlay"},
}
STANDARD_LIBRARY_ONLY = ("errors", "card", "zoo", "batch", "files")


def modules() -> list[Path]:
    """The files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """The first part of a module's name: "io" for io/nrrd.py, "grid" for grid.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it, but not for type checking only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "vesalius":
                yield from (f"vesalius.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_rooms_import_only_what_lies_below(file: Path) -> None:
    allowed = ALLOWED.get(room(file))
    if allowed is None:
        return
    own = {name.split(".")[1] for name in imports(file) if name.startswith("vesalius.")} - {room(file)}
    assert own <= allowed, f"{file.name} imports {sorted(own - allowed)}"


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_cards_need_only_the_standard_library(name: str) -> None:
    files = [file for file in modules() if room(file) == name]
    outside = {module.split(".")[0] for file in files for module in imports(file)} - sys.stdlib_module_names
    assert files and outside <= {"vesalius"}


def test_models_never_import_each_other() -> None:
    for file in (PACKAGE / "models").glob("*.py"):
        assert not [name for name in imports(file) if name.startswith("vesalius.models")], file.name


@pytest.mark.parametrize(
    "work",
    [
        "import vesalius; dir(vesalius)",
        "from vesalius.__main__ import main; main(['--help'])",
        "from vesalius.__main__ import main; main(['--version'])",
        "from vesalius.__main__ import main; main(['segment', '--help'])",
        "from vesalius.__main__ import main; main(['evaluate', '--help'])",
        "from vesalius.__main__ import main; main(['models'])",
        "from vesalius.__main__ import main; main(['models', 'show', 'medsam', '--json'])",
        "from vesalius.__main__ import main; main(['cache'])",
        "from vesalius.__main__ import main; main(['data', 'layouts'])",
    ],
)
def test_neither_torch_nor_numpy_is_loaded(work: str) -> None:
    look = "import sys; print('loaded:', *{'torch', 'numpy', 'rich', 'scipy', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{work}\n{look}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]

"""The documents tell the truth: commands parse, named tests and files exist, examples are files that run."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

import vesalius as vs
from phantoms import ball, grids
from vesalius.__main__ import main
from vesalius.cli.app import app
from vesalius.cli.arguments import parse_numbers

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
EXAMPLES = sorted(ROOT.glob("docs_src/*.py"))
SYSTEMS = (ROOT / "docs/systems.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in SYSTEMS.splitlines() if re.match(r"\| [A-Z]+\d+ \|", line)]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.M | re.S)
MACHINE_PATH = re.compile("(?<![\\w.-])/(?:" + "|".join(("work", "root", "opt", "home", "tmp")) + ")/")


def commands(page: str) -> list[str]:
    """The lines of a page that call vesalius: in a shell block, an indented block or between backticks."""
    shell = "\n".join(block for _, language, block in FENCE.findall(page) if language in ("", "sh", "bash", "console"))
    prose = FENCE.sub("", page)
    shell += "\n" + "\n".join(re.findall(r"^    (.*)", prose, re.M))
    lines = re.findall(r"^\s*(?:\$ )?(vesalius .*)", shell.replace("\\\n", " "), re.M)
    return lines + re.findall(r"`(vesalius [^`]+)`", prose)


def parse(line: str) -> None:
    """Reads a command line as the real program would, and runs nothing; a bare name only has to exist."""
    name, *arguments = shlex.split(line, comments=True)
    command = typer.main.get_command(app)
    while arguments and arguments[0] in getattr(command, "commands", {}):
        name = arguments.pop(0)
        command = command.commands[name]
    if not arguments:
        return
    if hasattr(command, "commands") and not arguments[0].startswith("-"):
        raise ValueError(f"there is no command {arguments[0]!r}")
    try:
        said = command.make_context(name, arguments).params
    except typer.Exit:  # --help
        return
    if not {":", "/"} & set(said.get("model") or ":"):  # neither a file nor a folder
        vs.find_card(said["model"])
    for place in [*(said.get("point") or ()), *(said.get("negative") or ()), *(said.get("box") or ())]:
        assert all(len(parse_numbers(corner)) in (2, 3) for corner in place.split(":")), place


CALLS = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page.read_text())]


@pytest.mark.parametrize("line", CALLS)
def test_every_command_parses(line: str) -> None:
    parse(line)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("vesalius segmented IMAGE", "no command 'segmented'"),
        ("vesalius segment IMAGE --pint 1,2", "No such option"),
        ("vesalius segment IMAGE -m sam-vit-x", "sam-vit-b"),
        ("vesalius segment IMAGE --point 1;2", "1;2"),
    ],
)
def test_a_wrong_command_does_not_parse(line: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        parse(line)


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SYSTEMS))
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (path, name)


def test_the_counts_agree_with_the_rows() -> None:
    works = [row for row in ROWS if "`vesalius " in row[4]]
    found = re.search(r"(\d+) of (\d+) work today", SYSTEMS)
    assert found and tuple(map(int, found.groups())) == (len(works), len(ROWS))
    assert len({row[0] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert len(row) == 6 and ("::" in row[5]) == (row in works), row


# without_torch.py needs exported files: tests/test_export.py runs it.
@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem != "without_torch"], ids=lambda path: path.name
)
def test_every_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vs.write(ball(grids()["anisotropic"]), "ct.nii.gz")
    runpy.run_path(str(path), run_name="__main__")


def test_the_model_of_the_walk_through_segments_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vs.write(ball(grids()["anisotropic"]), "ct.nii.gz")
    for name in ("like_grey.py", "prove_like_grey.py"):
        shutil.copy(ROOT / "docs_src" / name, name)
    runpy.run_path("prove_like_grey.py", run_name="__main__")
    page = (ROOT / "docs/add-a-model.md").read_text()
    assert main(shlex.split(commands(page)[0])[1:]) == 0
    assert vs.read_segmentation("ct_mask.nii.gz").mask("1")[13, 11, 3]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_are_part_of_an_example(page: Path) -> None:
    examples = ["\n" + example.read_text() for example in EXAMPLES]
    for _, language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            assert any("\n" + block in example for example in examples), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), target


def test_no_path_of_a_machine_is_named() -> None:
    assert MACHINE_PATH.search("in " + "/".join(("", "home", "me")))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        text = path.read_bytes().decode(errors="ignore") if path.is_file() else ""
        assert not MACHINE_PATH.search(text), name

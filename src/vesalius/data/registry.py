"""The table of layouts, and the one call that opens a folder of labelled images whatever its layout.

dataset = open_dataset("Task09_Spleen")          recognised
dataset = open_dataset("somewhere", "pairs")     named
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from vesalius.data.case import Dataset
from vesalius.data.layout import Layout, load_json
from vesalius.data.layouts import (
    abdomenct_1k,
    acdc,
    amos,
    bids,
    brats,
    btcv,
    chaos,
    chexmask,
    ct_org,
    ctspine1k,
    flare22,
    imed_361m,
    ircadb,
    kits,
    lits,
    msd,
    nnunet,
    npz,
    pairs,
    pancreas_ct,
    sa_med2d,
    totalsegmentator,
    verse,
    vesalius_sets,
    word,
)
from vesalius.data.record import FILE
from vesalius.errors import FormatError

LAYOUTS: tuple[Layout, ...] = (  # the first that matches is taken: what has telling names first, what is general last
    sa_med2d.LAYOUT,
    btcv.LAYOUT,
    pancreas_ct.LAYOUT,
    chaos.LAYOUT,
    lits.LAYOUT,
    kits.LAYOUT,
    ircadb.LAYOUT,
    word.LAYOUT,
    abdomenct_1k.LAYOUT,
    amos.LAYOUT,
    ct_org.LAYOUT,
    verse.LAYOUT,
    ctspine1k.LAYOUT,
    totalsegmentator.CT,
    totalsegmentator.MR,
    acdc.LAYOUT,
    flare22.LAYOUT,
    brats.BRATS2021,
    brats.BRATS2024,
    brats.BRATS2023,
    chexmask.LAYOUT,
    vesalius_sets.LAYOUT,
    imed_361m.LAYOUT,
    nnunet.LAYOUT,
    msd.LAYOUT,
    bids.LAYOUT,
    npz.LAYOUT,
    pairs.LAYOUT,
)


def find_layout(name: str) -> Layout:
    """The layout of that name; raises FormatError with the near names."""
    for layout in LAYOUTS:
        if layout.name == name.lower():
            return layout
    names = [layout.name for layout in LAYOUTS]
    near = get_close_matches(name.lower(), names, n=3, cutoff=0.5) or names
    raise FormatError(f"There is no layout {name!r}; did you mean {', '.join(near)}?")


def open_dataset(folder: str | Path, layout: str | None = None) -> Dataset:
    """The labelled images of a folder, from where the provider's download unpacks to, or one folder above.

    The layout is recognised by the names of files unless it is given. Raises FormatError, with the layouts that are
    nearest, where it cannot be.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FormatError(f"There is no folder {folder}; check the path.")
    row = find_layout(layout) if layout else _recognise(folder)
    try:
        return row.open(folder)
    except (KeyError, IndexError, TypeError, ValueError) as error:  # a description that lacks what it must say
        raise FormatError(f"{folder} is not laid out as {row.title} is ({error!r}); name another layout.") from error


def _recognise(folder: Path) -> Layout:
    """The layout that a conversion noted down, else the first that matches; files keep their names in a conversion."""
    if (folder / FILE).exists():
        return find_layout(load_json(folder / FILE).get("layout", ""))
    shares = {}
    for layout in LAYOUTS:
        shares[layout.name] = layout.matches(folder)
        if shares[layout.name] == 1:
            return layout
    near = [name for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share > 0][:3]
    hint = f"nearest are {', '.join(near)}; name one with its layout" if near else "name the layout"
    raise FormatError(f"The layout of {folder} is not known: {hint}, or see docs/data.md for what each looks like.")

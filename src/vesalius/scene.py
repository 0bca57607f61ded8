"""What a model is shown: the image, what was said about one target so far, and a memory for heavy work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import PromptError
from vesalius.grid import PLANES, Grid
from vesalius.intensity import Window
from vesalius.prompts import Box, Lasso, MaskHint, Point, Prompt, Scribble
from vesalius.volume import Volume

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow and OpenCV convert them
MEMO_BYTES = 256 * 2**20
POINTS_OF_A_SCRIBBLE = 5  # models that know only clicks see a scribble as so many, spread along the line


@dataclass(frozen=True, eq=False)
class Cues:
    """Prompts in the indices (i, j, k) of one view; integer = voxel centre.

    `points` (N, 3) with `positive` (N,), `boxes` (M, 2, 3) as lowest and highest corner, `mask` (i, j, k) bool to
    start from, `feedback` whatever the model kept of its last look at this view. `strokes` are drawn lines (N, 3), each
    positive or not; a few points along them are among `points` too, for models that know only clicks. `examples` are
    other pictures, each with its own mask among its cues.
    """

    points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2, 3)))
    mask: NDArray[np.bool_] | None = None
    feedback: Any = None
    strokes: tuple[tuple[NDArray[np.float64], bool], ...] = ()
    examples: tuple[View, ...] = ()

    @property
    def seeds(self) -> bool:
        """Whether these say where the target is, and not only where it is not."""
        return bool(self.positive.any() or len(self.boxes) or (self.mask is not None and self.mask.any()))


@dataclass(frozen=True, eq=False)
class View:
    """One look at the image: grey levels or colours `pixels` (C, i, j, k) uint8, their `grid`, and the `cues`."""

    pixels: NDArray[np.uint8]
    grid: Grid
    cues: Cues = field(default_factory=Cues)

    def grey(self) -> NDArray[np.float32]:
        """The pixels (i, j, k) in [0, 1] without their colours; raises PromptError for neither 1 nor 3 channels."""
        if len(self.pixels) not in (1, 3):
            raise PromptError(f"This model looks at grey images; yours has {len(self.pixels)} channels: choose one.")
        grey = self.pixels[0] if len(self.pixels) == 1 else np.tensordot(LUMA, self.pixels, 1)
        return grey.astype(np.float32) / np.float32(255)


class Memo:
    """A cache of heavy results, least recently used out first, bounded in bytes.

    `source` is asked for what is not there, and makes it unless it finds it elsewhere.
    """

    def __init__(
        self,
        limit: int = MEMO_BYTES,
        source: Callable[[Hashable, Callable[[], Any]], Any] = lambda key, make: make(),
    ) -> None:
        self.limit, self.bytes, self.source = limit, 0, source
        self.entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of `key`, made if it is not there."""
        if key not in self.entries:
            value = self.source(key, make)
            size = sum(getattr(part, "nbytes", 0) for part in (value if isinstance(value, tuple) else (value,)))
            self.entries[key] = value, size
            self.bytes += size
            while self.bytes > self.limit and len(self.entries) > 1:
                _, (_, dropped) = self.entries.popitem(last=False)
                self.bytes -= dropped
        self.entries.move_to_end(key)
        return self.entries[key][0]


@dataclass
class Scene:
    """What a model is shown for one target: the image, the prompts in the order they came, its own notes.

    `rounds` are the prompts of each `Session.add` so far. `notes` is what the model keeps between rounds; the session
    puts it back on undo, so a model replaces its entries and never changes one in place. A model that names its
    structures answers for each of `structures`, and need not look outside of `region`.
    """

    image: Volume
    target: str
    rounds: tuple[tuple[Prompt, ...], ...]
    window: Window
    plane: str
    notes: dict[str, Any] = field(default_factory=dict)
    memory: Memo = field(default_factory=Memo)
    progress: Callable[[str], None] = lambda step: None
    structures: tuple[str, ...] = ()
    region: Box | None = None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Everything that was said, in order."""
        return tuple(prompt for said in self.rounds for prompt in said)

    def memo(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Caches heavy, prompt-free work such as an embedding: tensors or arrays, or a tuple of them."""
        return self.memory.get(key, make)

    def native(self, codes: str, start: tuple[int, int, int], shape: tuple[int, int, int]) -> View:
        """A block of the image's own voxels in the storage order `codes`, windowed, never interpolated."""
        block = self.image.orient(codes).crop(start, shape)
        return View(np.ascontiguousarray(self.window.grey(block.voxels)), block.grid)

    def view(self, grid: Grid, order: int = 1) -> View:
        """The image resampled to any grid, windowed; black outside."""
        return View(self.window.grey(self.image.to(grid, order, fill=self.window.low).voxels), grid)


def default_plane(grid: Grid) -> str:
    """The plane of a 2D image, or the one across the coarsest axis of a volume (the plane of acquisition); else axial.

    Axial also where spacings differ by less than a tenth.
    """
    thin = grid.thin_axis()
    coarsest = int(np.argmax(grid.spacing_mm))
    normal = grid.codes[coarsest if thin is None else thin]
    if thin is None and max(grid.spacing_mm) < 1.1 * float(np.median(grid.spacing_mm)):
        normal = "S"
    return next(plane for plane, codes in PLANES.items() if normal in _axis_letters(codes[2]))


def cues_by_slice(prompts: Iterable[Prompt], grid: Grid) -> dict[int, Cues]:
    """Prompts as cues of the slices k that they touch, each in its slice's indices; the grid's third axis is k.

    A point belongs to the slice nearest to it, a scribble to every slice that it crosses, a box to its middle slice, a
    lasso to the slice it is drawn in, a mask to each slice that it fills.
    """
    found: dict[int, list[Cues]] = {}
    for prompt in prompts:
        for k, cues in _slice_cues(prompt, grid):
            found.setdefault(min(max(k, 0), grid.shape[2] - 1), []).append(cues)
    return {k: join_cues(parts) for k, parts in sorted(found.items())}


def join_cues(parts: list[Cues]) -> Cues:
    """All cues of one view together, in order; masks are united."""
    masks = [part.mask for part in parts if part.mask is not None]
    return Cues(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.positive for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.logical_or.reduce(masks) if masks else None,
        next((part.feedback for part in parts if part.feedback is not None), None),
        tuple(stroke for part in parts for stroke in part.strokes),
    )


def box_slices(prompts: Iterable[Prompt], grid: Grid) -> list[tuple[int, int]]:
    """The first and last slice of each box that has depth."""
    spans = (_span(prompt, grid) for prompt in prompts if isinstance(prompt, Box))
    return [
        (max(0, round(low)), min(grid.shape[2] - 1, round(high))) for low, high in spans if round(low) < round(high)
    ]


def _slice_cues(prompt: Prompt, grid: Grid) -> Iterable[tuple[int, Cues]]:
    """The slices that a prompt touches, each with its cues in the indices of that slice."""
    match prompt:
        case Point(at=at, positive=positive):
            index = grid.index(at)
            k = round(index[2])
            yield k, Cues(index[None] - (0, 0, k), np.array([positive]))
        case Scribble(points=line, positive=positive):
            index = grid.index(line)
            for k in np.unique(np.rint(index[:, 2])):
                stroke = index[np.rint(index[:, 2]) == k] - (0, 0, k)
                part = stroke[np.unique(np.linspace(0, len(stroke) - 1, POINTS_OF_A_SCRIBBLE).round().astype(int))]
                yield int(k), Cues(part, np.full(len(part), positive), strokes=((stroke, positive),))
        case Box():
            _positive_only(prompt.positive, "box")
            index = grid.index(prompt.corners())
            low, high = index.min(axis=0), index.max(axis=0)
            if (high[:2] - low[:2] < 0.5).any() and high[2] - low[2] >= 1:
                raise PromptError("The box is flat within the plane that the model looks at; choose another --plane.")
            k = _middle(low[2], high[2], grid)
            yield k, Cues(boxes=np.stack([low, high])[None] - (0, 0, k))
        case Lasso(outline=outline):
            _positive_only(prompt.positive, "lasso")
            index = grid.index(outline)
            if np.ptp(index[:, 2]) > 1:
                raise PromptError(
                    "The lasso is not drawn in the plane that the model looks at; choose another --plane."
                )
            yield round(index[:, 2].mean()), mask_cues(fill_outline(index[:, :2], grid.shape[:2])[..., None])
        case MaskHint(mask=mask):
            _positive_only(prompt.positive, "mask")
            inside = mask.to(grid, order=0).voxels[0] > 0.5
            for k in np.flatnonzero(inside.any(axis=(0, 1))):
                yield int(k), mask_cues(inside[:, :, k : k + 1])


def mask_cues(mask: NDArray[np.bool_]) -> Cues:
    """A mask (i, j, 1) of one view and the box around it, as cues of that view."""
    if not mask.any():
        return Cues()
    where = np.argwhere(mask)
    return Cues(boxes=np.stack([where.min(axis=0), where.max(axis=0)])[None].astype(float), mask=mask)


def fill_outline(outline: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (i, j) inside a polygon, its edge included."""
    from PIL import Image, ImageDraw

    picture = Image.new("1", shape)
    ImageDraw.Draw(picture).polygon([tuple(point) for point in outline], fill=1, outline=1)
    return np.array(picture).T


def _positive_only(positive: bool, kind: str) -> None:
    if not positive:
        raise PromptError(f"This model takes no negative {kind}; use negative points or scribbles.")


def _span(box: Box, grid: Grid) -> tuple[float, float]:
    k = grid.index(box.corners())[:, 2]
    return float(k.min()), float(k.max())


def _middle(low: float, high: float, grid: Grid) -> int:
    low, high = max(low, 0.0), min(high, grid.shape[2] - 1.0)
    return int(np.floor((low + high) / 2 + 0.5))


def _axis_letters(letter: str) -> str:
    return next(pair for pair in ("RL", "AP", "SI") if letter in pair)

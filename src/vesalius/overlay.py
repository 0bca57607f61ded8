"""A picture of a segmentation for people: outlines and tints over the image, hung as a radiologist hangs it.

A 2D image is one panel; a volume is three, one for each anatomical plane, all with the same pixels per millimetre.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vesalius.files import replacing
from vesalius.grid import AXES, PLANES, Grid
from vesalius.intensity import Window
from vesalius.prompts import Box, Point, Prompt
from vesalius.scene import default_plane
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

PANEL = 512  # pixels along the longest side of a volume, and the least along that of a 2D image
LARGEST = 1600  # the most along the longest side of a 2D image
TEXT, LINE = 22, 34  # height of letters, and from line to line, in pixels
TINT = 0.3
ARM = 7  # pixels from the middle of a click to the end of its cross
COLOURS = (  # far apart in hue and lightness, for colour-blind eyes too, and none is grey
    (0, 190, 255),
    (255, 176, 0),
    (240, 60, 120),
    (120, 220, 60),
    (170, 120, 255),
    (255, 245, 120),
    (0, 160, 120),
    (255, 110, 40),
)

Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Slice:
    """One slice as it hangs: `pixels` (rows, columns, 3), a mask (rows, columns) for each name, its grid and title."""

    pixels: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]
    grid: Grid
    title: str


def draw_overlay(
    image: Volume, window: Window, seg: Segmentation, path: Path, prompts: Iterable[tuple[str, Prompt]] = ()
) -> None:
    """Writes a PNG of the image with each structure's outline and tint, a legend, and the clicks and boxes.

    The segmentation lies on the image's grid. A volume is shown in the axial, coronal and sagittal slice that its
    structures fill most, each measured against its own largest slice. Letters name the patient's sides; an image
    without a physical unit has none. Raises FormatError where the file cannot be written.
    """
    flat = image.grid.thin_axis() is not None
    planes = (default_plane(image.grid),) if flat else tuple(PLANES)
    pixels = min(max(*image.grid.shape, PANEL), LARGEST) if flat else PANEL
    scale = pixels / max(np.multiply(image.grid.shape, image.grid.spacing_mm))
    colours, fullest, said = _colours(seg), _fullest_slices(seg), [prompt for _, prompt in prompts]
    slices = [_slice(image, window, seg, plane, fullest) for plane in planes]
    panels = [_panel(slice_, colours, said, scale) for slice_ in slices]
    width = sum(panel.width + LINE for panel in panels) - LINE
    legend = _legend(colours, [name for name in colours if seg.mask(name).any()], width)
    height = max(panel.height for panel in panels)
    picture = Image.new("RGB", (width, height + legend.height))
    left = 0
    for panel in panels:
        picture.paste(panel, (left, 0))
        left += panel.width + LINE
    picture.paste(legend, (0, height))
    with replacing(path) as part:
        picture.save(part, "PNG")


def _colours(seg: Segmentation) -> dict[str, Colour]:
    """The colour of each structure: its own, else the next of the table."""
    colours = {}
    for n, structure in enumerate(seg.labels.structures):
        if structure.colour:
            red, green, blue = (round(255 * part) for part in structure.colour)
            colours[structure.name] = red, green, blue
        else:
            colours[structure.name] = COLOURS[n % len(COLOURS)]
    return colours


def _fullest_slices(seg: Segmentation) -> list[int]:
    """Along each index axis, the slice with the largest areas, each area as a share of its structure's largest."""
    fullness = [np.zeros(n) for n in seg.grid.shape]
    for name in seg.labels.names:
        mask = seg.mask(name)
        for axis in range(3):
            areas = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
            fullness[axis] += areas / max(1, areas.max())
    return [int(full.argmax()) if full.any() else len(full) // 2 for full in fullness]


def _slice(image: Volume, window: Window, seg: Segmentation, plane: str, fullest: list[int]) -> _Slice:
    order, flips = image.grid.axis_order(PLANES[plane])
    axis, index = order[2], fullest[order[2]]
    hung = image.orient(PLANES[plane])
    width, height, depth = hung.grid.shape
    start, shape = (0, 0, depth - 1 - index if flips[2] else index), (width, height, 1)
    block = hung.crop(start, shape)
    layers = Volume(seg.layers, image.grid).orient(PLANES[plane]).crop(start, shape).voxels
    channels = block.voxels if len(block.voxels) == 3 else np.repeat(block.voxels[:1], 3, axis=0)
    pixels = window.grey(channels)[..., 0].transpose(2, 1, 0)
    masks = {name: (layers[layer, ..., 0] == value).T for name, (layer, value) in seg.places.items()}
    title = "" if image.grid.thin_axis() is not None else f"{plane}, {'ijk'[axis]} = {index}"
    return _Slice(pixels, masks, block.grid, title)


def _panel(slice_: _Slice, colours: Mapping[str, Colour], prompts: list[Prompt], scale: float) -> Image.Image:
    """The slice at its true proportions with everything drawn on it, in a black frame that holds title and letters."""
    columns, rows, _ = slice_.grid.shape
    zoom = scale * np.asarray(slice_.grid.spacing_mm[:2])
    size = max(1, round(columns * zoom[0])), max(1, round(rows * zoom[1]))
    picture = Image.fromarray(np.ascontiguousarray(slice_.pixels)).resize(size, Image.Resampling.BICUBIC)
    for name, mask in slice_.masks.items():
        inside = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        outline = Image.fromarray(np.array(inside) - np.array(inside.filter(ImageFilter.MinFilter(5))))
        tint = inside.point([round(TINT * level) for level in range(256)])
        for stencil in (tint, outline):
            picture.paste(colours[name], (0, 0, *size), stencil)
    _draw_prompts(ImageDraw.Draw(picture), prompts, slice_.grid, zoom)

    font = ImageFont.load_default(TEXT)
    width = max(size[0], round(font.getlength(slice_.title))) + 2 * LINE
    frame = Image.new("RGB", (width, size[1] + (3 if slice_.title else 2) * LINE))
    draw = ImageDraw.Draw(frame)
    left, top = (width - size[0]) // 2, 2 * LINE if slice_.title else LINE
    frame.paste(picture, (left, top))
    draw.text((width / 2, LINE / 2), slice_.title, fill="white", font=font, anchor="mm")
    if slice_.grid.calibrated:
        middle = left + size[0] / 2, top + size[1] / 2
        right, down, _ = tuple(slice_.grid.codes)
        draw.text((left + size[0] + LINE / 2, middle[1]), right, fill="white", font=font, anchor="mm")
        draw.text((left - LINE / 2, middle[1]), _opposite(right), fill="white", font=font, anchor="mm")
        draw.text((middle[0], top + size[1] + LINE / 2), down, fill="white", font=font, anchor="mm")
        draw.text((middle[0], top - LINE / 2), _opposite(down), fill="white", font=font, anchor="mm")
    return frame


def _draw_prompts(draw: ImageDraw.ImageDraw, prompts: list[Prompt], grid: Grid, zoom: NDArray[np.float64]) -> None:
    """Clicks as crosses, upright where positive and slanted where negative, and boxes, in the slices they belong to."""
    for prompt in prompts:
        if isinstance(prompt, Point):
            index = grid.index(prompt.at)
            if abs(index[2]) <= 0.5:
                x, y = (index[:2] + 0.5) * zoom
                arms = ((ARM, 0), (0, ARM)) if prompt.positive else ((ARM, ARM), (ARM, -ARM))
                for colour, width in (("black", 5), ("white" if prompt.positive else "red", 2)):
                    for dx, dy in arms:
                        draw.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=width)
        elif isinstance(prompt, Box):
            index = grid.index(prompt.corners())
            low, high = index.min(axis=0), index.max(axis=0)
            if low[2] <= 0.5 and high[2] >= -0.5:
                corners = (*(low[:2] * zoom), *((high[:2] + 1) * zoom))
                draw.rectangle(corners, outline="white" if prompt.positive else "red", width=2)


def _legend(colours: Mapping[str, Colour], found: list[str], width: int) -> Image.Image:
    """The names beside their colours, in as many lines as they need; what has no voxel is said to be absent."""
    font = ImageFont.load_default(TEXT)
    places, left, top = {}, LINE, 0
    for name in colours:
        words = name if name in found else f"{name} (absent)"
        length = round(font.getlength(words)) + 2 * LINE
        if left > LINE and left + length > width:
            left, top = LINE, top + LINE
        places[words] = left, top, colours[name]
        left += length
    legend = Image.new("RGB", (width, top + LINE if colours else 0))
    draw = ImageDraw.Draw(legend)
    for words, (left, top, colour) in places.items():
        draw.rectangle((left, top + 8, left + TEXT - 6, top + TEXT + 2), fill=colour)
        draw.text((left + TEXT + 2, top + LINE / 2 - 2), words, fill="white", font=font, anchor="lm")
    return legend


def _opposite(letter: str) -> str:
    return next(pair.replace(letter, "") for pair in AXES if letter in pair)

"""Shapes as anatomy has them, drawn at random into a label map: organs, walls, vessels, cells.
Each function draws with the values that follow `value` and returns the last one that it used."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageDraw


def draw_trunk(pen: ImageDraw.ImageDraw, value: int, rng: np.random.Generator) -> int:
    """A section of a body that fills most of the picture, with a cavity on either side and what lies between them."""
    size = np.array(pen.im.size)
    centre, radii = rng.uniform(0.45, 0.55, size=2) * size, rng.uniform((0.36, 0.28), (0.48, 0.42)) * size

    def draw_part(place: np.ndarray, share: np.ndarray, roughness: float) -> None:
        nonlocal value
        around = np.array(outline(np.zeros(2), 1.0, roughness, rng))
        value += 1
        pen.polygon([tuple(corner) for corner in centre + (place + around * share) * radii], value)

    draw_part(np.zeros(2), np.ones(2), 0.05)
    for side in (-1, 1):
        draw_part(np.array([side * rng.uniform(0.38, 0.5), rng.uniform(-0.1, 0.1)]), rng.uniform(0.3, 0.42, 2), 0.15)
    for _ in range(rng.integers(1, 5)):
        draw_part(rng.uniform((-0.25, -0.8), (0.25, 0.8)), rng.uniform(0.06, 0.25, size=2), 0.2)
    return value


def draw_organ(pen: ImageDraw.ImageDraw, value: int, rng: np.random.Generator) -> int:
    """A large outline with up to three lesions in it, some of them with a core."""
    size = np.array(pen.im.size)
    centre, radius = rng.uniform(0.2, 0.8, size=2) * size, rng.uniform(0.08, 0.4) * size.max()
    pen.polygon(outline(centre, radius, rng.uniform(0, 0.3), rng), value := value + 1)
    for _ in range(rng.integers(4)):
        inner, inside = rng.uniform(0.08, 0.4) * radius, centre + rng.uniform(-0.5, 0.5, size=2) * radius
        pen.polygon(outline(inside, inner, rng.uniform(0, 0.3), rng), value := value + 1)
        if rng.random() < 0.3:
            pen.polygon(outline(inside, inner * rng.uniform(0.3, 0.7), 0.1, rng), value := value + 1)
    return value


def draw_ring(pen: ImageDraw.ImageDraw, value: int, rng: np.random.Generator) -> int:
    """A wall around a lumen, as of the gut, an artery or the heart; some lie like the layers of an onion."""
    size = np.array(pen.im.size)
    centre, radius = rng.uniform(0.2, 0.8, size=2) * size, rng.uniform(0.05, 0.35) * size.max()
    wall = outline(np.zeros(2), radius, rng.uniform(0, 0.2), rng)
    share = 1.0
    for _ in range(rng.integers(2, 5)):
        pen.polygon([(centre[0] + share * x, centre[1] + share * y) for x, y in wall], value := value + 1)
        share *= rng.uniform(0.5, 0.92)
    return value


def draw_vessel(pen: ImageDraw.ImageDraw, value: int, rng: np.random.Generator) -> int:
    """A line that winds, tapers and branches; all of it is one label."""
    size = np.array(pen.im.size)
    stems = [(rng.uniform(0, 1, size=2) * size, rng.uniform(0, 2 * math.pi), rng.uniform(0.008, 0.05) * size.max())]
    winding, branching = rng.uniform(0.05, 0.35), rng.choice((0, 0.1))
    for at, heading, width in stems:  # grows while it is walked through
        for _ in range(rng.integers(8, 40)):
            heading += rng.normal() * winding
            to = at + 0.03 * size.max() * np.array([math.cos(heading), math.sin(heading)])
            pen.line([*at, *to], value + 1, max(1, round(width)))
            pen.ellipse([*(to - width / 2), *(to + width / 2)], value + 1)
            at, width = to, width * 0.97
            if rng.random() < branching and len(stems) < 12:
                stems.append((at, heading + rng.choice((-1, 1)) * rng.uniform(0.4, 1.2), width * 0.7))
    return value + 1


def draw_cells(pen: ImageDraw.ImageDraw, value: int, rng: np.random.Generator) -> int:
    """Many small round things of about one size, apart or touching."""
    size = np.array(pen.im.size)
    radius, spread = rng.uniform(0.012, 0.06) * size.max(), rng.uniform(0.05, 0.5)
    middle = rng.uniform(0.2, 0.8, size=2) * size
    for _ in range(min(int(rng.uniform(0.05, 0.4) * size.prod() / (4 * radius**2)), 150)):
        centre = middle + rng.normal(size=2) * spread * size
        pen.polygon(outline(centre, radius * rng.uniform(0.7, 1.3), 0.1, rng), value := value + 1)
    return value


def outline(centre: np.ndarray, radius: float, bumps: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Corners (x, y) of a turned ellipse whose radius waves by about `bumps` of itself."""
    turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    waves = np.zeros(48)
    for k in range(2, 6):
        waves += rng.normal() / k * np.cos(k * turn + rng.uniform(0, 2 * math.pi))
    radii = radius * (1 + bumps * waves).clip(0.3, 2)
    angle, squeeze = rng.uniform(0, math.pi), rng.uniform(0.5, 1)
    across, along = radii * np.cos(turn), radii * np.sin(turn) * squeeze
    xs = centre[0] + math.cos(angle) * across - math.sin(angle) * along
    ys = centre[1] + math.sin(angle) * across + math.cos(angle) * along
    return list(zip(xs.tolist(), ys.tolist(), strict=True))

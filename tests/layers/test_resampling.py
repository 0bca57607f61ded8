"""Pictures are resized as Pillow, scikit-image and OpenCV do it; OpenCV's results are recorded here."""

import numpy as np
import pytest
from skimage import transform

from vesalius.layers.resampling import resize_area, resize_bilinear, resize_cubic, resize_nearest

ODD = (np.arange(35).reshape(5, 7, 1) * 37 % 256).astype(np.uint8)
EVEN = (np.arange(24).reshape(4, 6, 1) * 53 % 256).astype(np.uint8)


@pytest.mark.parametrize("shape", [(19, 30), (50, 33), (70, 12)])
def test_cubic_resizing_is_that_of_scikit_image(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = transform.resize(picture, (40, 40), order=3, preserve_range=True, anti_aliasing=True)
    assert np.array_equal(resize_cubic(picture, 40, 40), expected)


def test_bilinear_resizing_averages_when_it_shrinks() -> None:
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(resize_bilinear(stripes, 4, 8)[:, 1:-1].astype(int)) <= 1


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (ODD, [[17, 80, 144, 207], [22, 85, 149, 212], [27, 90, 154, 217]]),
        (ODD, [[26, 111, 196], [29, 114, 199], [32, 117, 202], [35, 120, 205], [38, 123, 208]]),
        (
            ODD[:2],
            [
                [0, 16, 37, 69, 85, 111, 137, 153, 185, 206, 222],
                [2, 17, 39, 70, 86, 113, 139, 155, 187, 208, 224],
                [3, 19, 40, 72, 88, 114, 140, 156, 188, 209, 225],
            ],
        ),
        (EVEN, [[58, 164, 78], [182, 96, 138]]),
        (EVEN, [[84, 115], [165, 111]]),
        (ODD, ODD[..., 0].tolist()),
    ],
    ids=["shrunk", "narrowed", "enlarged", "halved", "by whole numbers", "unchanged"],
)
def test_area_resizing_is_that_of_opencv(picture: np.ndarray, expected: list[list[int]]) -> None:
    resized = resize_area(picture, len(expected), len(expected[0]))
    assert resized.dtype == np.uint8
    assert resized[..., 0].tolist() == expected


def test_nearest_resizing_is_that_of_opencv() -> None:
    assert resize_nearest(ODD, 3, 4)[..., 0].tolist() == [[0, 37, 111, 185], [3, 40, 114, 188], [9, 46, 120, 194]]
    wide = resize_nearest(ODD[:1].astype(np.float32), 2, 9)
    assert wide.dtype == np.float32
    assert wide[..., 0].tolist() == [[0, 0, 37, 74, 111, 111, 148, 185, 222]] * 2

"""Windows are cut and joined without loss, at sizes that are and are not multiples."""

import pytest
import torch

from vesalius.layers.windows import join_windows, split_windows


@pytest.mark.parametrize(("height", "width"), [(6, 9), (5, 4), (3, 3)])
def test_joining_undoes_splitting(height: int, width: int) -> None:
    tokens = torch.randn(2, height, width, 5)
    windows = split_windows(tokens, 3)
    assert windows.shape == (2 * -(-height // 3) * -(-width // 3), 3, 3, 5)
    assert torch.equal(join_windows(windows, height, width), tokens)


def test_the_rest_is_filled_with_zeros() -> None:
    windows = split_windows(torch.ones(1, 4, 3, 1), 3)
    assert windows[1, 0].sum() == 3
    assert windows[1, 1:].sum() == 0

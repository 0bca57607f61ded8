from pathlib import Path

import numpy as np
import torch

import vesalius as vs
from vesalius.scene import View, cues_by_slice

# The official file, as its authors published it: here they are we.
official = {"net.weight": torch.tensor([[-40.0, -10.0, -30.0]]), "net.bias": torch.tensor([6.0])}
torch.save({"state_dict": official, "epoch": 3}, "like_grey.pth")

model = vs.load(f"{Path(__file__).with_name('like_grey.py')}:LikeGrey", Path("like_grey.pth"))
assert torch.equal(model.linear.weight.detach(), official["net.weight"])

# A recording: what the original says of one picture and one click.
line = vs.make_grid((4, 1, 1), np.eye(4), calibrated=False)
click = vs.Point.from_index(line, (1, 0, 0))
pixels = np.array([0, 51, 102, 255], np.uint8).reshape(1, 4, 1, 1)
recorded = [-2.1, 6.0, -2.1, -26.2]
said = model(View(pixels, line, cues_by_slice([click], line)[0])).detach().flatten()
np.testing.assert_allclose(said, recorded, rtol=1e-5)

# A bright tube, of which everything is known: one click finds it, in every storage order.
grid = vs.make_grid((40, 36, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
i, j, k = np.indices(grid.shape)
tube = ((i - 20) ** 2 + (j - 18) ** 2 <= 36) & (k > 2) & (k < 9)
image = vs.Volume(np.where(tube, 200, 20).astype(np.uint8)[None], grid)
click = vs.Point.from_index(grid, (20, 18, 5))
for order in ("RAS", "LPS", "SAR", "IPL"):
    found = vs.Session(model, image.orient(order)).add(click)
    assert np.array_equal(found.to(grid).mask("1"), tube)

# A correction changes the place that it speaks of, and undo brings it back.
session = vs.Session(model, image)
session.add(click)
corrected = session.add(vs.Point.from_index(grid, (20, 22, 5), positive=False)).mask("1")
assert not corrected[20, 22, 5] and corrected[20, 18, 5]
assert np.array_equal(session.undo().mask("1"), tube)

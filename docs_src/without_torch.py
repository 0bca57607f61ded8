import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

folder = Path("onnx")  # of `vesalius export vesalius-s --onnx onnx`
about = json.loads((folder / "model.json").read_text())
encoder = onnxruntime.InferenceSession(folder / "encoder.onnx")
decoder = onnxruntime.InferenceSession(folder / "decoder.onnx")

# Once for each picture: longest side to `size`, colours normalised, then zeros at the right and the bottom.
picture = Image.open("photo.png").convert("RGB")
size = about["size"]
width, height = (max(int(side * size / max(picture.size) + 0.5), 1) for side in picture.size)
resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
pixels = np.zeros((1, 3, size, size), np.float32)
pixels[0, :, :height, :width] = ((resized - about["mean"]) / about["std"]).transpose(2, 0, 1)
names = [output.name for output in encoder.get_outputs()]
features = dict(zip(names, encoder.run(names, {"pixels": pixels}), strict=True))

# For each click: here one on the target, in pixels of the picture, and the padding that follows clicks without a box.
click = np.array([25, 9])
scale = np.array([width, height]) / picture.size
prompts = {
    "points": np.stack([(click + 0.5) * scale - 0.5, [0, 0]])[None].astype(np.float32),
    "labels": np.array([[1, -1]]),
    "mask": np.zeros((1, 1, size // 2, size // 2), np.float32),
    "has_mask": np.zeros(1, np.float32),  # 1 once `mask` holds the chosen mask of the click before
    "strokes": np.zeros((1, 2, size // 2, size // 2), np.float32),
}
masks, dice = decoder.run(["masks", "dice"], features | prompts)
best = 1 + dice[0, 1:].argmax()  # a single click has three candidates; everything else is answered by masks[0, 0]

# Back to the picture: enlarged to the network's input, cut, resized; what is above 0 is inside.
square = Image.fromarray(masks[0, best]).resize((size, size), Image.Resampling.BILINEAR)
logits = square.crop((0, 0, width, height)).resize(picture.size, Image.Resampling.BILINEAR)
Image.fromarray(np.uint8(255) * (np.asarray(logits) > 0)).save("mask.png")

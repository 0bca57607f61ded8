"""How much memory it takes to segment one target in a large CT, from file to file.

    python benchmarks/memory.py [--shape 512,512,600]    (512,512,1 for a picture)

Writes a generated chest CT (int16), runs `vesalius segment` on it in a process of its own, and prints that process's
peak memory against the image's own bytes as float32.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import vesalius as vs

MEASURE = """
import resource, runpy, sys
sys.argv = ["vesalius", *sys.argv[1:]]
try:
    runpy.run_module("vesalius", run_name="__main__")
except SystemExit as end:
    code = end.code or 0
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Prints the peak memory in GB and its ratio to the image as float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="512,512,600")
    shape = tuple(int(n) for n in parser.parse_args().shape.split(","))
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "ct.nii.gz"
        vs.write(chest(shape), image)
        click = f"{shape[0] // 4},{shape[1] // 2},{shape[2] // 2}"
        began = time.perf_counter()
        command = [sys.executable, "-c", MEASURE, "segment", str(image), "--point", click, "--json"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
        code, kilobytes = (int(word) for word in run.stdout.split()[-2:])
        found = vs.read_segmentation(Path(folder) / "ct_mask.nii.gz")
        voxels = int(np.count_nonzero(found.layers))
    whole = int(np.prod(shape)) * 4
    print(f"exit code {code}, {voxels} voxels segmented in {seconds:.0f} s")
    print(f"peak memory {kilobytes / 2**20:.2f} GB; the image as float32 is {whole / 2**30:.2f} GB")
    print(f"ratio: {kilobytes * 1024 / whole:.2f}")


def chest(shape: tuple[int, int, int]) -> vs.Volume:
    """Two lungs in a body, in HU, slice by slice so that making it needs no more than it takes."""
    random = np.random.default_rng(0)
    i, j = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    voxels = np.empty((1, *shape), np.int16)
    for k in range(shape[2]):
        size = np.sqrt(1 - ((2 * k + 1) / shape[2] - 1) ** 2)
        slice_ = np.where(i**2 + (j / 0.7) ** 2 < 0.9, 40, -1000)
        for side in (-0.5, 0.5):
            slice_[((i - side) / 0.32) ** 2 + (j / 0.5) ** 2 < size] = -800
        voxels[0, :, :, k] = slice_ + random.normal(0, 15, slice_.shape)
    return vs.Volume(voxels, vs.make_grid(shape, np.diag([-0.7, -0.7, 1.0, 1.0])))


if __name__ == "__main__":
    main()

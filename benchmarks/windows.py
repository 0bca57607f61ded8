"""How long a whole image takes, and how much memory: ours against nnU-Net's predictor and MONAI's sliding window.

    pip install monai pandas blosc2 threadpoolctl
    pip install --no-deps nnunetv2 dynamic-network-architectures acvl-utils batchgenerators batchgeneratorsv2
    python benchmarks/windows.py [--shape 256,256,200] [--spacing 1.6,1.6,2] [--worked 3] [--runs ours,nnunet,monai]
        [--device cpu]

One network with random weights, in a folder of results of nnU-Net, and one generated chest CT. Each contender runs in a
process of its own, from the image in memory to labels on its own grid, and prints seconds and peak memory above what
it held after its imports. Labels must be nnU-Net's wherever its two best classes differ by more than 0.01. Its weights
are of 16 bit and vanish along the edges of the image, where its sums are noise; so they are compared with its predictor
in 32 bit, too.

How much memory a large CT takes, without peers; what a window's finest features take is all there in two stages:

    python benchmarks/windows.py --shape 512,512,400 --spacing 0.8,0.8,1 --worked 1.5 --stages 2 --convs 1 --runs ours
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import vesalius as vs

MARGIN = 0.01
WIDTHS = (32, 64, 128, 256, 320, 320)  # of nnU-Net's stages


def main() -> None:
    """Runs each contender and compares their labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="256,256,200")
    parser.add_argument("--spacing", default="1.6,1.6,2", help="mm")
    parser.add_argument("--worked", type=float, default=3.0, help="the network's spacing in mm")
    parser.add_argument("--classes", type=int, default=118, help="background included")
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--stages", type=int, default=len(WIDTHS), help="of the network, from the finest")
    parser.add_argument("--convs", type=int, default=2, help="convolutions of a stage")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", default="ours,nnunet,monai")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.run:
        RUNS[args.run](args.folder, args.device)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shape, spacing = (tuple(map(float, text.split(","))) for text in (args.shape, args.spacing))
        np.save(folder / "ct.npy", chest(tuple(map(int, shape))))
        (folder / "spacing.json").write_text(json.dumps(spacing))
        make_results(folder, args.classes, args.patch, args.worked, WIDTHS[: args.stages], args.convs)
        print(
            f"{args.shape} voxels of {args.spacing} mm, worked at {args.worked} mm, {args.classes} classes, windows of"
            f" {args.patch}, {args.stages} stages of {args.convs}, {args.threads} threads, torch {torch.__version__},"
            f" {torch.cuda.get_device_name() if args.device.startswith('cuda') else args.device}"
        )
        for run in args.runs.split(","):
            command = [sys.executable, __file__, "--run", run, "--folder", place, "--threads", str(args.threads)]
            command += ["--device", args.device]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{run} failed:\n{done.stderr[-2000:]}")
            print(done.stdout.strip().splitlines()[-1])
        if {"ours", "nnunet"} <= set(args.runs.split(",")):
            compare(folder)


def compare(folder: Path) -> None:
    """Prints how many labels differ from nnU-Net's where it is sure, as it is and in 32 bit."""
    labels = {name: np.load(folder / f"{name}.npy") for name in ("ours", "nnunet", "exact")}
    print(f"labels that differ where the two best classes of the second differ by more than {MARGIN}:")
    pairs = {
        "ours, nnU-Net": ("ours", "nnunet"),
        "ours, nnU-Net in 32 bit": ("ours", "exact"),
        "nnU-Net, nnU-Net in 32 bit": ("nnunet", "exact"),
    }
    for said, (one, other) in pairs.items():
        sure = np.load(folder / f"{other}_sure.npy")
        print(f"  {said}: {int((labels[one] != labels[other])[sure].sum())} of {int(sure.sum())} voxels")


def make_results(folder: Path, classes: int, patch: int, worked_mm: float, widths: tuple[int, ...], convs: int) -> None:
    """A folder as nnU-Net leaves it after training, with random weights; one of `widths` for each stage."""
    from vesalius.hub import random_model
    from vesalius.releases import read_release

    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": len(widths),
            "features_per_stage": list(widths),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * len(widths),
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (len(widths) - 1)],
            "n_conv_per_stage": [convs] * len(widths),
            "n_conv_per_stage_decoder": [convs] * (len(widths) - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    sampler = "resample_data_or_seg_to_shape"
    setting = {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch] * 3,
        "median_image_size_in_voxels": [patch] * 3,
        "spacing": [worked_mm] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": sampler,
        "resampling_fn_seg": sampler,
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": sampler,
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": network,
        "batch_dice": False,
    }
    facts = {"mean": -370.0, "std": 436.6, "percentile_00_5": -1024.0, "percentile_99_5": 276.0, "max": 3000.0}
    plans = {
        "dataset_name": "Dataset001_Chest",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": setting},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": facts},
    }
    labels = {"background": 0} | {f"structure {n}": n for n in range(1, classes)}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "fold_0").mkdir()
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    record: dict[str, Any] = {
        "network_weights": {},
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(record, folder / "fold_0/checkpoint_final.pth")
    model = random_model(read_release(folder)[0], tiny=False)
    state = {name.removeprefix("networks.0."): tensor for name, tensor in model.state_dict().items()}
    state |= {f"decoder.{name}": tensor for name, tensor in state.items() if name.startswith("encoder.")}
    for number, part in enumerate((".conv.", ".norm.")):
        state |= {name.replace(part, f".all_modules.{number}."): t for name, t in state.items() if part in name}
    torch.save(record | {"network_weights": state}, folder / "fold_0/checkpoint_final.pth")


def run_ours(folder: Path, device: str) -> None:
    """Vesalius: a session without a prompt."""
    from vesalius import hub, look_windows  # noqa: F401

    measured = Measured("ours")
    model = vs.load(str(folder), device=device)
    image = vs.Volume(np.load(folder / "ct.npy")[None], grid_of(folder), vs.Source(modality="CT"))
    with measured:
        found = vs.Session(model, image).add()
        measured.stop()
    np.save(folder / "ours.npy", found.layers[0])


def run_nnunet(folder: Path, device: str) -> None:
    """nnU-Net: its preprocessing, sliding window, resampling of the logits and their largest."""
    from nnunetv2.inference import predict_from_raw_data
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    measured = Measured("nnunet")
    predictor = nnunet_predictor(folder, device)
    setting, plans = predictor.configuration_manager, predictor.plans_manager
    pixels = np.load(folder / "ct.npy").transpose(2, 1, 0)[None].astype(np.float32)
    properties = {"spacing": list(grid_of(folder).spacing_mm[::-1])}
    with measured:
        preprocessor = setting.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case_npy(
            pixels, None, properties, plans, setting, predictor.dataset_json
        )
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
        found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, setting, predictor.label_manager, properties, return_probabilities=False
        )
        measured.stop()
    now = [setting.spacing[axis] for axis in range(3)]

    def best_two(logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The labels (z, y, x) of an image's own voxels, and where the best class is better by the margin."""
        big = setting.resampling_fn_probabilities(logits, pixels.shape[1:], now, properties["spacing"])
        best = [torch.as_tensor(big[:, n]).float().topk(2, dim=0) for n in range(big.shape[1])]
        labels = np.stack([classes[0] for _, classes in best])
        return labels, np.stack([values[0] - values[1] > MARGIN for values, _ in best])

    save(folder, "nnunet", np.asarray(found), best_two(logits)[1])
    gaussian = partial(predict_from_raw_data.compute_gaussian, dtype=torch.float32)
    with patch.object(torch, "half", torch.float32), patch.object(predict_from_raw_data, "compute_gaussian", gaussian):
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
    save(folder, "exact", *best_two(logits))


def save(folder: Path, name: str, labels: np.ndarray, sure: np.ndarray) -> None:
    """Labels (z, y, x) as (x, y, z), and where they are sure."""
    np.save(folder / f"{name}.npy", labels.transpose(2, 1, 0))
    np.save(folder / f"{name}_sure.npy", sure.transpose(2, 1, 0))


def run_monai(folder: Path, device: str) -> None:
    """MONAI: its sliding window over the same pixels through nnU-Net's network, then classes resampled one by one."""
    from monai.inferers import sliding_window_inference
    from nnunetv2.inference import predict_from_raw_data  # noqa: F401

    measured = Measured("monai")
    predictor = nnunet_predictor(folder, device)
    setting = predictor.configuration_manager
    pixels = np.load(folder / "ct.npy").transpose(2, 1, 0)[None].astype(np.float32)
    properties = {"spacing": list(grid_of(folder).spacing_mm[::-1])}
    network = predictor.network.to(device).eval()
    network.load_state_dict(predictor.list_of_parameters[0])
    with measured, torch.inference_mode():
        preprocessor = setting.preprocessor_class(verbose=False)
        data, _, _ = preprocessor.run_case_npy(
            pixels, None, properties, predictor.plans_manager, setting, predictor.dataset_json
        )
        logits = sliding_window_inference(
            torch.from_numpy(data)[None].to(device), setting.patch_size, 1, network, overlap=0.5, mode="gaussian"
        )
        best = torch.full(pixels.shape[1:], -torch.inf, device=device)
        codes = torch.zeros(pixels.shape[1:], dtype=torch.uint8, device=device)
        for code in range(logits.shape[1]):
            one = torch.nn.functional.interpolate(logits[:, code : code + 1], best.shape, mode="trilinear")[0, 0]
            larger = one > best
            best[larger], codes[larger] = one[larger], code
        found = codes.cpu().numpy()
        measured.stop()
    np.save(folder / "monai.npy", found.transpose(2, 1, 0))


def nnunet_predictor(folder: Path, device: str) -> Any:
    """nnU-Net's predictor without mirroring, which keeps everything on a GPU as long as it fits."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, str(folder))
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=device != "cpu",
        device=torch.device(device),
        allow_tqdm=False,
    )
    dataset = json.loads((folder / "dataset.json").read_text())
    plans = PlansManager(str(folder / "plans.json"))
    setting = plans.get_configuration("3d_fullres")
    network = get_network_from_plans(
        setting.network_arch_class_name,
        setting.network_arch_init_kwargs,
        setting.network_arch_init_kwargs_req_import,
        1,
        len(dataset["labels"]),
        deep_supervision=False,
    )
    weights = torch.load(folder / "fold_0/checkpoint_final.pth", weights_only=True)["network_weights"]
    predictor.manual_initialization(network, plans, setting, [weights], dataset, "nnUNetTrainer", None)
    return predictor


class Measured:
    """Prints the seconds of what runs inside, and the peak memory above what was held when this was made."""

    def __init__(self, name: str) -> None:
        self.name, self.held = name, peak_memory()

    def __enter__(self) -> Measured:
        self.began = time.perf_counter()
        return self

    def stop(self) -> None:
        """Ends the measurement."""
        seconds, peak = time.perf_counter() - self.began, peak_memory()
        self.said = f"{self.name:8} {seconds:8.1f} s   {peak - self.held:6.2f} GB above {self.held:.2f}"
        if torch.cuda.is_available():
            self.said += f"   {torch.cuda.max_memory_allocated() / 2**30:6.2f} GB of the GPU"

    def __exit__(self, *problem: object) -> None:
        print(self.said if not any(problem) else problem)


def peak_memory() -> float:
    """The most memory that this process has held so far, in GB; getrusage would count its parent's too."""
    said = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(said[1]) / 2**20 if said else 0.0


def grid_of(folder: Path) -> vs.Grid:
    """The grid of the image, stored as nnU-Net expects it."""
    spacing = json.loads((folder / "spacing.json").read_text())
    shape = np.load(folder / "ct.npy", mmap_mode="r").shape
    return vs.make_grid(shape, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))


def chest(shape: tuple[int, ...]) -> np.ndarray:
    """Two lungs in a body with blobs of other tissue, in HU."""
    random = np.random.default_rng(0)
    i, j, k = (np.linspace(-1, 1, size) for size in shape)
    plane = i[:, None] ** 2 + (j / 0.7) ** 2
    voxels = np.empty(shape, np.int16)
    for n, height in enumerate(k):
        slice_ = np.where(plane < 0.9, 40 + 60 * np.sin(9 * i)[:, None] * np.sin(11 * j + 5 * height), -1000)
        for side in (-0.5, 0.5):
            slice_[((i[:, None] - side) / 0.32) ** 2 + (j / 0.5) ** 2 < np.sqrt(max(0, 1 - height**2))] = -800
        voxels[..., n] = slice_ + random.normal(0, 15, slice_.shape)
    return voxels


RUNS = {"ours": run_ours, "nnunet": run_nnunet, "monai": run_monai}

if __name__ == "__main__":
    main()

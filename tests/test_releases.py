"""Folders as nnInteractive releases them load as they are, and what is wrong with others is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vesalius as vs
from phantoms import ball, grids
from vesalius.__main__ import main
from vesalius.hub import random_model
from vesalius.zoo.nninteractive import NNINTERACTIVE

SIZES: Any = NNINTERACTIVE.tiny["sizes"]
PLANS = {
    "dataset_name": "Dataset225_nnInteractiveV2",
    "configurations": {
        "3d_fullres": {
            "batch_size": 2,
            "patch_size": [64, 64, 64],
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
                "arch_kwargs": {
                    "n_stages": 3,
                    "features_per_stage": SIZES["widths"],
                    "kernel_sizes": SIZES["kernels"],
                    "strides": SIZES["strides"],
                    "n_blocks_per_stage": SIZES["depth"],
                    "n_conv_per_stage_decoder": SIZES["decoder_depth"],
                },
            },
        },
        "3d_fullres_ps16": {"inherits_from": "3d_fullres", "patch_size": [16, 16, 24]},
    },
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that a released one holds, of a tiny network."""
    folder = tmp_path_factory.mktemp("released") / "nnInteractive_v9"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(PLANS))
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "image"}, "labels": {"background": 0}}))
    (folder / "inference_info.json").write_text(json.dumps({"point_radius": 3, "interaction_decay": 0.95}))
    (folder / "LICENSE").write_text("CC BY-NC-SA 4.0\nhttps://creativecommons.org/licenses/by-nc-sa/4.0/\n")
    state = {name.removeprefix("network."): tensor for name, tensor in random_model(NNINTERACTIVE).state_dict().items()}
    state |= {f"decoder.{name}": tensor for name, tensor in state.items() if name.startswith("encoder.")}
    state |= {name.replace(".conv.", ".all_modules.0."): tensor for name, tensor in state.items() if ".conv." in name}
    record = {
        "network_weights": state,
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"configuration": "3d_fullres_ps16", "fold": "0"},
        "_best_ema": np.float64(0.9),
    }
    torch.save(record, folder / "fold_0" / "checkpoint_final.pth")
    return folder


@pytest.fixture
def folder(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the released folder, and its licence accepted."""
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VESALIUS_ACCEPT_LICENCE", "CC-BY-NC-SA-4.0")
    return Path(shutil.copytree(released, tmp_path / released.name))


def change(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_released_folder_loads_as_it_is(folder: Path) -> None:
    model: Any = vs.load(str(folder))
    assert model.card.name == "nnInteractive_v9" and not model.training
    assert model.patch.tolist() == [16, 16, 24] and model.decay == 0.95 and model.radius == (3, 3, 3)
    expected = random_model(NNINTERACTIVE).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_the_oldest_releases_name_only_a_class(folder: Path) -> None:
    (folder / "inference_info.json").unlink()
    (folder / "inference_session_class.json").write_text('"nnInteractiveInferenceSessionV3"')
    model: Any = vs.load(str(folder))
    assert model.decay == 0.9 and model.radius == (4, 4, 4)


def test_what_a_checkpoint_cannot_do_is_not_accepted(folder: Path) -> None:
    info = folder / "inference_info.json"
    change(info, supported_interactions={"scribble": False, "bbox3d": True}, supports_initial_label=False)
    model: Any = vs.load(str(folder))
    assert model.card.accepts == {"point", "box", "lasso"} and model.channels["bbox3d"] == [1, 2]


def test_channels_may_be_counted_from_the_last(folder: Path) -> None:
    change(folder / "inference_info.json", channel_mapping={"points": [-2, -1], "scribble": [3, 4]})
    model: Any = vs.load(str(folder))
    assert model.channels["points"] == [5, 6] and model.channels["scribble"] == [3, 4]


def test_the_folder_states_its_licence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VESALIUS_ACCEPT_LICENCE")
    with pytest.raises(vs.LicenceError, match=r"nnInteractive_v9 are under CC-BY-NC-SA-4\.0.*--accept-licence"):
        vs.load(str(folder))
    (folder / "LICENSE").unlink()
    with pytest.raises(vs.LicenceError, match=r"CC-BY-NC-SA-4\.0"):
        vs.load(str(folder))
    (folder / "LICENSE").write_text("Apache-2.0")
    assert vs.load(str(folder)).card.licence.commercial


def test_the_command_line_asks_once_and_says_it_everywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VESALIUS_ACCEPT_LICENCE")
    image, report = folder.parent / "ct.nii.gz", folder.parent / "run.json"
    vs.write(ball(grids()["anisotropic"]), image)
    call = ["segment", str(image), "-m", str(folder), "--point", "13,11,3", "--report", str(report)]
    assert main(call) == 2
    assert "--accept-licence CC-BY-NC-SA-4.0" in capsys.readouterr().err
    assert main([*call, "--accept-licence", "CC-BY-NC-SA-4.0"]) == 0
    assert main(call) == 0
    assert "under CC-BY-NC-SA-4.0: not for commercial use" in capsys.readouterr().out
    weights = json.loads(report.read_text())["model"]["weights"]
    assert weights["licence"] == "CC-BY-NC-SA-4.0" and not weights["commercial"] and len(weights["sha256"]) == 64
    assert vs.read_segmentation(folder.parent / "ct_mask.nii.gz").licence == "CC-BY-NC-SA-4.0"


def plans(folder: Path, network: str) -> None:
    changed = json.loads(json.dumps(PLANS).replace("ResidualEncoderUNet", network))
    (folder / "plans.json").write_text(json.dumps(changed))


BROKEN = {
    "has none of inference_info.json": lambda folder: (folder / "inference_info.json").unlink(),
    "must hold one file fold_": lambda folder: shutil.rmtree(folder / "fold_0"),
    "plans.json cannot be read": lambda folder: (folder / "plans.json").write_text("{"),
    "holds a PrimusM, but we know only": lambda folder: plans(folder, "PrimusM"),
    "KeyError.*'3d_fullres_ps16'": lambda folder: change(folder / "plans.json", configurations={}),
    "no release of nnInteractive that we know": lambda folder: (folder / "inference_info.json").write_text(
        '{"point_radius": 4, "channel_mapping": 3}'
    ),
    "is broken or is not a checkpoint": lambda folder: (folder / "fold_0/checkpoint_final.pth").write_text("no"),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_what_is_wrong_with_a_folder_is_one_sentence(folder: Path, sentence: str) -> None:
    BROKEN[sentence](folder)
    with pytest.raises(vs.CardError, match=sentence):
        vs.load(str(folder))


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    changed: Any = json.loads(json.dumps(PLANS))
    changed["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 16, 40]
    (folder / "plans.json").write_text(json.dumps(changed))
    with pytest.raises(vs.CardError, match=r"does not fit nnInteractive_v9.*of another shape"):
        vs.load(str(folder))

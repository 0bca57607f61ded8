"""Folders of nnInteractive and nnU-Net load as they are, and what is wrong with others is one sentence."""

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
from vesalius.releases import read_release
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
    mapping = {"points": [-2, -1], "scribble": [3, 4]}
    change(folder / "inference_info.json", channel_mapping=mapping, interaction_channels=6)
    model: Any = vs.load(str(folder))
    assert model.channels["points"] == [5, 6] and model.channels["scribble"] == [3, 4]


@pytest.mark.parametrize(("mapping", "count"), [({}, 7), ({"bbox3d": [7, 8]}, 9), ({"lasso": [-9, -8]}, 9)])
def test_there_are_as_many_channels_as_the_mapping_needs(folder: Path, mapping: dict[str, Any], count: int) -> None:
    change(folder / "inference_info.json", channel_mapping=mapping)
    card, _ = read_release(folder)
    assert card.options["inputs"] == count


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
    "no release that we know": lambda folder: (folder / "inference_info.json").unlink(),
    "must hold one file fold_": lambda folder: shutil.copytree(folder / "fold_0", folder / "fold_1"),
    "has no fold_": lambda folder: shutil.rmtree(folder / "fold_0"),
    "plans.json cannot be read": lambda folder: (folder / "plans.json").write_text("{"),
    "holds a PrimusM, but we know only": lambda folder: plans(folder, "PrimusM"),
    "KeyError.*'3d_fullres_ps16'": lambda folder: change(folder / "plans.json", configurations={}),
    "no release that we know .TypeError": lambda folder: (folder / "inference_info.json").write_text(
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


NETWORK = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 6],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2]],
        "n_conv_per_stage": [2, 2],
        "n_conv_per_stage_decoder": [2],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    },
}
OLD_NETWORK = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 6,
    "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3]],
    "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2]],
    "n_conv_per_stage_encoder": [2, 2],
    "n_conv_per_stage_decoder": [2],
}
SETTING = {
    "patch_size": [4, 16, 12],
    "spacing": [3.0, 1.0, 1.5],
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
}
FACTS = {"mean": 55.0, "std": 40.0, "percentile_00_5": -90.0, "percentile_99_5": 210.0}
RESULTS = {
    "dataset_name": "Dataset009_Spleen",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 2, 1],
    "foreground_intensity_properties_per_channel": {"0": FACTS},
    "configurations": {
        "3d_lowres": SETTING | {"architecture": NETWORK, "spacing": [6.0, 2.0, 3.0]},
        "3d_fullres": SETTING | {"architecture": NETWORK},
        "old": SETTING | OLD_NETWORK,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "2d": SETTING
        | OLD_NETWORK
        | {
            "patch_size": [16, 12],
            "spacing": [1.0, 1.5],
            "conv_kernel_sizes": [[3, 3]] * 2,
            "pool_op_kernel_sizes": [[1, 1], [2, 2]],
        },
    },
}
LABELS = {"background": 0, "spleen": 2, "liver": 1, "ignore": 3}
REGIONS = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}


def results(tmp_path: Path, setting: str, folds: int = 1, labels: dict[str, Any] | None = None) -> Path:
    """A folder as nnU-Net leaves it after training."""
    folder = tmp_path / f"nnUNetTrainer__nnUNetPlans__{setting}"
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(RESULTS))
    told = {"channel_names": {"0": "CT"}, "labels": labels or LABELS, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(told))
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir()
        torch.save(
            {
                "network_weights": {},
                "init_args": {"configuration": setting, "fold": fold},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": (0, 1) if setting == "2d" else (0, 1, 2),
            },
            folder / f"fold_{fold}" / "checkpoint_final.pth",
        )
    return folder


def fill(folder: Path) -> list[dict[str, torch.Tensor]]:
    """Gives each fold of a folder weights that fit; those of each fold under nnU-Net's names."""
    card, _ = read_release(folder)
    model = random_model(card, tiny=False)
    filled = []
    for n, file in enumerate(sorted(folder.glob("fold_*/checkpoint_final.pth"))):
        own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(f"networks.{n}.")}
        state = {name.removeprefix(f"networks.{n}."): tensor for name, tensor in own.items()}
        if card.dimensions == 2:
            state = {name: tensor[:, :, 0] if tensor.ndim == 5 else tensor for name, tensor in state.items()}
        state |= {f"decoder.{name}": tensor for name, tensor in state.items() if name.startswith("encoder.")}
        record = torch.load(file, weights_only=True)
        torch.save(record | {"network_weights": state, "_best_ema": np.float64(0.9)}, file)
        filled.append(state)
    return filled


@pytest.mark.parametrize(("setting", "folds"), [("3d_fullres", 1), ("3d_fullres", 3), ("old", 1), ("2d", 1)])
def test_results_of_nnunet_load_as_they_are(tmp_path: Path, setting: str, folds: int) -> None:
    folder = results(tmp_path, setting, folds)
    states = fill(folder)
    model: Any = vs.load(str(folder))
    assert model.card.name == "Dataset009_Spleen" and model.card.labels == ("liver", "spleen")
    assert model.outputs == ("", "liver", "spleen") and model.exclusive and model.axes == "SLP"
    assert model.normalisation == [{"scheme": "ct", "mean": 55.0, "sd": 40.0, "low": -90.0, "high": 210.0}]
    flat = setting == "2d"
    assert model.patch == ((1, 16, 12) if flat else (4, 16, 12)) and model.mirror == ((1, 2) if flat else (0, 1, 2))
    assert model.spacing_mm == ((None, 1.0, 1.5) if flat else (3.0, 1.0, 1.5))
    for network, state in zip(model.networks, states, strict=True):
        own = network.state_dict()
        assert all(torch.equal(own[name].reshape(state[name].shape), state[name]) for name in own)
    found = vs.Session(model, ball(grids()["anisotropic"])).add(vs.Named("Spleen"))
    assert found.labels.names == ("spleen",)


def resampled_by(tmp_path: Path, name: str, **told: object) -> Path:
    """A folder of results whose plans state how images are resampled."""
    folder = results(tmp_path, "3d_fullres")
    functions = {f"resampling_fn_{what}": name for what in ("data", "seg", "probabilities")}
    functions |= {f"resampling_fn_{what}_kwargs": told for what in ("data", "seg", "probabilities")}
    setting = RESULTS["configurations"]["3d_fullres"] | functions
    change(folder / "plans.json", configurations=RESULTS["configurations"] | {"3d_fullres": setting})
    return folder


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        ("resample_data_or_seg_to_shape", {"order": 3, "order_z": 0, "force_separate_z": None}, (3, True, (3, 1, 1.5))),
        ("resample_torch_fornnunet", {"is_seg": False, "force_separate_z": False}, (1, False, (3, 1, 1.5))),
        ("no_resampling_hack", {}, (0, True, (None, None, None))),
    ],
)
def test_images_are_resampled_as_the_plans_say(
    tmp_path: Path, name: str, told: dict[str, object], expected: tuple[object, ...]
) -> None:
    folder = resampled_by(tmp_path, name, **told)
    fill(folder)
    model: Any = vs.load(str(folder))
    assert (model.order, model.slices_apart, model.spacing_mm) == expected
    image = ball(grids()["anisotropic"])
    shape = tuple(model.frame(image).shape[place] for place in np.argsort(model.frame(image).order))
    assert (shape == image.orient(model.axes).grid.shape) == (name == "no_resampling_hack")


@pytest.mark.parametrize(
    ("name", "told"), [("somebodys_own", {}), ("resample_torch_fornnunet", {"force_separate_z": True})]
)
def test_an_unknown_way_to_resample_is_refused(tmp_path: Path, name: str, told: dict[str, object]) -> None:
    with pytest.raises(vs.CardError, match=f"resampled by {name} in a way that we do not know"):
        vs.load(str(resampled_by(tmp_path, name, **told)))


def test_the_folder_around_results_names_what_is_in_it(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_fullres")
    with pytest.raises(vs.CardError, match=f"name one with plans.json .{folder}"):
        vs.load(str(tmp_path))


def test_regions_overlap_and_the_ignore_label_is_nothing(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_fullres", labels=REGIONS)
    fill(folder)
    model: Any = vs.load(str(folder))
    assert model.outputs == ("whole", "core") and not model.exclusive
    assert vs.Session(model, ball(grids()["anisotropic"])).add().labels.names == ("whole", "core")


def test_a_cascade_takes_the_stage_before_from_the_folder_beside(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_cascade_fullres")
    with pytest.raises(vs.CardError, match="goes on from nnUNetTrainer__nnUNetPlans__3d_lowres, which is not beside"):
        vs.load(str(folder))
    fill(results(tmp_path, "3d_lowres"))
    fill(folder)
    model: Any = vs.load(str(folder))
    assert model.sizes.channels == 3 and model.previous.spacing_mm == (6.0, 2.0, 3.0)
    vs.Session(model, ball(grids()["anisotropic"])).add()


def test_an_archive_is_unpacked_once_and_its_plans_count(tmp_path: Path) -> None:
    fill(results(tmp_path, "3d_fullres"))
    archive = shutil.make_archive(
        str(tmp_path / "Dataset009"), "zip", tmp_path, "nnUNetTrainer__nnUNetPlans__3d_fullres"
    )
    model: Any = vs.load("totalsegmentator-organs", Path(archive))
    assert model.card.name == "totalsegmentator-organs" and model.card.labels == ("liver", "spleen")
    assert model.axes == "SAR" and model.patch == (4, 16, 12)
    assert vs.load("totalsegmentator-organs", Path(archive)).card == model.card
    (tmp_path / "broken.zip").write_text("no")
    with pytest.raises(vs.CardError, match="cannot be unpacked"):
        vs.load("totalsegmentator-organs", tmp_path / "broken.zip")
    shutil.make_archive(
        str(tmp_path / "other"), "zip", tmp_path / "Dataset009", "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
    )
    with pytest.raises(vs.CardError, match=r"holds neither plans\.json"):
        vs.load("totalsegmentator-organs", tmp_path / "other.zip")


WRONG: dict[str, dict[str, Any]] = {
    "results are of a SwinUNETR that we do not know": {"network_class_name": "x.SwinUNETR", "arch_kwargs": {}},
    "results are of a PlainConvUNet that we do not know": {
        "arch_kwargs": NETWORK["arch_kwargs"] | {"norm_op": "torch.nn.BatchNorm3d"}  # type: ignore[operator]
    },
    "does not fit Dataset009_Spleen.*of another shape": {
        "arch_kwargs": NETWORK["arch_kwargs"] | {"features_per_stage": [4, 8]}  # type: ignore[operator]
    },
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_wrong_with_results_is_one_sentence(tmp_path: Path, sentence: str) -> None:
    folder = results(tmp_path, "3d_fullres")
    fill(folder)
    changed = {"3d_fullres": SETTING | {"architecture": NETWORK | WRONG[sentence]}}
    (folder / "plans.json").write_text(json.dumps(RESULTS | {"configurations": changed}))
    with pytest.raises(vs.CardError, match=sentence):
        vs.load(str(folder))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (SETTING, "results are of a network that we do not know"),
        (
            SETTING | {"architecture": NETWORK, "normalization_schemes": ["Own"]},
            "normalised by Own, which we do not know",
        ),
    ],
)
def test_plans_that_say_less_or_more_than_we_know_are_one_sentence(
    tmp_path: Path, setting: dict[str, Any], sentence: str
) -> None:
    folder = results(tmp_path, "3d_fullres")
    change(folder / "plans.json", configurations={"3d_fullres": setting})
    with pytest.raises(vs.CardError, match=sentence):
        vs.load(str(folder))


def test_results_without_their_labels_are_one_sentence(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_fullres")
    (folder / "dataset.json").unlink()
    with pytest.raises(vs.CardError, match=r"dataset\.json is missing; copy the whole folder"):
        vs.load(str(folder))


def test_a_fold_that_is_not_finished_is_named_and_left_out(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_fullres", folds=3)
    fill(folder)
    (folder / "fold_1/checkpoint_final.pth").unlink()
    with pytest.warns(vs.VesaliusWarning, match=r"fold_1 holds no checkpoint_final\.pth and is left out"):
        model: Any = vs.load(str(folder))
    assert len(model.networks) == 2


def test_what_does_not_fit_in_one_of_several_folds_is_listed(tmp_path: Path) -> None:
    folder = results(tmp_path, "3d_fullres", folds=2)
    state = fill(folder)[1]
    name = next(name for name in state if name.startswith("encoder."))
    file = folder / "fold_1/checkpoint_final.pth"
    record = torch.load(file, weights_only=False)
    record["network_weights"] = {"foreign" if other == name else other: tensor for other, tensor in state.items()}
    torch.save(record, file)
    with pytest.raises(vs.CardError, match=rf"1 missing \(networks.1.{name}\); 1 unexpected \(networks.1.foreign\)"):
        vs.load(str(folder))


def test_a_model_of_several_cards_loads_each_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(results(tmp_path, "3d_fullres"))
    archive = shutil.make_archive(str(tmp_path / "zip"), "zip", tmp_path, "nnUNetTrainer__nnUNetPlans__3d_fullres")
    fetched = []
    monkeypatch.setattr("vesalius.hub.fetch_weights", lambda card: (fetched.append(card.name), Path(archive))[1])
    model: Any = vs.load("totalsegmentator-mr")
    assert fetched == ["totalsegmentator-mr-organs", "totalsegmentator-mr-muscles"] and not model.training
    assert model.card.labels == ("liver", "spleen") and len(model.parts) == 2
    vs.save(model, tmp_path / "saved")
    again: Any = vs.load(str(tmp_path / "saved"))
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in model.state_dict().items())

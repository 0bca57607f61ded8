"""From a name to a model: every way in which checkpoints are wrapped, and every way in which they are refused."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vesalius as vs
from vesalius.checkpoint import read_checkpoint
from vesalius.hub import fastest_precision, measure_precisions, random_model

State = dict[str, Tensor]

TOY = """
import torch
import vesalius as vs
from dataclasses import replace

class Toy(torch.nn.Module):
    card = replace(vs.find_card("medsam"), name="toy", entry="toy.py:Toy", options={"width": 3},
                   weights=vs.Weights((), ""), unused=("head.*",))

    def __init__(self, options):
        super().__init__()
        self.first = torch.nn.Linear(2, options["width"])
        self.norm = torch.nn.BatchNorm1d(options["width"])

    def convert(self, state):
        return {name.replace("old", "first"): tensor for name, tensor in state.items()}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VESALIUS_OFFLINE", "1")
    return tmp_path / "cache"


@pytest.fixture
def toy(tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY)
    return f"{tmp_path / 'toy.py'}:Toy"


@pytest.fixture
def state() -> State:
    generator = torch.Generator().manual_seed(3)
    shapes = {"first.weight": (3, 2), "first.bias": (3,), "norm.weight": (3,), "norm.bias": (3,)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**state, "norm.running_mean": torch.ones(3), "norm.running_var": torch.full((3,), 2.0)}


def load(toy: str, file: Path) -> Any:
    return vs.load(toy, file)


def same(model: nn.Module, state: State) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    "nest", ["model", "net", "model_state_dict", "state_dict", "network_weights", "model_state", None]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module.sam."])
def test_wrappers_and_prefixes_come_off(toy: str, state: State, tmp_path: Path, nest: str | None, prefix: str) -> None:
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({nest: wrapped, "epoch": 3} if nest else wrapped, tmp_path / "toy.pth")
    model = load(toy, tmp_path / "toy.pth")
    assert same(model, state)
    assert model.card.name == "toy" and not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("old_format", [False, True])
def test_what_training_scripts_pickle_beside_the_tensors_is_dropped(
    toy: str, state: State, tmp_path: Path, old_format: bool
) -> None:
    network = nn.Linear(2, 2)
    record = {
        "model_state_dict": {name: nn.Parameter(tensor) for name, tensor in state.items()},
        "args": argparse.Namespace(lr=1e-4, tasks=["a"]),
        "optimizer": torch.optim.AdamW(network.parameters()),
        "best": np.float64(0.9),
        "used_datas": {"a", "b"},
        "folder": Path("runs"),
    }
    torch.save(record, tmp_path / "toy.pth", _use_new_zipfile_serialization=not old_format)
    assert same(load(toy, tmp_path / "toy.pth"), state)


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("old_format", [False, True])
def test_no_code_of_a_checkpoint_runs(toy: str, state: State, tmp_path: Path, old_format: bool) -> None:
    proof, file = tmp_path / "proof", tmp_path / "toy.pth"
    torch.save({"model": state, "extra": Bomb(proof)}, file, _use_new_zipfile_serialization=not old_format)
    assert same(load(toy, file), state)
    assert not proof.exists()
    torch.load(file, weights_only=False)
    assert proof.exists()  # it does go off elsewhere


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickled_module_is_refused(toy: str, tmp_path: Path, wrapped: bool) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save({"model": network} if wrapped else network, tmp_path / "toy.pth")
    with pytest.raises(vs.CardError, match="whole pickled model; save its state_dict"):
        load(toy, tmp_path / "toy.pth")


def test_half_precision_and_safetensors_become_float32(toy: str, state: State, tmp_path: Path) -> None:
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "toy.safetensors")
    model = load(toy, tmp_path / "toy.safetensors")
    assert same(model, {name: tensor.half().float() for name, tensor in state.items()})


def test_original_names_are_converted_and_unused_tensors_dropped(toy: str, state: State, tmp_path: Path) -> None:
    original = {name.replace("first", "old"): tensor for name, tensor in state.items()}
    torch.save({**original, "head.weight": torch.ones(7)}, tmp_path / "toy.pth")
    assert same(load(toy, tmp_path / "toy.pth"), state)


def test_a_foreign_checkpoint_is_named_and_not_loaded(toy: str, state: State, tmp_path: Path) -> None:
    foreign = {**state, "first.bias": torch.ones(4), **{f"layer.{n}": torch.ones(1) for n in range(7)}}
    del foreign["norm.bias"]
    torch.save(foreign, tmp_path / "toy.pth")
    with pytest.raises(vs.CardError) as caught:
        load(toy, tmp_path / "toy.pth")
    message = str(caught.value)
    assert "does not fit toy, nothing was loaded: 1 missing (norm.bias)" in message
    assert "7 unexpected (layer.0, layer.1, layer.2, layer.3, layer.4, ...)" in message
    assert "1 of another shape (first.bias [4] instead of [3])" in message


@pytest.mark.parametrize("name", ["toy.pth", "toy.safetensors"])
@pytest.mark.parametrize("content", ["truncated", "text", "empty"])
def test_a_broken_file_is_one_sentence(toy: str, state: State, tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    save_file(state, file) if name.endswith("safetensors") else torch.save(state, file)
    file.write_bytes({"truncated": file.read_bytes()[:-200], "text": b"<html>404</html>", "empty": b""}[content])
    with pytest.raises(vs.CardError, match=r"is broken or is not a checkpoint \(.*fetch it again\.$") as caught:
        load(toy, file)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_tensors_or_file_is_refused(toy: str, tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "toy.pth")
    with pytest.raises(vs.CardError, match="no named tensors"):
        load(toy, tmp_path / "toy.pth")
    with pytest.raises(vs.CardError, match="There is no weights file"):
        load(toy, tmp_path / "none.pth")


def test_an_official_file_of_the_zoo_loads(tmp_path: Path) -> None:
    """Under the names of the parity recordings: with the classifier that the card lists as unused, and counters."""
    official = random_model(vs.find_card("mobile-sam"), tiny=False).state_dict()
    official |= {"image_encoder.head.weight": torch.ones(1000, 320), "image_encoder.norm_head.bias": torch.ones(320)}
    torch.save(official, tmp_path / "mobile_sam.pt")
    model: Any = vs.load("mobile-sam", tmp_path / "mobile_sam.pt", precision="fp32")
    assert same(model, {name: official[name] for name in model.state_dict()})
    with pytest.raises(vs.CardError, match=r"does not fit sam-vit-b.*missing.*unexpected"):
        vs.load("sam-vit-b", tmp_path / "mobile_sam.pt")


def test_a_saved_model_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(vs.find_card("mobile-sam"), seed=5)
    vs.save(model, tmp_path / "mine")
    again: Any = vs.load(str(tmp_path / "mine"))
    assert same(again, model.state_dict())
    assert again.card == replace(model.card, weights=again.card.weights)
    assert again.card.weights.sha256
    (tmp_path / "mobile-sam").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vs.FetchError):  # a folder of the same name does not hide a card
        vs.load("mobile-sam")


def test_a_folder_that_save_did_not_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(vs.CardError, match=r"holds no card.json"):
        vs.load(str(tmp_path))
    vs.save(random_model(vs.find_card("mobile-sam")), tmp_path)
    record = json.loads((tmp_path / "card.json").read_text())
    for entry in ("os:system", "toy.py:Toy", "vesalius.models.sam:np", "vesalius.models.none:Sam"):
        (tmp_path / "card.json").write_text(json.dumps({**record, "entry": entry}))
        with pytest.raises(vs.CardError, match=r"is not part of vesalius|has no model"):
            vs.load(str(tmp_path))
    (tmp_path / "card.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(vs.CardError, match="is not a card"):
        vs.load(str(tmp_path))
    (tmp_path / "card.json").write_text(json.dumps(record))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(vs.CardError, match=r"is not the file that card.json describes"):
        vs.load(str(tmp_path))


def test_saving_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "mine" / "model.safetensors.part").mkdir(parents=True)
    for folder in ("taken", "mine"):
        with pytest.raises(vs.FormatError, match="Cannot write the model to"):
            vs.save(random_model(vs.find_card("mobile-sam")), tmp_path / folder)


def test_a_private_model_is_loaded_from_its_file(toy: str, tmp_path: Path) -> None:
    model: Any = vs.load(toy)
    assert model.first.out_features == 3 and model.precision == "fp32"
    with pytest.raises(vs.CardError, match="has no class 'Other'"):
        vs.load(toy.replace(":Toy", ":Other"))
    with pytest.raises(vs.CardError, match="There is no file"):
        vs.load(str(tmp_path / "none.py:Toy"))


def test_an_unknown_name_device_or_precision_is_one_sentence(toy: str) -> None:
    with pytest.raises(vs.CardError, match="did you mean vesalius-s"):
        vs.load("vesalius")
    with pytest.raises(vs.CardError, match="Cannot use the device 'abacus'"):
        vs.load(toy, device="abacus")
    with pytest.raises(vs.CardError, match="use auto, fp32, bf16 or onnx"):
        vs.load(toy, precision="fp8")


def test_random_models_are_small_and_reproducible() -> None:
    card = vs.find_card("sam-vit-b")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two, other = (random_model(card, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, two.state_dict()) and not same(one, other.state_dict())
    assert sum(parameter.numel() for parameter in one.parameters()) < 5e6


@pytest.mark.parametrize(("seconds", "chosen"), [((0.054, 0.031), "bf16"), ((0.034, 0.031), "fp32")])
def test_bf16_is_chosen_where_it_pays_and_measured_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path, seconds: tuple[float, float], chosen: str
) -> None:
    model, calls = random_model(vs.find_card("mobile-sam")), []
    measured = dict(zip(("fp32", "bf16"), seconds, strict=True))
    monkeypatch.setattr("vesalius.hub.measure_precisions", lambda model, onnx: calls.append(onnx) or measured)
    precision, reason = fastest_precision(model, "cpu")
    assert precision == chosen
    assert reason == f"measured {1000 * seconds[0]:.0f} ms in fp32, 31 ms in bf16, one thread"
    assert fastest_precision(model, "cpu") == (precision, reason)
    assert calls == [False] and (cache / "precision.json").is_file()


def test_a_measurement_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    assert min(measure_precisions(random_model(vs.find_card("vesalius-s"))).values()) > 0
    assert torch.get_num_threads() == before


def test_a_nested_prefix_is_kept_when_not_all_names_have_it(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "mixed.pth")
    assert set(read_checkpoint(tmp_path / "mixed.pth")) == {"module.a", "b"}

"""Sessions: targets, candidates, undo, history, with a model that answers with a ball around each click."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import vesalius as vs
from phantoms import ball, grids
from vesalius.scene import Scene

IMAGE = ball(grids()["anisotropic"])


class Balls:
    """A ball of 4 mm around each positive point, and as second candidate one of 7 mm, on a finer grid of its own."""

    card = vs.find_card("mobile-sam")

    def run(self, scene: Scene) -> Iterator[vs.Answer]:
        grid = scene.image.grid.respace(1.0)
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
        points = [prompt.at for prompt in scene.prompts if prompt.positive]
        distance = np.min([np.linalg.norm(grid.world(index) - at, axis=-1) for at in points], axis=0)
        for candidate, radius in enumerate((4, 7)):
            values = vs.Volume((radius - distance)[None].astype(np.float32), grid)
            yield vs.Answer(values, (scene.target,), candidate=candidate, score=0.9 - 0.2 * candidate)


def click(*index: int, positive: bool = True) -> vs.Point:
    return vs.Point.from_index(IMAGE.grid, index, positive)


def session() -> vs.Session:
    return vs.Session(Balls(), IMAGE)


def test_the_answer_comes_back_on_the_image_grid() -> None:
    found = session().add(click(12, 10, 3))
    index = np.stack(np.meshgrid(*map(np.arange, IMAGE.grid.shape), indexing="ij"), axis=-1)
    near = np.linalg.norm(IMAGE.grid.world(index) - IMAGE.grid.world((12, 10, 3)), axis=-1) < 4
    assert found.grid is IMAGE.grid and found.annotated == {"1"}
    assert (found.mask("1") != near).sum() <= 0.02 * near.sum() + 2


def test_targets_are_kept_apart_and_may_overlap() -> None:
    talk = session()
    talk.add(click(10, 10, 3), target="liver")
    both = talk.add(click(13, 10, 3), target="lesion")
    assert both.labels.names == ("liver", "lesion") and len(both.layers) == 2
    assert (both.mask("liver") & both.mask("lesion")).any()
    assert np.array_equal(both.mask("liver"), session().add(click(10, 10, 3)).mask("1"))


def test_another_candidate_can_be_chosen() -> None:
    talk = session()
    small = talk.add(click(12, 10, 3)).mask("1")
    large = talk.choose(1).mask("1")
    assert large.sum() > small.sum() and talk.score() == pytest.approx(0.7)
    with pytest.raises(vs.PromptError, match="choose 0 to 1"):
        talk.choose(2)
    again = session().replay(json.loads(json.dumps(talk.history())))
    assert np.array_equal(again.mask("1"), large)


def test_undo_goes_back_target_by_target() -> None:
    talk = session()
    first = talk.add(click(10, 10, 3), target="a")
    talk.add(click(15, 10, 3), target="b")
    talk.add(click(12, 14, 3), target="a")
    assert np.array_equal(talk.undo("a").mask("a"), first.mask("a"))
    assert talk.undo().labels.names == ("a",)
    assert not talk.undo().layers.any()
    assert talk.undo().labels.names == ()


def test_asking_for_an_unknown_target_says_so() -> None:
    with pytest.raises(vs.PromptError, match="Nothing was said of target 'liver'"):
        session().score("liver")


def test_nothing_to_add_is_refused() -> None:
    with pytest.raises(vs.PromptError, match="no prompt"):
        session().add()


def test_an_unknown_plane_is_refused() -> None:
    with pytest.raises(vs.PromptError, match="axial, coronal, sagittal"):
        vs.Session(Balls(), IMAGE, plane="oblique")


def test_the_score_of_a_volume_weighs_its_slices_by_their_areas() -> None:
    class Slices:
        card = vs.find_card("mobile-sam")

        def run(self, scene: Scene) -> Iterator[vs.Answer]:
            for k, (size, score) in enumerate([(2, 0.5), (6, 0.9)]):
                values = np.zeros((1, *IMAGE.grid.shape[:2], 1), np.float32)
                values[0, :size, 0] = 1
                grid = IMAGE.grid.crop((0, 0, k), values.shape[1:])
                yield vs.Answer(vs.Volume(values, grid), (scene.target,), 0.5, score=score)

    talk = vs.Session(Slices(), IMAGE)
    talk.add(click(3, 3, 3))
    assert talk.score() == pytest.approx((2 * 0.5 + 6 * 0.9) / 8)


class Halves:
    """Names its structures: left and right of the middle, and a middle that overlaps both."""

    card = replace(vs.find_card("mobile-sam"), accepts=frozenset({"named"}), labels=("left", "right", "middle"))
    asked: tuple[str, ...] = ()

    def run(self, scene: Scene) -> Iterator[vs.Answer]:
        self.asked = scene.structures
        codes = np.ones((1, *IMAGE.grid.shape), np.uint8)
        codes[0, 13:] = 2
        names = [name if name in scene.structures else "" for name in ("", "left", "right")]
        yield vs.Answer(vs.Volume(codes, IMAGE.grid), tuple(names), coded=True)
        if "middle" in scene.structures:
            codes[0, :10] = codes[0, 16:] = 0
            yield vs.Answer(vs.Volume((codes > 0), IMAGE.grid), ("middle",), 0.5)


def test_without_a_prompt_everything_is_looked_for() -> None:
    talk = vs.Session(Halves(), IMAGE)
    found = talk.add()
    assert found.labels.names == ("left", "right", "middle") and found.annotated == set(found.labels.names)
    i = np.arange(26)[:, None, None]
    assert np.array_equal(found.mask("left"), np.broadcast_to(i < 13, IMAGE.grid.shape))
    assert np.array_equal(found.mask("right"), np.broadcast_to(i >= 13, IMAGE.grid.shape))
    assert np.array_equal(found.mask("middle"), np.broadcast_to((i >= 10) & (i < 16), IMAGE.grid.shape))
    assert talk.score("left") is None
    again = vs.Session(Halves(), IMAGE).replay(json.loads(json.dumps(talk.history())))
    assert all(np.array_equal(again.mask(name), found.mask(name)) for name in found.labels.names)


def test_a_named_structure_is_its_own_target() -> None:
    talk = vs.Session(Halves(), IMAGE)
    found = talk.add(vs.Named("Right"))
    assert talk.model.asked == ("right",) and found.labels.names == ("right",) and found.mask("right").any()
    assert talk.add(vs.Named("left")).labels.names == ("right", "left")
    assert talk.undo("right").labels.names == ("left",)
    with pytest.raises(vs.PromptError, match="did you mean middle"):
        talk.add(vs.Named("midle"))


def test_a_region_is_for_models_that_look_everywhere() -> None:
    box = vs.Box.from_index(IMAGE.grid, (2, 2, 2), (9, 9, 4))
    assert vs.Session(Halves(), IMAGE, region=box).add().labels.names
    with pytest.raises(vs.PromptError, match="looks where its prompts point"):
        vs.Session(Balls(), IMAGE, region=box)
    with pytest.raises(vs.PromptError, match="outside the image"):
        vs.Session(Halves(), IMAGE, region=vs.Box.from_index(IMAGE.grid, (50, 2, 2), (59, 9, 4)))


def test_what_restricted_weights_made_says_so() -> None:
    licence = vs.Licence("Apache-2.0", "CC-BY-NC-4.0", commercial=False)
    model = Balls()
    model.card = replace(Balls.card, licence=licence)
    assert vs.Session(model, IMAGE).add(click(12, 10, 3)).licence == "CC-BY-NC-4.0"
    assert session().add(click(12, 10, 3)).licence == ""

"""Oracle clicks: what a person who knew the truth would reach with one to `CLICKS` clicks, or with a box."""

from __future__ import annotations

from collections.abc import Iterator

from vesalius.evaluate.clicks import correction, first_click
from vesalius.evaluate.trial import Conversation, Found, Trial, box_around, mask_of
from vesalius.prompts import Point
from vesalius.session import Model

CLICKS = 5


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """The first click is the deepest pixel of the largest slice, the others are the deepest point of the largest error.

    A target without an error is clicked no more and keeps its mask. Settings: "1 click" to "5 clicks".
    """
    talk, grid = Conversation(model, trial.image), trial.image.grid
    for name in trial.present:
        index = first_click(trial.reference.mask(name), grid, talk.session.plane)
        talk.say(Point.from_index(grid, index), target=name)
    yield talk.found("1 click", trial)
    for count in range(2, CLICKS + 1):
        result = talk.session.result()
        for name in trial.present:
            click = correction(mask_of(result, name), trial.reference.mask(name), grid)
            if click:
                talk.say(click, target=name)
        yield talk.found(f"{count} clicks", trial)


def run_box(model: Model, trial: Trial) -> Iterator[Found]:
    """One tight box around each structure. Setting: "box"."""
    talk = Conversation(model, trial.image)
    for name in trial.present:
        talk.say(box_around(trial.reference.mask(name), trial.image.grid), target=name)
    yield talk.found("box", trial)

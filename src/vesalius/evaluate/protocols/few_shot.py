"""Few-shot episodes: the task is told by examples, of the same data set or of another one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice

import numpy as np

from vesalius.evaluate.trial import Conversation, Found, Trial
from vesalius.prompts import Example
from vesalius.session import Model

SHOTS = (1, 2, 4, 8, 16)
EPISODES = 3  # draws of examples for each number of them
TRANSFER_SHOTS = 8


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """Examples of the case's own data set, from other patients, drawn anew for each episode; the same for every model.

    Settings: "1 example, episode 1" to "16 examples, episode 3", as far as there are that many. Structures without any
    example are not asked for.
    """
    own = trial.dataset
    for shots in SHOTS:
        for episode in range(1, EPISODES + 1):
            drawn = {name: draw(trial, name, own, shots, episode) for name in trial.present}
            asked = {name: examples for name, examples in drawn.items() if len(examples) == shots}
            if asked:
                yield _episode(model, trial, asked, f"{shots} example{'s'[: shots > 1]}, episode {episode}")


def run_transfer(model: Model, trial: Trial) -> Iterator[Found]:
    """Cross-data-set transfer: up to eight examples from each data set that has the same structure, the own one first.

    Setting: "from NAME" for each of them, so the loss against "from the same set" is what another origin costs.
    """
    sources = {offer.dataset for offer in trial.offers if set(offer.structures) & set(trial.present)}
    for source in sorted(sources, key=lambda name: (name != trial.dataset, name)):
        drawn = {name: draw(trial, name, source, TRANSFER_SHOTS, 1) for name in trial.present}
        asked = {name: examples for name, examples in drawn.items() if examples}
        if asked:
            yield _episode(model, trial, asked, f"from {'the same set' if source == trial.dataset else source}")


def draw(trial: Trial, structure: str, dataset: str, count: int, episode: int) -> tuple[Example, ...]:
    """Up to `count` examples of a structure from one data set, by a seed that names the case and the episode."""
    offers = [offer for offer in trial.offers if offer.dataset == dataset and structure in offer.structures]
    rng = np.random.default_rng(zlib.crc32(f"{trial.case}/{structure}/{dataset}/{episode}".encode()))
    read = (offers[n].read(structure) for n in rng.permutation(len(offers)))
    return tuple(islice((example for example in read if example), count))


def _episode(model: Model, trial: Trial, asked: dict[str, tuple[Example, ...]], setting: str) -> Found:
    talk = Conversation(model, trial.image)
    for name, examples in asked.items():
        talk.say(*examples, target=name)
    return talk.found(setting, trial, asked)

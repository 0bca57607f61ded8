"""The box track of the CVPR 2024 challenge "Segment Anything in Medical Images on Laptop".

One tight box for each structure of a picture or a volume; scored by the mean Dice and NSD of the case and by its
running time. Reimplemented after `compute_metrics.py` and `CVPR24_time_eval.py` of bowang-lab/MedSAM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vesalius.evaluate.protocols.challenge import score_as_challenge
from vesalius.evaluate.trial import Conversation, Found, Trial, box_around
from vesalius.session import Model


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """One setting, "box". The time begins where the image has been read: a container's start is not in it."""
    talk = Conversation(model, trial.image)
    for name in trial.present:
        talk.say(box_around(trial.reference.mask(name), trial.image.grid), target=name)
    yield talk.found("box", trial)


def summarise(rounds: Sequence[Found]) -> dict[str, float]:
    """DSC, NSD and RunningTime of a case, as the challenge's tables have them."""
    (only,) = rounds
    dice, nsd = score_as_challenge(only.prediction, only.reference)
    return {"DSC": dice, "NSD": nsd, "RunningTime": only.seconds}

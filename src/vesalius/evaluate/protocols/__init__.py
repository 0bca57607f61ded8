"""The protocols by name: what is said to a model about each case, and what the case's own scores are.

A protocol is a function from a model and a trial to the answers under each of its settings; every answer is scored for
each structure by the metrics. Prompts depend on the case alone, so every model hears the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vesalius.card import Card
from vesalius.errors import PromptError
from vesalius.evaluate.protocols import clicks, corruption, cvpr2024, cvpr2025, few_shot, jitter, named, slices
from vesalius.evaluate.trial import Found, Trial
from vesalius.session import Model


@dataclass(frozen=True)
class Protocol:
    """`run` for one case, the kinds of prompt of which a model must take one, and the scores of a whole case."""

    name: str
    summary: str
    needs: tuple[str, ...]
    run: Callable[[Model, Trial], Iterator[Found]]
    summarise: Callable[[Sequence[Found]], dict[str, float]] | None = None

    def check(self, card: Card) -> None:
        """Raises PromptError for a model that takes none of the prompts that this protocol gives."""
        if not card.accepts & set(self.needs):
            raise PromptError(
                f"The protocol {self.name} gives {' or '.join(self.needs)} and {card.name} takes "
                f"{', '.join(sorted(card.accepts))}; choose another protocol or model."
            )


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol("clicks", "one to five oracle clicks", ("point",), clicks.run),
        Protocol("box", "one tight box", ("box",), clicks.run_box),
        Protocol("jitter", "boxes whose sides miss by up to 30 %", ("box",), jitter.run),
        Protocol("slices", "a box in one slice: which one, in which plane, which way on", ("box",), slices.run),
        Protocol(
            "cvpr2024", "the box track on a laptop, with running time", ("box",), cvpr2024.run, cvpr2024.summarise
        ),
        Protocol(
            "cvpr2025", "a box and five clicks, by area under the curve", ("point",), cvpr2025.run, cvpr2025.summarise
        ),
        Protocol(
            "named", "by name, with false positives on what is absent", ("named", "text"), named.run, named.summarise
        ),
        Protocol("few-shot", "1 to 16 examples of the same data set", ("example",), few_shot.run),
        Protocol("transfer", "8 examples of each data set that has the structure", ("example",), few_shot.run_transfer),
        Protocol("corruption", "worse images, in seven ways", ("box", "point", "named", "text"), corruption.run),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; raises PromptError with the names that there are."""
    if name not in PROTOCOLS:
        raise PromptError(f"There is no protocol {name!r}; use one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]

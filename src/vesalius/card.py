"""What is known about a checkpoint without loading it; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Weights:
    """Where a checkpoint file is fetched: `urls` in order of preference, and what proves that it is the right one.

    `sha256=""` means that none is known: the first download's hash is recorded and verified from then on. A url
    "package:FILE" lies inside the installed package, "hf:OWNER/REPO/FILE@REVISION" on the Hugging Face hub or its
    mirror. A card without `file` needs no weights.
    """

    urls: tuple[str, ...]
    file: str
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Licence:
    """SPDX names of the licences of the code and of the weights, and whether commercial use is allowed."""

    code: str
    weights: str
    commercial: bool
    note: str = ""


APACHE = Licence(code="Apache-2.0", weights="Apache-2.0", commercial=True)


@dataclass(frozen=True)
class Card:
    """What is known about a checkpoint without loading it.

    `entry` names the class ("vesalius.models.sam:Sam") and `options` its constructor's argument; `tiny` are options
    that replace them in a small random variant for tests (its "structures" is how many of the first labels that one
    knows). `accepts` are prompt kinds. `orientation` is the storage order that the network sees. `unused` are tensors
    of the official file that no computation reads. `parts` are the cards of the models that this one consists of.
    """

    name: str
    entry: str
    summary: str
    options: Mapping[str, object]
    accepts: frozenset[str]
    dimensions: int
    orientation: str
    preprocessing: str
    weights: Weights
    licence: Licence
    paper: str
    modalities: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    tiny: Mapping[str, object] = field(default_factory=dict)
    trained_on: Mapping[str, str] = field(default_factory=dict)  # data set -> licence

    def to_json(self) -> dict[str, object]:
        """The card as a JSON record."""
        record = asdict(self)
        record["accepts"] = sorted(self.accepts)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Card:
        """The card of a record made by `to_json`; KeyError or TypeError if a field is missing or unknown."""
        weights = {**record["weights"], "urls": tuple(record["weights"]["urls"])}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        values["accepts"] = frozenset(record["accepts"])
        values["weights"] = Weights(**weights)
        values["licence"] = Licence(**record["licence"])
        return cls(**values)

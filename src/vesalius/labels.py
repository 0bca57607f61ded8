"""What structures are called: names, synonyms, codes, colours, and which is part of which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from vesalius.errors import PromptError


@dataclass(frozen=True)
class Structure:
    """One thing that can be segmented; `code` is a terminology entry as Slicer writes it, `colour` RGB in 0..1."""

    name: str
    part_of: str = ""
    code: str = ""
    colour: tuple[float, float, float] | None = None
    synonyms: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LabelSpace:
    """The structures of a model, a data set or a segmentation, in a fixed order and with distinct names."""

    structures: tuple[Structure, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelSpace:
        """A label space of bare names."""
        return cls(tuple(Structure(name) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """All names in order."""
        return tuple(structure.name for structure in self.structures)

    def named(self, word: str) -> Structure:
        """The structure of that name or synonym, case ignored; raises PromptError with the near names."""
        for structure in self.structures:
            if word.lower() in {structure.name.lower(), *(also.lower() for also in structure.synonyms)}:
                return structure
        spelt = {name.lower(): name for name in self.names}
        near = [spelt[name] for name in get_close_matches(word.lower(), spelt, n=3, cutoff=0.5)]
        if near:
            raise PromptError(f"There is no structure {word!r}; did you mean {', '.join(near)}?")
        known = ", ".join(self.names[:10]) + (f", ... ({len(self.names)} in all)" if len(self.names) > 10 else "")
        raise PromptError(f"There is no structure {word!r}; choose among {known}.")

    def __or__(self, other: LabelSpace) -> LabelSpace:
        known = set(self.names)
        return LabelSpace(self.structures + tuple(s for s in other.structures if s.name not in known))

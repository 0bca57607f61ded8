"""JSON values as words for people."""

from __future__ import annotations


def words(value: object) -> str:
    """A value of a record on one line: yes and no, numbers without noise, lists with commas."""
    match value:
        case dict():
            return "; ".join(f"{key}: {words(part)}" for key, part in value.items() if part not in ("", None))
        case [[*_], *_]:
            return " | ".join(map(words, value))
        case list() | tuple():
            return ", ".join(map(words, value))
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
    return "" if value is None else str(value)

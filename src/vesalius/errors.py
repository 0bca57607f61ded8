"""Errors that say what to do: every problem that a user can mend is one sentence of one of these classes.

    VesaliusError
        GeometryError   an affine, a shape or a spacing that cannot be a grid
        FormatError     a file that cannot be read or written
        PromptError     a prompt that the image or the model cannot take
        CardError       an unknown model, or a checkpoint that does not fit its card
        FetchError      weights that cannot be fetched or verified
        LicenceError    weights whose licence restricts their use and was not accepted yet

Anything else that is raised is a bug of vesalius. What may be meant and may be a mistake is a VesaliusWarning.
"""

from __future__ import annotations


class VesaliusError(Exception):
    """A problem whose message tells the user, in one sentence, what to do."""


class GeometryError(VesaliusError):
    """An affine, a shape or a spacing that cannot be a grid."""


class FormatError(VesaliusError):
    """A file that cannot be read or written."""


class PromptError(VesaliusError):
    """A prompt that the image or the model cannot take."""


class CardError(VesaliusError):
    """An unknown model, or a checkpoint that does not fit its card."""


class FetchError(VesaliusError):
    """Weights that cannot be fetched or verified."""


class LicenceError(VesaliusError):
    """Weights whose licence restricts their use and was not accepted yet."""


class VesaliusWarning(UserWarning):
    """Something that works but is often a mistake, said in one sentence."""

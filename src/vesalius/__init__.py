"""Universal models of medical image segmentation: one library, one command line.

    import vesalius as vs
    image = vs.read("ct.nii.gz")
    session = vs.Session(vs.load("vesalius-s"), image)
    mask = session.add(vs.Point((10.0, -42.5, 88.0)))
    vs.write(mask, "mask.seg.nrrd")

Names are loaded when first used, so that `import vesalius` costs neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

__version__ = version("vesalius")

_HOMES = {
    "answer": ("Answer",),
    "card": ("Card", "Licence", "Weights"),
    "data.registry": ("open_dataset",),
    "download": ("accept_licence",),
    "embeddings": ("keep_embeddings",),
    "errors": (
        "CardError",
        "FetchError",
        "FormatError",
        "GeometryError",
        "LicenceError",
        "PromptError",
        "VesaliusError",
        "VesaliusWarning",
    ),
    "grid": ("Grid", "make_grid"),
    "hub": ("load", "save"),
    "intensity": ("Window", "choose_window"),
    "io": ("read", "read_segmentation", "write"),
    "io.prompt_files": ("read_prompts", "write_prompts"),
    "labels": ("LabelSpace", "Structure"),
    "look_everything": ("Sought", "segment_everything"),
    "prompts": ("Box", "Example", "Lasso", "MaskHint", "Named", "Point", "Scribble", "Text"),
    "segmentation": ("Segmentation",),
    "session": ("Model", "Session"),
    "volume": ("Source", "Volume"),
    "zoo": ("CARDS", "find_card"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        return getattr(import_module(f"vesalius.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'vesalius' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

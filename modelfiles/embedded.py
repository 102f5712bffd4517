"""The model that comes with Runner, so that the first command answers without a network.

Knows where its two files lie in the package; how it was made stands beside them.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

DEMO: Final = "demo"
"""The embedded model's name. It isn't in the catalog, which lists what can be pulled."""


def demo_gguf() -> Path:
    """The demo model's weights. Raises FileNotFoundError when the installation lacks them."""
    return _file("demo.gguf")


def demo_modelfile() -> str:
    """The demo model's Modelfile. Raises FileNotFoundError when the installation lacks it."""
    return _file("Modelfile").read_text("utf-8")


def _file(name: str) -> Path:
    path = Path(str(files("modelfiles").joinpath("demo", name)))
    if not path.is_file():
        raise FileNotFoundError(f"the demo model is missing from this installation: {path}")
    return path

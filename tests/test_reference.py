"""PyTorch models that a table takes from a function: found, called, and errors named."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitconvert import ModelError
from vitconvert.reference import build_reference

FACTORY = """
class Of:
    @staticmethod
    def sizes(dim, num_classes):
        return dim, num_classes

def fails(**_):
    raise KeyError("dim")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder that the user is in has the module; it is not installed."""
    (tmp_path / "own_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    yield
    sys.modules.pop("own_factory", None)


def test_a_function_of_the_current_folder_builds_the_model() -> None:
    """With the config of the variant, but for the size of the head that is asked for."""
    arguments = {"dim": 3, "num_classes": 1000}

    assert build_reference("own_factory:Of.sizes", "own_a", arguments, 7) == (3, 7)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("own_factry:Of.sizes", "No module named 'own_factry'. Is it in "),
        ("own_factory:Of.size", "has no attribute 'size'"),
        ("own_factory:fails", r"^own_factory:fails raises KeyError: 'dim'$"),
        ("own_factory:Of.sizes", r"raises TypeError: .*unexpected keyword argument 'depth'"),
    ],
)
def test_what_cannot_build_it_is_named(origin: str, told: str) -> None:
    """In one line."""
    with pytest.raises(ModelError) as caught:
        build_reference(origin, "own_a", {"dim": 3, "depth": 2}, 7)

    assert re.search(told, str(caught.value))
    assert "\n" not in str(caught.value)

"""The user's interpreters: whether they can run a worker, and how they find this package."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from ..errors import ModelError, listing
from ..models import missing, not_installed
from ..sides import SIDES, Side

_OLDEST = (3, 11)
# In the sources these lie beside the folder of the package, not in it.
_BESIDE = ("mappings", *(f"models_{side}" for side in SIDES))

# What another interpreter says of itself: its version, and which of these packages it has.
_ASK = (
    "import sys, json, importlib.util as u;"
    "print(json.dumps([sys.version_info[:2], [n for n in sys.argv[1:] if u.find_spec(n) is None]]))"
)

# Under which names each framework is installed, and what an interpreter says of its release.
_DISTRIBUTIONS = {"torch": ["torch"], "paddle": ["paddlepaddle", "paddlepaddle-gpu"]}
_RELEASE = (
    "import sys, importlib.metadata as m;"
    "print(*[d.version for n in sys.argv[1:] for d in m.distributions(name=n)])"
)


def check_pythons(pythons: Mapping[Side, str | None], otherwise: str = "") -> None:
    """Check that every interpreter has what its worker needs, before anything runs.

    Args:
        pythons: By framework; this one where None.
        otherwise: What works without them, for the message; the options that name interpreters if
            empty.

    Raises:
        ModelError: One is too old, or packages are missing; all that is wrong is in the message.
    """
    problems = [told for side, python in pythons.items() if python and (told := _ask(side, python))]
    if lacking := missing(side for side, python in pythons.items() if not python):
        named = ", ".join(f"--{side}-python PATH" for side in lacking)
        one = "another Python that has it" if len(lacking) == 1 else "others that have them"
        otherwise = otherwise or f"Or name {one}: {named}."
        problems.append(f"{not_installed(lacking)}. {otherwise}")
    if problems:
        several = "the models cannot be run:"
        raise ModelError(problems[0] if len(problems) == 1 else listing(several, problems))


def _ask(side: Side, python: str) -> str:
    """Ask an interpreter for its version and packages; return what is wrong, else nothing."""
    option = f"--{side}-python {python}"
    try:
        asked = subprocess.run(
            [python, "-P", "-c", _ASK, "numpy", side], capture_output=True, text=True, check=True
        )
        version, lacking = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        printed = str(error)
        if isinstance(error, subprocess.CalledProcessError):
            printed = error.stderr or f"it ends with status {error.returncode}."
        last = printed.strip().splitlines()[-1]
        return f"{option}: does not run; expected Python 3.11 or newer: {last}"
    if tuple(version) < _OLDEST:
        return f"{option}: is Python {'.'.join(map(str, version))}; expected 3.11 or newer."
    if lacking:
        return f"{option}: has no {' and no '.join(lacking)}; install it there."
    return ""


def framework_versions(pythons: dict[Side, str | None]) -> dict[str, str]:
    """Find the installed release of each framework without importing it; "" if it is not known."""
    found = dict[str, str]()
    for side, python in pythons.items():
        asked = [python or sys.executable, "-P", "-c", _RELEASE, *_DISTRIBUTIONS[side]]
        try:
            found[side] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        except OSError:
            found[side] = ""
    return found


@contextmanager
def importable() -> Iterator[str]:
    """Make a folder in which another interpreter finds this very vitconvert, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="vitconvert-path-") as name:
        package = Path(name) / "vitconvert"
        package.mkdir()
        for folder in import_module("vitconvert").__path__:
            for entry in Path(folder).iterdir():
                if entry.name != "__pycache__":
                    (package / entry.name).symlink_to(entry.resolve())
        for part in _BESIDE:
            if not (package / part).exists():
                (folder,) = import_module(f"vitconvert.{part}").__path__
                (package / part).symlink_to(Path(folder).resolve())
        yield name

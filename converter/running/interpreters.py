"""The user's interpreters: whether they can run a worker, and how they find this package."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from ..errors import ModelError
from ..models import require
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


def check_pythons(pythons: dict[Side, str | None]) -> None:
    """Check that every interpreter has what its worker needs, before anything runs.

    Raises:
        ModelError: It is too old, or a package is missing.
    """
    for side, python in pythons.items():
        if python is None:
            require(side)
            continue
        try:
            asked = subprocess.run(
                [python, "-P", "-c", _ASK, "numpy", side],
                capture_output=True,
                text=True,
                check=True,
            )
            version, missing = json.loads(asked.stdout)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            printed = str(error)
            if isinstance(error, subprocess.CalledProcessError):
                printed = error.stderr or f"it ends with status {error.returncode}."
            raise ModelError(
                f"--{side}-python {python}: does not run; expected Python 3.11 or newer: "
                f"{printed.strip().splitlines()[-1]}"
            ) from error
        if tuple(version) < _OLDEST:
            found = ".".join(map(str, version))
            raise ModelError(
                f"--{side}-python {python}: is Python {found}; expected 3.11 or newer."
            )
        if missing:
            raise ModelError(
                f"--{side}-python {python}: has no {' and no '.join(missing)}; install it there."
            )


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

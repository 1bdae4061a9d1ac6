"""Which repository of the hub holds the weights that timm knows under a name."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, cast

from ..errors import CheckpointError, nearest, some
from ._names import Name, parse

_USUAL = "timm"  # the owner of nearly all of them

log = logging.getLogger("vitconvert")


def look_up(name: Name) -> Name:
    """Find the repository of a model of timm.

    Raises:
        CheckpointError: Timm does not know it, or its weights are not on the hub.
    """
    found = _ask(name.model) if find_spec("timm") else None
    if found is None:
        return _guessed(name)
    if known := found.get("known"):
        model = name.model.partition(".")[0]
        if known[0].startswith(f"{model}."):
            tags = some([one.removeprefix(f"{model}.") for one in known])
            raise CheckpointError(
                f"{name}: timm has no such weights of {model}.{nearest(name.model, known)} "
                f"Their tags: {tags}."
            )
        raise CheckpointError(f"{name}: timm has no model {model!r}.{nearest(model, known)}")
    if not found.get("hub"):
        raise CheckpointError(f"{name}: {_elsewhere(found.get('url', ''))}")
    place = parse(f"hf://{found['hub']}")
    if found["name"] != name.model:
        log.info("%s: %s, the default of timm", name, found["name"])
    return replace(
        name,
        repository=place.repository,
        revision=name.revision or place.revision,
        file=name.file or found.get("file", ""),
    )


def _elsewhere(url: str) -> str:
    """Say what to do about weights that are not on the hub."""
    if not url:
        return "timm has no pretrained weights for it."
    return (
        f"timm has these weights at an address of their own, and vitconvert fetches from the hub "
        f"only. Download {url} and give the file."
    )


def _guessed(name: Name) -> Name:
    """Take the repository that such a model usually has, without timm."""
    if "." not in name.model:
        raise CheckpointError(
            f"{name}: names no tag, and timm, which knows the default, cannot be asked: name one, "
            f"as in {name}.TAG, or install it: pip install 'vitconvert[timm]'"
        )
    repository = parse(f"hf://{_USUAL}/{name.model}").repository
    log.info("%s: took hf://%s; timm, which is not installed, could tell", name, repository)
    return replace(name, repository=repository)


def _ask(model: str) -> dict[str, Any] | None:
    """Ask timm, in a process of its own; None if it cannot be imported there."""
    # -P: a numpy.py in the folder that the user is in is not NumPy.
    command = [sys.executable, "-P", "-m", "vitconvert.hub._ask_timm", model]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        return cast(dict[str, Any], json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        log.warning("timm cannot be asked: %s", (done.stderr.strip().splitlines() or ["?"])[-1])
        return None

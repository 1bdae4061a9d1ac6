"""A checkpoint that is named on the hub of Hugging Face, as a file on this machine.

`located` turns hf://ORG/REPO[@REV][/FILE] and timm://MODEL[.TAG] into a path in the cache of
huggingface_hub, whose settings hold: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. A path stays
as it is. From a path in that cache `origin` reads the name that gives the same file again.
"""

import re
from pathlib import Path

from ._config import Config, config_beside
from ._names import Name, is_name, parse

__all__ = ["Config", "Name", "config_beside", "is_name", "located", "origin", "parse"]

# How the cache of huggingface_hub is laid out; neither half of a repository's name holds "--".
_CACHED = re.compile(
    r".*/models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/(?P<file>.+)"
)


def located(source: str | Path | Name) -> Path:
    """Give the file that a text names: a path as it is, a name of the hub as a file in its cache.

    Raises:
        CheckpointError: A name is malformed, nothing has it, or the hub cannot be reached and the
            cache does not have it.
    """
    if isinstance(source, str | Path):
        if not is_name(source):
            return Path(source)
        source = parse(str(source))
    from ._client import fetch

    return fetch(source)


def origin(path: Path) -> str:
    """Say which file of the hub a file in its cache is: hf://ORG/REPO@COMMIT/FILE.

    Returns:
        The name, with the commit in full; "" for any other file.
    """
    found = _CACHED.fullmatch(path.absolute().as_posix())
    return "hf://{owner}/{name}@{commit}/{file}".format(**found.groupdict()) if found else ""

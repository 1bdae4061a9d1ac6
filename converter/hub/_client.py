"""Fetches files through huggingface_hub, into its cache, and says what went wrong.

Only the files of the checkpoint and the config.json beside it are fetched. They are data: no code
of a repository is ever imported.
"""

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, brief, nearest, some, way_out
from ..plain import real, sha256
from ..version import __version__
from ._choice import INDEX, choose
from ._config import CONFIG
from ._names import Name
from ._timm import look_up

_MAIN = "main"
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
_LARGEST = 64 << 20  # bytes of an index
_MOST = 1000  # repositories of an owner among which the nearest is looked for
_ABOUT = {"library_name": "vitconvert", "library_version": __version__}
_LOGIN = "log in: `hf auth login`, or set HF_TOKEN"

log = logging.getLogger("vitconvert")


@dataclass(frozen=True)
class _Listing:
    """What a repository holds at a commit.

    Attributes:
        commit: In full.
        files: Their paths.
        unreachable: Why the cache was asked instead of the hub; "" if the hub answered.
    """

    commit: str
    files: Sequence[str]
    unreachable: str = ""


def fetch(name: Name) -> Path:
    """Give the file of a checkpoint in the cache, fetched unless it is there.

    All files of a sharded checkpoint are fetched; the path is that of its index.

    Raises:
        CheckpointError: See `located`.
    """
    try:
        hub = import_module("huggingface_hub")
        for part in ("constants", "errors", "utils"):  # are not there before
            import_module(f"huggingface_hub.{part}")
    except ImportError as error:
        raise CheckpointError(
            f"{name}: fetching from the hub needs huggingface_hub ({error}): "
            f"pip install 'vitconvert[hub]'"
        ) from error
    if name.model:
        name = look_up(name)
    with _quiet(hub), _told(hub, name):
        return _fetch(hub, name)


def _fetch(hub: Any, name: Name) -> Path:
    revision = name.revision or _MAIN
    if name.file and _COMMIT.fullmatch(revision) and not name.file.endswith(INDEX):
        cached = hub.try_to_load_from_cache(name.repository, name.file, revision=revision)
        if isinstance(cached, str):  # a commit never changes: there is nothing to ask
            return Path(cached)
    listing = _list(hub, name)
    if listing.unreachable:
        told = "%s: took what the cache has, commit %s: %s"
        log.info(told, name, listing.commit[:12], listing.unreachable)
    file = choose(name, listing.files)
    if not name.file:
        log.info("%s: took %s of commit %s", name, file, listing.commit[:12])
    # By its branch first, so that the cache knows offline which commit that is.
    path = _download(hub, name, file, listing, listing.commit if listing.unreachable else revision)
    folder = file.rpartition("/")[0]
    beside = f"{folder}/{CONFIG}" if folder else CONFIG
    parts = [f"{folder}/{one}" if folder else one for one in _shards(path)]
    if missing := sorted(set(parts) - set(listing.files)):
        where = "the cache lacks" if listing.unreachable else "are not in the repository"
        raise CheckpointError(f"{name}: {file} names files that {where}: {some(missing)}.")
    for one in (*parts, *([beside] if beside in listing.files else [])):
        _download(hub, name, one, listing, listing.commit)
    return path


def _download(hub: Any, name: Name, file: str, listing: _Listing, revision: str) -> Path:
    """Fetch a file unless the cache has it; one that was damaged on the way does not stay."""
    known = hub.try_to_load_from_cache(name.repository, file, revision=listing.commit)
    path = Path(
        hub.hf_hub_download(
            name.repository,
            file,
            revision=revision,
            local_files_only=bool(listing.unreachable),
            **_ABOUT,
        )
    )
    blob = real(path)  # a large file lies under its SHA-256
    if not isinstance(known, str) and _SHA256.fullmatch(blob.name):
        found = sha256(path)
        if found != blob.name:
            for one in (path, blob):
                one.unlink(missing_ok=True)
            raise CheckpointError(
                f"{name}: {file} came damaged: its sha256 is {found}, the hub says {blob.name}. "
                f"It was removed; try again."
            )
    return path


def _shards(path: Path) -> list[str]:
    """Name the files of a sharded checkpoint; none if it is another file."""
    if not path.name.endswith(INDEX) or path.stat().st_size > _LARGEST:
        return []
    try:
        named = json.loads(path.read_bytes())["weight_map"].values()
        return sorted({one for one in named if isinstance(one, str)})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []  # whoever reads it says what is wrong


def _list(hub: Any, name: Name) -> _Listing:
    """List the files of a repository, from the hub, or from the cache if it cannot be reached."""
    timeout = hub.constants.HF_HUB_ETAG_TIMEOUT
    try:
        found = hub.HfApi(**_ABOUT).model_info(
            name.repository, revision=name.revision, timeout=timeout
        )
        commit = str(found.sha)
        if not _COMMIT.fullmatch(commit):  # it becomes the name of a folder of the cache
            raise ValueError("no commit")
        return _Listing(commit, [one.rfilename for one in found.siblings or ()])
    except _failures(hub) as error:
        why = _unreachable(hub, error)
        if not why:
            raise
        cached = _in_cache(hub, name)
        if cached is None:
            raise CheckpointError(
                f"{name}: {why}, and the cache, {hub.constants.HF_HUB_CACHE}, does not have it. "
                f"{_advice(hub, error)}"
            ) from error
        return _Listing(*cached, unreachable=why)


def _in_cache(hub: Any, name: Name) -> tuple[str, list[str]] | None:
    """Find the commit of a revision that the cache knows, and the files that it has of it."""
    folder = Path(hub.constants.HF_HUB_CACHE) / f"models--{name.repository.replace('/', '--')}"
    commit = name.revision or _MAIN
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (folder / "refs" / commit).read_text().strip()
        except (OSError, ValueError):
            return None
    snapshot = folder / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not snapshot.is_dir():
        return None
    files = (path for path in snapshot.rglob("*") if path.is_file())
    return commit, sorted(path.relative_to(snapshot).as_posix() for path in files)


@contextmanager
def _quiet(hub: Any) -> Iterator[None]:
    """Keep its remarks from the screen, and what it says of this machine from the hub."""
    logger, constants = logging.getLogger("huggingface_hub"), hub.constants
    kept = logger.level, constants.HF_HUB_DISABLE_TELEMETRY
    logger.setLevel(logging.CRITICAL)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(kept[0])
        constants.HF_HUB_DISABLE_TELEMETRY = kept[1]


def _failures(hub: Any) -> tuple[type[Exception], ...]:
    """Name the errors of huggingface_hub, and of what its releases speak HTTP with."""
    clients = {"httpx2": "HTTPError", "httpx": "HTTPError", "requests": "RequestException"}
    found = [getattr(sys.modules[one], of) for one, of in clients.items() if one in sys.modules]
    # RuntimeError: hf_xet's; the others: of an answer that is not the hub's.
    own = (hub.errors.HfHubHTTPError, OSError, RuntimeError, ValueError, TypeError, LookupError)
    return (*own, *found)


def _unreachable(hub: Any, error: Exception) -> str:
    """Say why the hub did not answer; "" if it did, or if something else went wrong."""
    if isinstance(error, hub.utils.OfflineModeIsEnabled):
        return "the hub is not asked, as HF_HUB_OFFLINE is set"
    status = _status(error)
    endpoint = hub.constants.ENDPOINT
    if status is None:
        if isinstance(error, ValueError | TypeError | LookupError | RuntimeError):
            return f"{endpoint} does not answer as the hub does"
        if type(error) is OSError or _of_disk(error):
            return ""
        return f"{endpoint} cannot be reached ({brief(error)})"
    if status >= 500 or status in (408, 429):
        return f"{endpoint} answers with status {status}"
    return ""


def _of_disk(error: Exception) -> bool:
    """Tell whether the cache could not be written."""
    is_of_system = isinstance(error, OSError) and bool(error.errno)
    return is_of_system and not isinstance(error, ConnectionError | TimeoutError)


def _status(error: Exception) -> int | None:
    """Give the status that the hub answered with, if that is the error."""
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None


def _advice(hub: Any, error: Exception) -> str:
    """Say what to do where the hub does not answer."""
    if isinstance(error, hub.utils.OfflineModeIsEnabled):
        return "Unset HF_HUB_OFFLINE, or fetch it on a machine with a network: hf download."
    if _status(error) == 429:
        return f"It has had too many requests from here: wait, or {_LOGIN}."
    told = "Check the network, HTTPS_PROXY and HF_ENDPOINT; or download the file and give its path."
    return told if _status(error) is None else "Try again later."


@contextmanager
def _told(hub: Any, name: Name) -> Iterator[None]:
    """Turn its errors into ours, which say what to do."""
    try:
        yield
    except CheckpointError:
        raise
    except _failures(hub) as error:
        raise CheckpointError(f"{name}: {_explain(hub, name, error)}") from error


def _explain(hub: Any, name: Name, error: Exception) -> str:
    utils, status, endpoint = hub.utils, _status(error), hub.constants.ENDPOINT
    page = f"{endpoint}/{name.repository}"
    if isinstance(error, utils.GatedRepoError):
        return f"{page} is gated. Ask for access on that page, and {_LOGIN}."
    if isinstance(error, utils.RevisionNotFoundError):
        known = _revisions(hub, name)
        there = f" It has {some(known)}." if known else ""
        hint = nearest(str(name.revision), known)
        return f"{name.repository} has no revision {name.revision!r}.{hint}{there}"
    if isinstance(error, utils.RepositoryNotFoundError):
        hint = nearest(name.repository, _repositories(hub, name))
        return f"there is no {page}.{hint} If it is private, {_LOGIN}."
    if isinstance(error, utils.LocalEntryNotFoundError):
        cause = error.__cause__
        why = _unreachable(hub, cause) if isinstance(cause, Exception) else ""
        return f"{why or 'the hub cannot be reached'}. {_advice(hub, error)}"
    if isinstance(error, OSError) and _of_disk(error):
        cache, what = hub.constants.HF_HUB_CACHE, os.strerror(error.errno or 0)
        return f"cannot be kept in {cache}: {what}.{way_out(error)} HF_HOME names another folder."
    if status == 401:
        return f"{endpoint} does not accept the token. Renew it: {_LOGIN}."
    if status == 403:
        return (
            f"{endpoint} does not let you read {name.repository}: {_LOGIN}, with a token that may."
        )
    is_odd = isinstance(error, ValueError | TypeError | LookupError | RuntimeError)
    if not is_odd and (why := _unreachable(hub, error)):
        return f"{why}. {_advice(hub, error)}"
    return f"cannot be fetched: {brief(error)}"


def _revisions(hub: Any, name: Name) -> list[str]:
    """Name the branches and tags of a repository."""
    with suppress(*_failures(hub)):
        found = hub.HfApi(**_ABOUT).list_repo_refs(name.repository)
        return [one.name for one in (*found.branches, *found.tags)]
    return []


def _repositories(hub: Any, name: Name) -> list[str]:
    """Name what else the owner of a repository has."""
    with suppress(*_failures(hub)):
        owner = name.repository.partition("/")[0]
        found = hub.HfApi(**_ABOUT).list_models(author=owner, limit=_MOST)
        return [one.id for one in found]
    return []

"""Names of checkpoints on the hub: how they are spelled, and what is wrong with one."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from ..errors import CheckpointError

SPELLING = "hf://ORG/REPO[@REVISION][/FILE], such as hf://timm/vit_tiny_patch16_224.augreg_in21k"
_OF_TIMM = "timm://MODEL[.TAG], such as timm://vit_tiny_patch16_224.augreg_in21k"

_IS_NAME = re.compile(r"(?:hf|timm):|https?://(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"{_WORD}/{_WORD}")
_MODEL = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_.-]+)?")
_PAGE = re.compile(
    r"https?://[^/]+/(?P<repository>[^/?#]+/[^/?#]+)"
    r"(?:/(?:resolve|blob|raw|tree)/(?P<revision>[^/?#]+)(?:/(?P<file>[^?#]+))?)?/?(?:[?#].*)?"
)
# Revisions that have slashes in them.
_REFS = re.compile(r"refs/(?:pr/[0-9]+|convert/[\w.-]+)")
_REVISION = re.compile(r"[\w.+-]+(?:/[\w.+-]+)*")
_OTHERS = ("datasets", "spaces", "kernels", "buckets")  # what the hub has beside models
_LONGEST = 96  # characters of a repository's name


@dataclass(frozen=True)
class Name:
    """A checkpoint on the hub.

    Attributes:
        text: As it was given.
        repository: ORG/REPO; "" while only timm's name of the model is known.
        model: Timm's name of the model, with or without the tag; "" for others.
        revision: Branch, tag or commit; the main branch if None.
        file: In the repository; "" if it is to be chosen.
    """

    text: str
    repository: str = ""
    model: str = ""
    revision: str | None = None
    file: str = ""

    def __str__(self) -> str:
        return self.text


def is_name(source: str | Path) -> bool:
    """Tell whether a text is meant to be a name of the hub, not a path; it may be malformed."""
    if isinstance(source, Path):  # it has joined the slashes; a folder may be called so
        return bool(re.match("(?:hf|timm):", str(source))) and not source.exists()
    return bool(_IS_NAME.match(source))


def parse(text: str) -> Name:
    """Read a name.

    Raises:
        CheckpointError: It is malformed.
    """
    if page := _PAGE.fullmatch(text):
        named = f"hf://{page['repository']}"
        named += f"@{page['revision']}" if page["revision"] else ""
        named += f"/{page['file']}" if page["file"] else ""
        _refuse(text, f"is a page. The checkpoint there is named so: {named}")
    scheme, _, rest = text.partition(":")
    spelling = SPELLING if scheme.lower() == "hf" else _OF_TIMM
    if not rest.startswith("//"):
        hint = " As a pathlib.Path it loses a slash: pass a text." if rest.startswith("/") else ""
        _refuse(text, f"expected two slashes: {spelling}.{hint}")
    rest = rest[2:]
    if rest.startswith("/"):
        _refuse(text, f"has a slash too many: expected {spelling}.")
    if scheme not in ("hf", "timm"):
        _refuse(text, f"expected {scheme.lower()}:// in lower case.")
    if scheme == "timm":
        return _of_timm(text, rest)
    if rest.startswith("models/"):
        rest = rest.removeprefix("models/")
    first = rest.partition("/")[0]
    if first in _OTHERS:
        _refuse(text, f"{first} hold no checkpoints of models: expected {SPELLING}.")
    owner, _, after = rest.partition("/")
    repository, revision, file = _divide(text, after)
    full = f"{owner}/{repository}"
    if not repository and owner:
        _refuse(text, f"names an owner, but no repository: expected {SPELLING}.")
    if not _REPOSITORY.fullmatch(full) or "--" in full or ".." in full or len(full) > _LONGEST:
        _refuse(text, f"{full!r} is not a name that a repository can have: expected {SPELLING}.")
    return Name(text, repository=full, revision=revision, file=file)


def _of_timm(text: str, rest: str) -> Name:
    """Read what follows timm://, a revision and a file included."""
    model, revision, file = _divide(text, rest)
    if not _MODEL.fullmatch(model) or "--" in model or ".." in model:
        _refuse(text, f"{model!r} is not a name that timm's models have: expected {_OF_TIMM}.")
    return Name(text, model=model, revision=revision, file=file)


def _divide(text: str, rest: str) -> tuple[str, str | None, str]:
    """Divide REPO[@REVISION][/FILE]."""
    name, at, after = rest.partition("@")
    if "/" in name:  # the @ is one of the file's name
        name, at, after = rest.partition("/")[0], "/", rest.partition("/")[2]
    revision: str | None = None
    file = after if at == "/" else ""
    if at == "/" and not after:
        _refuse(text, "ends with a slash: leave it out, or name a file.")
    if at == "@":
        known = _REFS.match(after)
        revision, slash, file = after.partition("/")
        if known:
            revision, slash, file = known[0], after[known.end() :][:1], after[known.end() + 1 :]
        revision = unquote(revision)
        if not _REVISION.fullmatch(revision) or ".." in revision:
            _refuse(text, f"{revision!r} is not a revision: expected a branch, a tag or a commit.")
        if slash and not file:
            _refuse(text, "ends with a slash: leave it out, or name a file.")
    parts = file.split("/") if file else []
    if "\\" in file or not file.isprintable() or any(part in ("", ".", "..") for part in parts):
        _refuse(text, f"{file!r} is not a file's path within a repository.")
    return name, revision, file


def _refuse(text: str, told: str) -> NoReturn:
    raise CheckpointError(f"{text}: {told}")

"""The folder of an export: it appears whole or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...claims import claimed
from ...errors import CheckpointError, some
from ...files import (
    cannot_be_written,
    check_folder,
    flush,
    hold,
    locked_folder,
    remove_unheld,
)
from ...plain import real
from ._manifest import is_export, strangers


def check_export_folder(target: Path, sources: Sequence[Path], force: bool) -> None:
    """Refuse a folder that must not be replaced.

    Args:
        target: The folder to make.
        sources: Files that it is made of.
        force: Whether an export may be replaced.

    Raises:
        CheckpointError: As `check_folder`; or the folder holds a source, or more than an export.
    """
    check_folder(target, "a vitconvert export", is_export, force=force, as_whole=True)
    if not target.exists():
        return
    for source in sources:
        if real(source).is_relative_to(real(target)):
            raise CheckpointError(
                f"{source}: lies in {target}, which would be replaced. Move it out of that folder "
                f"first, or choose another folder."
            )
    with cannot_be_written(target):
        found = strangers(target)
    if found:
        raise CheckpointError(
            f"{target}: holds more than an export: {some(found)}. Move that elsewhere, or choose "
            f"another folder."
        )


def put_in_order(target: Path) -> None:
    """Clean up after killed exports to the same folder.

    An export that lost its name gets it back; other leftovers that no process holds are removed.
    """
    with suppress(OSError), locked_folder(target.parent):
        olds = _leftovers(target, "old")
        for old in sorted(olds, key=lambda path: path.stat().st_ctime, reverse=True):
            if is_export(old) and not target.exists():
                old.rename(target)
            elif is_export(target) and not strangers(old):
                shutil.rmtree(old)
    for part in _leftovers(target, "part"):
        with suppress(OSError):
            if not strangers(part):
                remove_unheld(part, shutil.rmtree)


@contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """Make a temporary folder beside a target; it is gone at the end unless it was renamed.

    Raises:
        CheckpointError: Another process makes the same target, or the disk refuses.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with claimed(target, as_whole=True):
        try:
            with cannot_be_written(target):
                part.mkdir()
                handle = os.open(part, os.O_RDONLY)
            try:
                hold(handle)
                yield part
            finally:
                os.close(handle)
        finally:
            _remove(part)


def publish_folder(part: Path, target: Path, sources: Sequence[Path], force: bool) -> None:
    """Give a finished folder its name; if that fails, the old one is back.

    Raises:
        CheckpointError: As `check_export_folder`, which is checked again; or the disk refuses.
    """
    with cannot_be_written(target):
        for path in [*part.iterdir(), part]:
            flush(path)
    with cannot_be_written(target), locked_folder(target.parent):
        check_export_folder(target, sources, force)
        old = part.with_suffix(".old")
        try:
            if target.exists():
                target.rename(old)
            part.rename(target)
        finally:
            _settle(part, target, old)
    with suppress(OSError):  # some file systems cannot; the files themselves are safe
        flush(target.parent)


def _settle(part: Path, target: Path, old: Path) -> None:
    """Remove a replaced export, or give it its name back; it is never lost.

    Not even a second Ctrl-C leaves it in between; after a kill `put_in_order` does this.

    Raises:
        CheckpointError: The disk refuses, or a folder of that name appeared meanwhile.
    """
    while old.exists():
        with suppress(KeyboardInterrupt):
            try:
                if part.exists():
                    old.rename(target)
                else:
                    shutil.rmtree(old)
            except OSError as error:
                raise CheckpointError(
                    f"{old}: is the earlier {target}, and could neither get its name back nor be "
                    f"removed: {error.strerror or error}."
                ) from error


def _leftovers(target: Path, end: str) -> list[Path]:
    """Find temporary folders of a target."""
    found = target.parent.glob(f".{glob.escape(target.name)}.????????.{end}")
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _remove(folder: Path) -> None:
    """Remove a temporary folder; not even a second Ctrl-C leaves half of it."""
    while folder.exists():
        with suppress(KeyboardInterrupt):
            shutil.rmtree(folder)

"""Reports as pages: their elements and text, and what a browser makes of them."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Page(HTMLParser):
    """The elements of a page, its text without that of scripts and styles, and its JSON."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.within, self.text, self.json = "", "", ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element."""
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        """Note that a script or style has ended."""
        self.within = "" if tag in ("script", "style") else self.within

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if not self.within:
            self.text += data
        elif self.within == "application/json":
            self.json += data


def assert_loads_nothing(page: str, images: bool = False) -> None:
    """No element names another file, no style does, and no attribute is a script."""
    for tag, attributes in Page(page).elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = str(attributes.get(name, "data:,"))
            assert value == "data:," or (images and value.startswith("data:image/")), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    assert "@import" not in page
    assert "url(" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?https?://""", page)


def browsed(file: Path, width: int = 1400) -> str:
    """Return the document of a file as it is once its scripts ran; skip without a Chromium."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
        (pytest.fail if os.environ.get("CI_BROWSER") else pytest.skip)(reason)
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        f"--virtual-time-budget=5000 --window-size={width},900"
    )
    profile = f"--user-data-dir={file.with_name('profile')}"
    command = [str(browser), *options.split(), profile, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def dataset(dom: str, name: str) -> Any:
    """Read what a script wrote to the body."""
    found = re.search(rf'<body[^>]* data-{name}="([^"]*)"', dom)
    assert found, f"the script wrote no {name}"
    return json.loads(unescape(found[1]))

"""Which repository a name of timm leads to."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tools.hub_server import Hub
from vitconvert import CheckpointError
from vitconvert.hub import _timm, located, origin

WEIGHTS = save({"head.weight": np.ones((2, 3), "float32")})
TAGS = ["vit_tiny.augreg", "vit_tiny.dino"]


def answering(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """Let timm answer this."""
    monkeypatch.setattr(_timm, "find_spec", lambda _name: True)
    monkeypatch.setattr(_timm, "_ask", lambda _model: found)


def test_timm_says_where_its_weights_are(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Repository, revision and file; the default tag is said."""
    commit = hub.add("other/net", {"model.safetensors": b"", "open.bin": WEIGHTS}, "v2")
    answering(monkeypatch, name="vit_tiny.augreg", hub="other/net@v2", file="open.bin", url="")

    with caplog.at_level(logging.INFO, "vitconvert"):
        path = located("timm://vit_tiny")

    assert origin(path) == f"hf://other/net@{commit}/open.bin"
    assert "vit_tiny.augreg, the default of timm" in caplog.text


def test_without_timm_the_usual_repository_is_taken(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And said; the default tag is not known then."""
    monkeypatch.setattr(_timm, "find_spec", lambda _name: None)
    commit = hub.add("timm/vit_tiny.augreg", {"model.safetensors": WEIGHTS})

    with caplog.at_level(logging.INFO, "vitconvert"):
        path = located("timm://vit_tiny.augreg")

    assert origin(path) == f"hf://timm/vit_tiny.augreg@{commit}/model.safetensors"
    assert "took hf://timm/vit_tiny.augreg" in caplog.text
    with pytest.raises(CheckpointError, match=r"names no tag.*timm://vit_tiny\.TAG.*\[timm\]"):
        located("timm://vit_tiny")


@pytest.mark.parametrize(
    ("name", "found", "told"),
    [
        ("vit_tiny.agureg", {"known": TAGS}, r"Did you mean 'vit_tiny\.augreg'\? .*: augreg, dino"),
        ("vit_tyni", {"known": ["swin", "vit_tiny"]}, r"no model 'vit_tyni'\. Did you mean 'vit_t"),
        ("vit_tiny.url", {"name": "", "hub": "", "url": "https://x/y.pth"}, "Download https://x/y"),
        ("vit_tiny", {"name": "", "hub": "", "url": ""}, "no pretrained weights"),
    ],
)
def test_what_timm_does_not_have_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, found: Any, told: str
) -> None:
    """Before the hub is asked."""
    answering(monkeypatch, **found)

    with pytest.raises(CheckpointError, match=told):
        located(f"timm://{name}")
    assert hub.asked == []


@pytest.mark.torch
def test_timm_itself_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, which a timm.py in the user's folder does not change."""
    if not find_spec("timm"):
        pytest.skip("timm is not installed")
    (tmp_path / "timm.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    found = _timm._ask("vit_tiny_patch16_224")

    assert found
    assert found["hub"] == f"timm/{found['name']}"
    assert found["name"].startswith("vit_tiny_patch16_224.")
    with pytest.raises(CheckpointError, match=r"no such weights.*augreg_in21k"):
        located("timm://vit_tiny_patch16_224.augreg_in12k")
    assert hub.asked == []

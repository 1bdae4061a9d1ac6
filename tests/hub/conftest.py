"""A hub on this machine, and a cache of its own for every test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.hub_server import Hub, serving

# Of the environment, which is read when huggingface_hub is imported.
VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub; the cache is HF_HOME/hub below `tmp_path`, here and in processes of the test."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    from huggingface_hub import constants
    from huggingface_hub.utils._http import close_session

    with serving() as one:
        home = tmp_path / "home"
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_HOME", str(home))
        monkeypatch.setenv("HF_ENDPOINT", one.address)
        template = f"{one.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        chosen: dict[str, Any] = {
            "ENDPOINT": one.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": False,
        }
        for name, value in chosen.items():
            monkeypatch.setattr(constants, name, value)
        yield one
        close_session()  # it would keep its connection to a server that is gone

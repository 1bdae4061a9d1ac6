"""The README does what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Make
from vitconvert.commands.convert import family_command

README = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.paddle
def test_the_python_example_runs(
    official: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there, on a checkpoint of that name; what its comments claim holds."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "shunt_t.pth").symlink_to(official("shunted_t"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(code, names)

    names_in_comment = ["litv2_small", "litv2_medium", "litv2_base"]
    assert names["vitconvert"].list_models()[:3] == names_in_comment
    assert str(names["done"].path) == "shunt_t.pdparams"
    assert names["done"].plan.variant.name == "shunted_t"
    assert names["report"].proved
    assert names["report"].first_diverging is None
    assert names["checkpoint"].tensors["head.weight"].shape == (1000, 512)
    assert not names["model"].training
    assert not names["twin"].training


def test_every_option_is_documented() -> None:
    """The table of options in docs/cli.md names every option of the command."""
    page = (ROOT / "docs" / "cli.md").read_text()
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `--"))

    options = [option.opts[0] for option in family_command("shunted").params]

    assert [option for option in options if f"`{option}" not in rows] == []

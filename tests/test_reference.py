"""PyTorch models that a table takes from elsewhere."""

import sys
from pathlib import Path
from typing import Any

import pytest

from vitconvert import ModelError, TableError
from vitconvert.models import build_from
from vitconvert.reference import build_reference, import_timm
from vitconvert.tables import reading

TABLE = """
torch = "{origin}"
rows = [["", "", "param"]]
[variants.net_a]
input_size = [32, 32]
config = {{ width = 5 }}
"""


def read(folder: Path, origin: str) -> Any:
    """Read a table whose PyTorch models are there."""
    (folder / "net.toml").write_text(TABLE.format(origin=origin))
    return reading.read_table(folder / "net.toml")


@pytest.mark.torch
def test_model_of_a_function_gets_config_and_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By keyword; one that is not there is named."""
    (tmp_path / "factory_of_nets.py").write_text(
        "import torch\ndef net(width, num_classes): return torch.nn.Linear(width, num_classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    table = read(tmp_path, "factory_of_nets:net")

    model = build_from(table, "torch", table.variants["net_a"], 3)

    assert (model.in_features, model.out_features) == (5, 3)
    for origin in ("factory_of_nets:nett", "no_such_module_there:net"):
        table = read(tmp_path, origin)
        with pytest.raises(ModelError, match=f"builds the PyTorch model with {origin}: "):
            build_from(table, "torch", table.variants["net_a"], 3)


def test_origin_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """When the table is read."""
    with pytest.raises(TableError, match="torch is 'timmm', expected 'timm' or 'package"):
        read(tmp_path, "timmm")


@pytest.mark.torch
def test_model_that_timm_does_not_know_is_named_with_both_versions() -> None:
    """With the release to install, and the nearest name."""
    own = import_timm().__version__
    message = rf"timm {own} has no model 'vit_tinny_patch16_224'; .* 1\.0\.\d+\. Did"
    with pytest.raises(ModelError, match=message):
        build_reference("timm", "vit_tinny_patch16_224", {}, 10)


@pytest.mark.parametrize(
    ("module", "message"), [("timm", "timm is"), ("torchvision", "which timm")]
)
def test_missing_timm_says_how_to_install_it(
    module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or torchvision, which it imports."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ModelError, match=rf"{message}.* Install it: pip install 'vitconvert\[timm"):
        build_reference("timm", "vit_tiny_patch16_224", {}, 10)

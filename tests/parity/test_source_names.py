"""What a report says of the files that it is about."""

from pathlib import Path

from conftest import Make
from vitconvert import open_checkpoint
from vitconvert.parity._subject import describe_checkpoint
from vitconvert.plain import sha256


def test_a_file_of_the_hub_has_the_name_that_gives_it_again(plain: Make, tmp_path: Path) -> None:
    """Beside its path and its hash, as the cache of huggingface_hub shows it; no other file has."""
    source, commit = plain("shiftvit_cifar_tiny"), "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--org--net" / "snapshots" / commit / "a" / "model.safetensors"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(source)

    found = describe_checkpoint(open_checkpoint(cached), {})

    assert found["from"] == f"hf://org/net@{commit}/a/model.safetensors"
    assert found["file"] == str(cached)
    assert found["sha256"] == sha256(source)
    assert "from" not in describe_checkpoint(open_checkpoint(source), {})

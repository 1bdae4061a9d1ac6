"""How a name of the hub is spelled, and what is said of one that is not."""

from pathlib import Path

import pytest

from vitconvert import CheckpointError
from vitconvert.hub import is_name, located, origin, parse
from vitconvert.hub._choice import choose

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "repository", "model", "revision", "file"),
    [
        ("hf://org/net", "org/net", "", None, ""),
        ("hf://models/org/net", "org/net", "", None, ""),
        ("hf://org/net.v1_2-x@v1.0", "org/net.v1_2-x", "", "v1.0", ""),
        (f"hf://org/net@{COMMIT}/a/b.pth", "org/net", "", COMMIT, "a/b.pth"),
        ("hf://org/net/a@2x.pth", "org/net", "", None, "a@2x.pth"),
        ("hf://org/net@refs/pr/7/a.pth", "org/net", "", "refs/pr/7", "a.pth"),
        ("hf://org/net@refs/pr/7", "org/net", "", "refs/pr/7", ""),
        ("hf://org/net@some%2Fbranch/a.pth", "org/net", "", "some/branch", "a.pth"),
        ("timm://vit_tiny", "", "vit_tiny", None, ""),
        ("timm://vit_tiny.augreg@main", "", "vit_tiny.augreg", "main", ""),
    ],
)
def test_a_name_has_these_parts(
    text: str, repository: str, model: str, revision: str | None, file: str
) -> None:
    """Repository or model, revision and file."""
    name = parse(text)

    assert (name.repository, name.model, name.revision, name.file) == (
        repository,
        model,
        revision,
        file,
    )
    assert is_name(text)
    assert str(name) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hf:/org/net", "two slashes.*pass a text"),
        ("hf:org/net", "two slashes"),
        ("hf:///org/net", "slash too many"),
        ("HF://org/net", "lower case"),
        ("hf://", "not a name that a repository can have"),
        ("hf://org", "no repository"),
        ("hf://org/net/", "ends with a slash"),
        ("hf://org/net@", "not a revision"),
        ("hf://org/net@../../x", "not a revision"),
        ("hf://org/net@v1/", "ends with a slash"),
        ("hf://org/net@a%2F..%2Fb", "not a revision"),
        ("hf://../net", "not a name that"),
        ("hf://org/a--b", "not a name that"),
        ("hf://org/net/../../x.pth", "not a file's path"),
        ("hf://org/net//x.pth", "not a file's path"),
        ("hf://org/net/./x.pth", "not a file's path"),
        ("hf://org/net/a\\b.pth", "not a file's path"),
        ("hf://org/net/a\nb.pth", "not a file's path"),
        ("hf://datasets/org/net", "datasets hold no checkpoints"),
        ("timm://", "not a name that timm's models have"),
        ("timm://vit tiny", "not a name that timm's models have"),
        ("timm:vit_tiny", "two slashes: timm://MODEL"),
        ("https://huggingface.co/org/net", "named so: hf://org/net$"),
        (
            "https://huggingface.co/org/net/resolve/main/a/b.pth?download=true",
            "named so: hf://org/net@main/a/b.pth$",
        ),
    ],
)
def test_what_is_wrong_with_a_name_is_said(text: str, told: str) -> None:
    """Before anything is asked."""
    assert is_name(text)
    with pytest.raises(CheckpointError, match=told):
        located(text)


def test_a_path_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that begins like a name, if it is there; of others a Path has lost a slash."""
    monkeypatch.chdir(tmp_path)
    Path("hf:").mkdir()

    assert located("a/b.pth") == Path("a/b.pth")
    assert located("./hf:/x.pth") == Path("hf:/x.pth")
    assert located(Path("hf:")) == Path("hf:")
    assert not is_name("c:/hf/x.pth")
    with pytest.raises(CheckpointError, match="pass a text"):
        located(Path("hf://org/net"))


def test_the_name_of_a_cached_file_is_known() -> None:
    """From where it lies, with its commit."""
    cache = Path("/home/me/.cache/huggingface/hub")
    snapshot = cache / "models--org--net" / "snapshots" / COMMIT

    assert origin(snapshot / "a" / "b.pth") == f"hf://org/net@{COMMIT}/a/b.pth"
    assert origin(cache / "models--org--net" / "b.pth") == ""
    assert origin(cache / "datasets--org--net" / "snapshots" / COMMIT / "b.pth") == ""
    assert origin(Path("b.pth")) == ""


USUAL = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "some.pth",
]


@pytest.mark.parametrize("at", range(len(USUAL)))
def test_the_usual_file_is_taken(at: int) -> None:
    """In this order, whatever order the repository has; the last is the only one."""
    shard = "model-00001-of-00002.safetensors"
    files = ["README.md", "optimizer.pt", "onnx/x.bin", shard, *reversed(USUAL[at:])]

    assert choose(parse("hf://org/net"), files) == USUAL[at]


def test_a_choice_that_is_not_plain_is_left_to_the_user() -> None:
    """The error shows how to name each; without any it lists what there is."""
    name = parse("hf://org/net@v1")

    assert choose(name, ["a/one.npz", "README.md"]) == "a/one.npz"
    with pytest.raises(CheckpointError, match=r"2 checkpoints") as caught:
        choose(name, ["one.pth", "two.pdparams", "config.json"])
    assert "\n  hf://org/net@v1/one.pth\n  hf://org/net@v1/two.pdparams" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"no checkpoint; its files: a\.md, b\.h5"):
        choose(name, ["a.md", "b.h5"])

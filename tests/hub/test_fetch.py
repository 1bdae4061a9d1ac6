"""What is fetched from the hub, what is taken from the cache, and what is said of the rest."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tools.hub_server import Hub
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.hub import Config, config_beside, located, origin
from vitconvert.plain import sha256

constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
STATE = {"fc.bias": np.ones(2, "float32"), "fc.weight": np.arange(6, dtype="float32").reshape(2, 3)}
WEIGHTS = save(STATE, {"format": "pt"})
TIMMS = {"architecture": "vit_tiny", "pretrained_cfg": {"tag": "augreg"}, "num_classes": 2}


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as HF_HUB_OFFLINE=1 does."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_repository_is_fetched_once(hub: Hub) -> None:
    """The usual file and the config beside it; then the hub is only asked whether it changed."""
    files = {"model.safetensors": WEIGHTS, "config.json": json.dumps(TIMMS).encode()}
    commit = hub.add("org/net", files | {"README.md": b"#"})

    checkpoint = open_checkpoint("hf://org/net")
    asked, hub.asked = hub.asked, []
    open_checkpoint("hf://org/net")

    assert list(checkpoint.tensors) == list(STATE)
    assert checkpoint.side == "torch"
    assert origin(checkpoint.path) == f"hf://org/net@{commit}/model.safetensors"
    assert config_beside(checkpoint.path) == Config("vit_tiny", "augreg")
    assert [one for one in asked if one.startswith("GET")] == [
        "GET /api/models/org/net",
        "GET /org/net/resolve/main/model.safetensors",
        f"GET /org/net/resolve/{commit}/config.json",
    ]
    assert [one for one in hub.asked if one.startswith("GET")] == ["GET /api/models/org/net"]


def test_a_link_of_the_cache_is_followed(hub: Hub) -> None:
    """The file is a link to a blob, whose hash is the same."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})

    path = located("hf://org/net")

    assert path.is_symlink()
    assert path.resolve().parent.name == "blobs"
    assert path.resolve().name == sha256(path)
    assert np.array_equal(open_checkpoint(path).tensors["fc.weight"].read(), STATE["fc.weight"])


def test_the_hub_learns_nothing_of_this_machine(
    hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    """But for releases; nothing is printed, and the settings of huggingface_hub stay."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})
    logger = logging.getLogger("huggingface_hub")
    before = logger.level, constants.HF_HUB_DISABLE_TELEMETRY

    located("hf://org/net")

    assert hub.headers["user-agent"].startswith("vitconvert/")
    assert not {"torch", "paddle", "session", "agent"} & set(hub.headers["user-agent"].split("/"))
    assert "authorization" not in hub.headers
    assert capfd.readouterr().err == ""
    assert (logger.level, constants.HF_HUB_DISABLE_TELEMETRY) == before


def test_a_commit_that_was_fetched_is_not_asked_for(hub: Hub) -> None:
    """So a run is repeated from its report without a network."""
    commit = hub.add("org/net", {"a/net.pth": WEIGHTS})
    first = located("hf://org/net/a/net.pth")
    hub.asked.clear()

    assert located(origin(first)) == first
    assert hub.asked == []
    assert commit in str(first)


@pytest.mark.parametrize("revision", ["dev", "COMMIT"])
def test_a_revision_is_what_is_fetched(hub: Hub, revision: str) -> None:
    """A branch, a tag or a commit, not the main branch."""
    hub.add("org/net", {"model.safetensors": save({"other.weight": STATE["fc.weight"]})})
    commit = hub.add("org/net", {"model.safetensors": WEIGHTS}, "dev")

    name = f"hf://org/net@{commit if revision == 'COMMIT' else revision}"

    assert list(open_checkpoint(name).tensors) == list(STATE)


@pytest.mark.parametrize("under", ["", "sub/"])
def test_all_files_of_an_index_are_fetched(hub: Hub, under: str) -> None:
    """Into one folder; one that the repository lacks is named."""
    index = {"weight_map": {"fc.weight": "a-00001-of-00002.bin", "fc.bias": "b-00002-of-00002.bin"}}
    files = {
        f"{under}model.safetensors.index.json": json.dumps(index).encode(),
        f"{under}a-00001-of-00002.bin": save({"fc.weight": STATE["fc.weight"]}),
        f"{under}b-00002-of-00002.bin": save({"fc.bias": STATE["fc.bias"]}),
        "config.json": b"{}",
    }
    hub.add("org/net", files)
    hub.add("org/less", {k: v for k, v in files.items() if "b-00002" not in k})

    checkpoint = open_checkpoint("hf://org/net")

    assert sorted(checkpoint.tensors) == sorted(STATE)
    assert len(checkpoint.files) == 3
    with pytest.raises(
        CheckpointError, match=r"are not in the repository: .*b-00002-of-00002\.bin"
    ):
        located("hf://org/less")


def test_an_index_does_not_lead_out_of_the_repository(hub: Hub, tmp_path: Path) -> None:
    """What it names must be one of the files that the hub lists."""
    (tmp_path / "secret.bin").write_bytes(WEIGHTS)
    index = {"weight_map": {"fc.weight": "../../../../../../secret.bin"}}
    hub.add("org/net", {"model.safetensors.index.json": json.dumps(index).encode()})

    with pytest.raises(CheckpointError, match="are not in the repository"):
        open_checkpoint("hf://org/net")


def test_offline_the_cache_is_all_there_is(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it has is found by branch or commit, and said; what it lacks is an error."""
    hub.add("org/net", {"model.safetensors": WEIGHTS, "more.pth": WEIGHTS})
    path = located("hf://org/net")
    hub.asked.clear()
    offline(monkeypatch)

    with caplog.at_level(logging.INFO, "vitconvert"):
        assert located("hf://org/net") == path

    assert "took what the cache has" in caplog.text
    assert "HF_HUB_OFFLINE is set" in caplog.text
    for name in ("hf://org/net@v2", "hf://org/other", "hf://org/other/x.pth"):
        with pytest.raises(CheckpointError, match=r"the cache, .*, does not have it\. Unset HF_"):
            located(name)
    with pytest.raises(CheckpointError, match=r"no file 'more\.pth'"):
        located("hf://org/net/more.pth")
    assert hub.asked == []


@pytest.mark.parametrize("how", ["away", "ill"])
def test_a_hub_that_does_not_answer_is_replaced_by_the_cache(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """And the error of what it lacks names the network, at once."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})
    path = located("hf://org/net")
    if how == "away":
        for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
            text = getattr(constants, name).replace(hub.address, "http://127.0.0.1:9")
            monkeypatch.setattr(constants, name, text)
    else:
        hub.status = 503

    assert located("hf://org/net") == path
    start = time.monotonic()
    told = "cannot be reached.*HTTPS_PROXY" if how == "away" else "status 503.*Try again later"
    with pytest.raises(CheckpointError, match=told):
        located("hf://org/other/x.pth")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf://org/nett", r"there is no .*/org/nett\. Did you mean 'org/net'\? If it is private"),
        ("hf://org/net@devl", r"no revision 'devl'\. Did you mean 'dev'\? It has main, dev"),
        ("hf://org/net/modle.safetensors", r"Did you mean 'model.safetensors'\? It has model"),
    ],
)
def test_what_does_not_exist_is_said_with_what_is_near(hub: Hub, name: str, told: str) -> None:
    """Repository, revision, file."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})
    hub.add("org/net", {"model.safetensors": WEIGHTS}, "dev")

    with pytest.raises(CheckpointError, match=told):
        located(name)


def test_a_gated_repository_needs_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN is sent; without it the error says what to do."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})
    hub.gated, hub.token = {"org/net"}, "hf_secret"

    with pytest.raises(
        CheckpointError, match=r"is gated. Ask for access .*hf auth login.*HF_TOKEN"
    ):
        located("hf://org/net")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert located("hf://org/net").is_file()


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "does not accept the token"), (403, "does not let you read org/net"), (429, "too many")],
)
def test_a_refusal_is_explained(hub: Hub, status: int, told: str) -> None:
    """By its status."""
    hub.status = status

    with pytest.raises(CheckpointError, match=told):
        located("hf://org/net")


def test_what_is_no_hub_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the page of a network that asks for a login."""
    hub.status = 200  # and nothing in it
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 2)

    with pytest.raises(CheckpointError, match="does not answer as the hub does"):
        located("hf://org/net")


def test_a_file_that_came_damaged_does_not_stay(hub: Hub) -> None:
    """Its hash is not what the hub says, although its size is."""
    hub.add("org/net", {"model.safetensors": WEIGHTS})
    hub.broken = {"model.safetensors"}

    with pytest.raises(CheckpointError, match=r"came damaged: its sha256 is .* It was removed"):
        located("hf://org/net")
    hub.broken = set()
    assert open_checkpoint(located("hf://org/net")).tensors["fc.bias"].read().tolist() == [1, 1]


def test_a_pickle_of_the_hub_is_not_executed(hub: Hub, tmp_path: Path) -> None:
    """A file of the hub is read as any other is."""
    made = tmp_path / "made"
    pickle = b"cposix\nsystem\n(S'touch %s'\ntR." % str(made).encode()
    hub.add("org/net", {"pytorch_model.bin": b"\x80\x02" + pickle})

    with pytest.raises(CheckpointError):
        open_checkpoint("hf://org/net")
    assert not made.exists()


def test_without_huggingface_hub_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else needs it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(CheckpointError, match=r"pip install 'vitconvert\[hub\]'"):
        located("hf://org/net")


# A process that fetches a name, and may write no file larger than so many bytes.
FETCH = """
import resource, sys
if size := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from vitconvert import CheckpointError
from vitconvert.hub import located
try:
    print(located(sys.argv[1]))
except CheckpointError as error:
    print("refused:", error)
"""


def _start(name: str, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, name, str(limit)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ})


def _left(home: Path) -> list[str]:
    """Name the files of a cache that hold weights, or a part of them."""
    found = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    return [path.name for path in found]


def test_a_full_disk_is_said_and_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    """The system's own words, and where the cache is."""
    hub.add("org/net", {"model.safetensors": save({"w": np.ones(1 << 20, "float32")})})

    process = _start("hf://org/net", limit=1 << 20)
    told = process.communicate(timeout=60)

    assert "refused: hf://org/net: cannot be kept in" in told[0]
    assert "HF_HOME names another folder" in told[0]
    assert told[1] == ""
    assert _left(tmp_path / "home") == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_not_used_later(hub: Hub, tmp_path: Path, ending: Any) -> None:
    """Ctrl-C leaves nothing; what a kill leaves is not taken for the file."""
    weights = save({"w": np.ones(1 << 18, "float32")})
    hub.add("org/net", {"model.safetensors": weights})
    hub.stalls = {"model.safetensors"}
    process = _start("hf://org/net")
    hub.stalled.wait(30)
    time.sleep(0.2)

    process.send_signal(ending)
    process.communicate(timeout=60)
    left = _left(tmp_path / "home")
    hub.stalls = set()
    hub.resume.set()

    assert process.returncode != 0
    assert left == [] or ending == signal.SIGKILL
    assert len(open_checkpoint("hf://org/net").tensors["w"].read()) == 1 << 18


@pytest.mark.parametrize("commit", ["../../..", "", "x" * 10**6, "\x1b[31m"])
def test_commit_that_is_none_is_refused(
    commit: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the name of a folder, anywhere on this machine."""
    hub.add("org/model", {"model.safetensors": b"x"})
    monkeypatch.setattr(Hub, "commit", lambda *_of: commit)
    with pytest.raises(CheckpointError, match="does not answer as the hub does") as told:
        located("hf://org/model")
    assert len(str(told.value)) < 400

"""What a GPU does is probed: here with matmuls that give what one would give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Make
from vitconvert import ParityError, compare_traces, dump
from vitconvert.errors import RunError
from vitconvert.running.gpu import check_paddle_gpu, effective_tf32
from vitconvert.sides import Side


def tf32(array: np.ndarray) -> np.ndarray:
    """Round to the ten bits of TF32."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)


def exact(a: np.ndarray, b: np.ndarray) -> Any:
    return a @ b


def rounded(a: np.ndarray, b: np.ndarray) -> Any:
    return tf32(a) @ tf32(b)


def zeros(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.zeros((len(a), b.shape[1]), "f4")


def test_tf32_shows_in_a_matmul() -> None:
    """Whatever the setting says, the result tells."""
    assert effective_tf32(exact) is False
    assert effective_tf32(rounded) is True
    with pytest.raises(RunError, match=r"gives 0, expected 64\.0156"):
        effective_tf32(zeros)


def test_the_registrys_build_is_refused_on_newer_cards() -> None:
    """By name, even where a probe happens to pass; on older cards it may run."""
    with pytest.raises(RunError, match=r"has no code for this card of compute capability 9\.0"):
        check_paddle_gpu("2.6.2", "11.8", (9, 0), exact)
    check_paddle_gpu("2.6.2", "11.8", (8, 6), exact)
    check_paddle_gpu("3.3.1", "12.9", (9, 0), exact)


def test_a_card_that_computes_zeros_is_refused() -> None:
    """With what to install instead."""
    with pytest.raises(RunError, match="Install a build for this card from Paddle's own index"):
        check_paddle_gpu("3.0.0", "12.6", (12, 0), zeros)


@pytest.mark.torch
def test_torchs_matmul_on_the_cpu_is_exact() -> None:
    """The probe runs on a real framework, too."""
    import torch

    assert not effective_tf32(lambda a, b: (torch.from_numpy(a) @ torch.from_numpy(b)).numpy())


def torch_gpu() -> str:
    """Say why PyTorch has no GPU here; nothing if it has one."""
    import torch

    return "" if torch.cuda.is_available() else "PyTorch sees no GPU on this machine"


@pytest.mark.torch
def test_torch_on_the_gpu_is_the_same_function(official: Make, tmp_path: Path) -> None:
    """A trace of the GPU against one of the CPU: float64 agrees, TF32 is off and was probed."""
    if why := torch_gpu():
        pytest.skip(why)
    for device in ("cpu", "gpu"):
        file, out = official("shunted_t"), tmp_path / device
        dump("shunted_t", "torch", file, out, device=device, input_size=(64, 64))

    report = compare_traces(tmp_path / "cpu", tmp_path / "gpu")

    assert report.proved
    assert report.candidate["tf32"] is False
    assert {"card", "driver", "cuda", "cudnn"} <= report.candidate.keys()


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("framework", ["torch", "paddle"])
def test_a_gpu_that_is_not_there_is_refused(
    framework: Side, official: Make, converted: Make, tmp_path: Path
) -> None:
    """By whichever side is asked for one, with what to do instead."""
    if not torch_gpu():
        pytest.skip("there is a GPU")
    file = official("shunted_t") if framework == "torch" else converted("shunted_t")
    with pytest.raises(ParityError, match=r"sees no GPU here.* Use --device cpu or auto"):
        dump("shunted_t", framework, file, tmp_path / "t", device="gpu")

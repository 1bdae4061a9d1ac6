"""What a GPU does is probed: here with matmuls that give what one would give."""

import numpy as np
import pytest

from vitconvert import ParityError
from vitconvert.parity._gpu import check_paddle_gpu, effective_tf32


def tf32(array: np.ndarray) -> np.ndarray:
    """Round to the ten bits of TF32."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b


def rounded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return tf32(a) @ tf32(b)


def zeros(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.zeros((len(a), b.shape[1]), "f4")


def test_tf32_shows_in_a_matmul() -> None:
    """Whatever the setting says, the result tells."""
    assert effective_tf32(exact) is False
    assert effective_tf32(rounded) is True
    with pytest.raises(ParityError, match=r"gives 0, expected 64\.0156"):
        effective_tf32(zeros)


def test_the_registrys_build_is_refused_on_newer_cards() -> None:
    """By name, even where a probe happens to pass; on older cards it may run."""
    with pytest.raises(ParityError, match=r"has no code for this card of compute capability 9\.0"):
        check_paddle_gpu("2.6.2", "11.8", (9, 0), exact)
    check_paddle_gpu("2.6.2", "11.8", (8, 6), exact)
    check_paddle_gpu("3.3.1", "12.9", (9, 0), exact)


def test_a_card_that_computes_zeros_is_refused() -> None:
    """With what to install instead."""
    with pytest.raises(ParityError, match="Install a build for this card from Paddle's own index"):
        check_paddle_gpu("3.0.0", "12.6", (12, 0), zeros)


@pytest.mark.torch
def test_torchs_matmul_on_the_cpu_is_exact() -> None:
    """The probe runs on a real framework, too."""
    import torch

    assert not effective_tf32(lambda a, b: (torch.from_numpy(a) @ torch.from_numpy(b)).numpy())

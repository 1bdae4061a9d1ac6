"""What a GPU really does, as opposed to what it was told: probed, not believed."""

import subprocess
from collections.abc import Callable

import numpy as np

from ..errors import RunError

Matmul = Callable[[np.ndarray, np.ndarray], np.ndarray]

# paddlepaddle-gpu of the public registry ends with this release. It is built with CUDA 11.8 and has
# no code for cards after this compute capability: on those its operators may give zeros, silently.
_REGISTRY_BUILD = ("2.6.2", "11.8")
_LAST_CAPABILITY = (8, 9)

# float32 holds 1 + 2**-12, TF32 with its ten bits rounds it to 1.
_TINY = 2.0**-12
_SIZE = 64  # large enough for tensor cores to be used


def effective_tf32(matmul: Matmul) -> bool:
    """Tell by its result whether a float32 matmul is computed in TF32.

    Raises:
        RunError: The result is neither; the card computes something else.
    """
    ones = np.ones((_SIZE, _SIZE), np.float32)
    found = matmul(ones + np.float32(_TINY), ones)
    exact, coarse = _SIZE * (1 + _TINY), float(_SIZE)
    for tf32, expected in ((False, exact), (True, coarse)):
        if np.abs(found - expected).max() < _SIZE * _TINY / 4:
            return tf32
    raise RunError(
        f"a matmul of ones on this GPU gives {found.ravel()[0]:.6g}, expected {exact:.6g}. The "
        f"framework has no code for this card, or card or driver are at fault. Use --device cpu."
    )


def check_paddle_gpu(version: str, cuda: str, capability: tuple[int, int], matmul: Matmul) -> None:
    """Refuse a build of Paddle that cannot compute on this card.

    Args:
        version: Of Paddle.
        cuda: That it is built with.
        capability: Compute capability of the card, (9, 0) for an H200.
        matmul: Float32 [n, n] @ [n, n] on the card.

    Raises:
        RunError: With the reason, and what to install.
    """
    card = ".".join(map(str, capability))
    advice = (
        "Install a build for this card from Paddle's own index (see its installation page), or run "
        "Paddle with --device cpu: its float64 trace on the CPU is the truth that a GPU is "
        "compared with."
    )
    if (version, cuda) == _REGISTRY_BUILD and tuple(capability) > _LAST_CAPABILITY:
        raise RunError(
            f"paddlepaddle-gpu {version} (CUDA {cuda}) has no code for this card of compute "
            f"capability {card}: its operators may give zeros without a word. {advice}"
        )
    try:
        effective_tf32(matmul)
    except RunError as error:
        raise RunError(
            f"Paddle {version} (CUDA {cuda}), compute capability {card}: {error} {advice}"
        ) from error


def driver() -> str:
    """Give the version of the NVIDIA driver, as nvidia-smi says it; "unknown" without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split("\n", 1)[0].strip() or "unknown"

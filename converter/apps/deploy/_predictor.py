"""Run a model from its inference form."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RunError
from ...models import require
from ...running.aside import stdout_aside
from ...running.device import Device, choose_device, import_framework
from ._manifest import LEAST, read_facts


class Predictor:
    """A model in Paddle's inference form: images [B, 3, H, W] -> logits [B, num_classes].

    On a processor with oneDNN, which took 0.2 to 0.5 times as long as without it (Paddle 3.3.1,
    two threads); what Paddle optimises by itself stays on. Its optimisation of memory cannot be
    asked for together with the programs of Paddle 3. Not to be used by two threads at once.

    Attributes:
        facts: The content of its vitconvert.json.
        environment: Versions, device and threads.
    """

    def __init__(
        self, folder: str | Path, device: Device = "cpu", threads: int | None = None
    ) -> None:
        """Load an export.

        Args:
            folder: What `vitconvert export` made.
            device: "cpu", "gpu", or "auto" for a GPU where there is one.
            threads: Threads of the processor; as many as this process may use if None.

        Raises:
            ModelError: The folder is not a usable export, or Paddle is not installed.
            RunError: Paddle cannot load it, or there is no such device.
        """
        require("paddle")
        self.folder = Path(folder)
        self.facts = read_facts(self.folder)
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        if self.threads < 1:
            raise RunError(f"threads is {self.threads}; expected at least 1.")
        self.device = choose_device("paddle", device)
        try:
            self._predictor = self._load()
        except (RuntimeError, ValueError, OSError) as error:
            paddle = import_framework("paddle")
            raise RunError(
                f"{self.folder}: Paddle {paddle.__version__} cannot load it: {_first(error)}. It "
                f"was made with Paddle {self.facts.versions.get('paddle')}. Export the weights "
                f"again here."
            ) from error
        self._is_ready = False  # Paddle prepares the program, and prints, in the first run
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device and threads that the model runs with."""
        paddle = import_framework("paddle")
        return {
            "framework": "paddle",
            "version": paddle.__version__,
            "numpy": np.__version__,
            "device": self.device,
            "engine": "inference",
            "threads": self.threads,
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Run a batch.

        Args:
            images: float32 [B, 3, H, W], normalised.

        Returns:
            Logits, float32 [B, num_classes]; features [B, C] of a model without a head.

        Raises:
            RunError: The images do not fit the model, or Paddle cannot run it.
        """
        self._check(images)
        try:
            self._input.copy_from_cpu(np.ascontiguousarray(images))
            with nullcontext() if self._is_ready else stdout_aside():
                self._predictor.run()
            self._is_ready = True
            return np.asarray(self._output.copy_to_cpu())
        except (RuntimeError, ValueError, OSError) as error:
            raise RunError(f"{self.folder}: Paddle cannot run it: {_first(error)}.") from error

    def _load(self) -> Any:
        from paddle.inference import Config, create_predictor

        program = self.folder / self.facts.program
        config = Config(str(program), str(program.with_name("model.pdiparams")))
        config.disable_glog_info()
        if self.device == "gpu":
            config.enable_use_gpu(256, 0)  # MiB to begin with; it grows
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(self.threads)
            config.enable_mkldnn()
        with stdout_aside():
            return create_predictor(config)

    def _check(self, images: np.ndarray) -> None:
        """Refuse what the program would make something wrong of, or nothing."""
        size = self.facts.image_size
        expected = f"[B, 3, {size[0]}, {size[1]}]" if size else f"[B, 3, H, W] from {LEAST} pixels"
        shape = images.shape
        fits = len(shape) == 4 and shape[0] > 0 and shape[1] == 3
        if fits:
            fits = shape[2:] == size if size else min(shape[2:]) >= LEAST
        if not fits or images.dtype != np.float32:
            raise RunError(
                f"{self.folder}: images are {images.dtype} {list(shape)}, expected float32 "
                f"{expected}. For another size export the weights with --image-size."
            )


def _first(error: BaseException) -> str:
    """Return the first line that says something; Paddle adds its own source and hints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = next((line for line in lines if "Error" in line or line.startswith("(")), None)
    return (found or (lines[0] if lines else type(error).__name__)).rstrip(".")

"""Paddle: a model as a function of arrays."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..checkpoints import open_checkpoint
from ..errors import ModelError, RunError
from ..models import load_paddle
from ..sides import Side
from .device import choose_device, import_framework
from .gpu import check_paddle_gpu, driver, effective_tf32
from .setup import Setup


class PaddleSide:
    """Runs the Paddle model."""

    name: Side = "paddle"

    def __init__(self, setup: Setup) -> None:
        self.paddle, self.setup = import_framework("paddle"), setup
        self.device = choose_device("paddle", setup.device)
        self.paddle.set_device(self.device)
        self.reader = ""  # who reads the weights
        if setup.checkpoint:
            checkpoint, self.reader = open_checkpoint(setup.checkpoint, setup.weights), "vitconvert"
            rounded = {key: checkpoint.tensors[key].cast(to) for key, to in setup.rounded.items()}
            tensors = {**checkpoint.tensors, **rounded}
            self.checkpoint = dataclasses.replace(checkpoint, tensors=tensors)
        if self.device == "gpu":
            self.paddle.set_flags({"FLAGS_cudnn_deterministic": True})
            check_paddle_gpu(
                self.paddle.__version__,
                str(self.paddle.version.cuda()),
                self.paddle.device.cuda.get_device_capability(),
                lambda a, b: self.array(self.put(a) @ self.put(b)),
            )

    def environment(self) -> dict[str, Any]:
        """Say what ran where, settings read back and probed."""
        paddle = self.paddle
        facts: dict[str, Any] = {"paddle": paddle.__version__, "device": self.device}
        facts["threads"] = int(os.environ.get("OMP_NUM_THREADS", "0"))
        if self.device == "gpu":
            facts["card"] = paddle.device.cuda.get_device_name()
            facts["driver"] = driver()
            facts["cuda"] = paddle.version.cuda()
            facts["cudnn"] = paddle.version.cudnn()
            override = os.environ.get("NVIDIA_TF32_OVERRIDE", "")
            facts["tf32_set"] = {"NVIDIA_TF32_OVERRIDE": override}
            facts["tf32"] = effective_tf32(lambda a, b: self.array(self.put(a) @ self.put(b)))
        return facts

    @contextmanager
    def floating(self, dtype: str) -> Iterator[None]:
        """Let what is made meanwhile be of a floating type."""
        usual = self.paddle.get_default_dtype()
        self.paddle.set_default_dtype(dtype)
        try:
            yield
        finally:
            self.paddle.set_default_dtype(usual)

    def build(self, dtype: str) -> Any:
        """Build the model in a floating type, in evaluation mode.

        Raises:
            ModelError: The function of the user's gives something else.
        """
        subject = self.setup.subject
        with self.floating(dtype):
            model = subject.build("paddle")
        if not isinstance(model, self.paddle.nn.Layer):
            raise ModelError(f"{subject.name} gives a {type(model)}; expected a paddle.nn.Layer.")
        if subject.is_own:
            self.cast(model, dtype)
        model.eval()
        return model

    def model(self, dtype: str) -> Any:
        """Build the model and load its weights.

        Raises:
            RunError: They do not fit.
        """
        model = self.build(dtype)
        try:
            load_paddle(model, self.checkpoint)
        except (AssertionError, ValueError) as error:
            reason = str(error).split("\n", 1)[0]
            raise RunError(f"the weights do not fit the Paddle model: {reason}") from error
        return model

    def cast(self, model: Any, dtype: str) -> None:
        """Bring a model to another floating type; Layer.to would cast integers, too."""

        def cast(tensor: Any, device: Any, dtype: Any, blocking: Any) -> Any:
            if not tensor.is_floating_point():
                return tensor
            return model._transform(tensor, device, dtype, blocking)

        model._apply(cast, None, dtype, None, True)

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer within the model."""
        for name, layer in model._sub_layers.items():
            if layer is not None:
                yield name, layer
                yield from ((f"{name}.{inner}", found) for inner, found in self.layers(layer))

    def state_of(self, model: Any) -> dict[str, Any]:
        """Give parameters and buffers by key."""
        state: dict[str, Any] = model.state_dict()
        return state

    def parameters(self, model: Any) -> dict[str, Any]:
        """Give what is trained, by key."""
        return {name: p for name, p in model.named_parameters() if not p.stop_gradient}

    def put_trained(self, array: np.ndarray) -> Any:
        """Bring an array to the device, to be differentiated by."""
        tensor = self.put(array)
        tensor.stop_gradient = False
        return tensor

    def grad(self, loss: Any, wanted: list[Any]) -> Sequence[Any]:
        """Differentiate a loss; None for what it does not depend on."""
        made: Sequence[Any] = self.paddle.grad(loss, wanted, allow_unused=True)
        return made

    def no_grad(self) -> Any:
        """Give the context in which nothing is kept for gradients."""
        return self.paddle.no_grad()

    def is_tensor(self, value: Any) -> bool:
        """Tell whether a value is a tensor."""
        return isinstance(value, self.paddle.Tensor)

    def version(self, tensor: Any) -> int:
        """Count the changes of a tensor in place."""
        version: int = tensor.inplace_version
        return version

    def identity(self, tensor: Any) -> int:
        """Tell a tensor from others; two names of one give the same."""
        return id(tensor)

    def array(self, tensor: Any) -> np.ndarray:
        """Bring a tensor to NumPy."""
        array: np.ndarray = tensor.numpy()
        return array

    def put(self, array: np.ndarray) -> Any:
        """Bring an array to the device."""
        return self.paddle.to_tensor(array)

    def set(self, tensor: Any, array: np.ndarray) -> None:
        """Fill a tensor that is not trained."""
        tensor.set_value(array)

"""Run one framework's model and write the output of every paired layer to disk.

This is the program of the two worker processes: `python -m vitconvert.parity._trace JOB`. Each
imports one framework. `Job` goes in as JSON; a folder with `trace.json` and one `<dtype>.bin` per
precision comes out. Stdout carries a JSON line for each step of progress, [done, total], and at
worst one with the reason why there is no trace, a text: unlike a file, it needs no room on a disk.
"""

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from .._errors import ParityError, VitconvertError, listing
from .._models import build, load_paddle, load_torch
from .._table import Kind, Side, Table, find_variant
from ..checkpoints import Checkpoint, open_checkpoint
from ._witness import read_with_torch

DTYPES = ("float64", "float32")
FAILURE = 3  # exit status: the last line on stdout is the reason
ROOM = "The traces of a large model take up to 7 GB; TMPDIR names another folder."


@dataclass(frozen=True)
class Job:
    """What one worker does; all paths absolute."""

    framework: Side
    variant: str
    checkpoint: str
    weights: str | None
    num_classes: int
    device: str  # auto, cpu or gpu
    inputs: str  # .npy, float32 [B, 3, H, W]
    out: str  # folder for the trace
    # Key -> dtype that its tensor is rounded to first.
    rounded: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """One output of one layer in the trace; `layer` is the PyTorch name on both sides."""

    layer: str
    own_name: str
    kind: str
    shape: tuple[int, ...]
    offset: int  # bytes into <dtype>.bin


class Recorder:
    """Appends arrays to a file as the forward pass produces them."""

    def __init__(self, file: BinaryIO, dtype: str, tick: Callable[[], None]) -> None:
        self.file = file
        self.dtype = dtype
        self.tick = tick
        self.records: list[Record] = []
        self.calls: dict[str, int] = {}

    def add(self, layer: str, own_name: str, kind: str, array: np.ndarray) -> None:
        """Write one output; a layer that runs again gets a number behind its name."""
        if array.dtype != self.dtype:
            raise ParityError(f"{own_name}: gives {array.dtype}, expected {self.dtype}.")
        self.calls[layer] = calls = self.calls.get(layer, 0) + 1
        name = layer if calls == 1 else f"{layer}#{calls}"
        self.records.append(Record(name, own_name, kind, array.shape, self.file.tell()))
        self.file.write(np.ascontiguousarray(array).data)
        self.tick()


# -- the two frameworks, side by side


class TorchSide:
    """Runs the PyTorch model."""

    def __init__(self, job: Job, table: Table, checkpoint: Checkpoint) -> None:
        import torch

        self.torch, self.job, self.table = torch, job, table
        has_gpu = torch.cuda.is_available()
        if job.device == "gpu" and not has_gpu:
            raise ParityError("--device gpu: PyTorch sees no GPU here. Use --device cpu or auto.")
        self.device = "cuda" if has_gpu and job.device != "cpu" else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        self.state, self.reader = read_with_torch(checkpoint)
        for key, dtype in job.rounded.items():
            self.state[key] = self.state[key].to(getattr(torch, dtype))

    def environment(self) -> dict[str, Any]:
        """Say what ran where, settings read back."""
        torch = self.torch
        facts: dict[str, Any] = {"torch": torch.__version__, "device": self.device}
        facts["threads"] = torch.get_num_threads()
        if self.device == "cuda":
            facts["card"] = torch.cuda.get_device_name()
            facts["cuda"] = torch.version.cuda
            facts["cudnn"] = torch.backends.cudnn.version()
            facts["tf32"] = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        return facts

    def model(self, dtype: str) -> Any:
        """Build and fill the model in a floating type."""
        self.torch.set_default_dtype(getattr(self.torch, dtype))
        model = build("torch", find_variant(self.job.variant)[1], self.job.num_classes)
        load_torch(model, self.state, self.table)
        return model.to(self.device).eval()

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer."""
        yield from model.named_modules()

    def hook(self, layer: Any, use: Callable[[Any], None]) -> Callable[[], None]:
        """Call `use` with every output of a layer; returns what takes the hook off."""
        handle = layer.register_forward_hook(lambda _layer, _inputs, output: use(output))
        remove: Callable[[], None] = handle.remove
        return remove

    def forward(self, model: Any, images: np.ndarray) -> Any:
        """Images -> logits or features, without gradients."""
        with self.torch.no_grad():
            return model(self.torch.from_numpy(images).to(self.device))

    def array(self, value: Any) -> np.ndarray:
        """Bring an output to NumPy."""
        array: np.ndarray = value.detach().cpu().numpy()
        return array


class PaddleSide:
    """Runs the Paddle model."""

    def __init__(self, job: Job, checkpoint: Checkpoint) -> None:
        import paddle

        self.paddle: Any = paddle
        self.job, self.reader = job, "vitconvert"
        rounded = {key: checkpoint.tensors[key].cast(to) for key, to in job.rounded.items()}
        self.checkpoint = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, **rounded})
        has_gpu = self.paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
        if job.device == "gpu" and not has_gpu:
            raise ParityError(
                "--device gpu: Paddle sees no GPU here (the package paddlepaddle is CPU only; "
                "paddlepaddle-gpu is not). Use --device cpu or auto."
            )
        self.device = "gpu" if has_gpu and job.device != "cpu" else "cpu"
        self.paddle.set_device(self.device)

    def environment(self) -> dict[str, Any]:
        """Say what ran where, settings read back."""
        paddle = self.paddle
        facts: dict[str, Any] = {"paddle": paddle.__version__, "device": self.device}
        facts["threads"] = int(os.environ.get("OMP_NUM_THREADS", "0"))
        if self.device == "gpu":
            facts["card"] = paddle.device.cuda.get_device_name()
            facts["cuda"] = paddle.version.cuda()
            facts["cudnn"] = paddle.version.cudnn()
            facts["NVIDIA_TF32_OVERRIDE"] = os.environ.get("NVIDIA_TF32_OVERRIDE", "")
        return facts

    def model(self, dtype: str) -> Any:
        """Build and fill the model in a floating type; Layer.to would cast integers, too."""
        self.paddle.set_default_dtype(dtype)
        model = build("paddle", find_variant(self.job.variant)[1], self.job.num_classes)
        load_paddle(model, self.checkpoint)
        model.eval()
        return model

    def layers(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Name every layer."""
        yield from model.named_sublayers()

    def hook(self, layer: Any, use: Callable[[Any], None]) -> Callable[[], None]:
        """Call `use` with every output of a layer; returns what takes the hook off."""
        handle = layer.register_forward_post_hook(lambda _layer, _inputs, output: use(output))
        remove: Callable[[], None] = handle.remove
        return remove

    def forward(self, model: Any, images: np.ndarray) -> Any:
        """Images -> logits or features, without gradients."""
        with self.paddle.no_grad():
            return model(self.paddle.to_tensor(images))

    def array(self, value: Any) -> np.ndarray:
        """Bring an output to NumPy."""
        array: np.ndarray = value.numpy()
        return array


# -- one trace

Paired = tuple[Any, str, str, Kind]  # layer, its PyTorch name, its own name, its kind


def trace(job: Job, say: TextIO) -> None:
    """Carry out a job: run the model in every precision, write the trace."""
    table, _variant = find_variant(job.variant)
    checkpoint = open_checkpoint(job.checkpoint, job.weights)
    side: TorchSide | PaddleSide
    if job.framework == "torch":
        side = TorchSide(job, table, checkpoint)
    else:
        side = PaddleSide(job, checkpoint)
    out, images = Path(job.out), np.load(job.inputs)
    facts: dict[str, Any] = {"environment": side.environment(), "reader": side.reader}
    done = count(1)
    for dtype in DTYPES:
        model = side.model(dtype)
        paired = _paired(side, model, table, job.framework)
        _round_settings(paired, job.framework)
        total = len(DTYPES) * (len(paired) + 1)

        def tick(total: int = total) -> None:
            tell(say, [next(done), total])

        with (out / f"{dtype}.bin").open("wb") as file:
            recorder = Recorder(file, dtype, tick)
            with _hooked(side, recorder, paired):
                output = _forward(side, model, images.astype(dtype), job.framework)
            name = "logits" if job.num_classes else "features"
            for value in output if isinstance(output, list) else [output]:
                recorder.add(name, name, "output", side.array(value))
        facts[dtype] = [dataclasses.asdict(record) for record in recorder.records]
        facts["layers"] = {name: own for _layer, name, own, _kind in paired}
    (out / "trace.json").write_text(json.dumps(facts))


def _forward(side: TorchSide | PaddleSide, model: Any, images: np.ndarray, framework: Side) -> Any:
    try:
        return side.forward(model, images)
    except ValueError as error:
        raise ParityError(f"the {framework} model does not take these images: {error}") from error


def _paired(
    side: TorchSide | PaddleSide, model: Any, table: Table, framework: Side
) -> list[Paired]:
    """Give every layer the table pairs.

    Raises:
        ParityError: A layer is of another class than its kind says.
    """
    layers = dict(side.layers(model))
    paired, problems = [], []
    for own, (torch_name, _paddle_name, kind) in table.layers(framework, layers).items():
        if kind.torch and not _is_class(layers[own], kind, framework):
            found = f"{type(layers[own]).__module__}.{type(layers[own]).__qualname__}"
            problems.append(
                f"{own}: is a {found}, kind '{kind.name}' expects {_class(kind, framework)}."
            )
        paired.append((layers[own], torch_name, own, kind))
    if problems:
        raise ParityError(listing(f"the {framework} model does not fit {table.file}:", problems))
    return paired


def _round_settings(paired: list[Paired], framework: Side) -> None:
    """Give both sides the epsilons that Paddle computes with: their rounding is no fault.

    It shows where a norm sees values that hardly vary, as far as 2e-11 of the largest value.
    """
    for layer, _torch_name, _own, kind in paired:
        if kind.float32:
            attribute = kind.float32[framework]
            setattr(layer, attribute, float(np.float32(getattr(layer, attribute))))


def _class(kind: Kind, framework: Side) -> str:
    return kind.torch if framework == "torch" else kind.paddle


def _is_class(layer: Any, kind: Kind, framework: Side) -> bool:
    """Tell whether a layer is of exactly the class that its kind names."""
    module, _, name = _class(kind, framework).rpartition(".")
    return type(layer) is getattr(sys.modules[module], name)


@contextmanager
def _hooked(
    side: TorchSide | PaddleSide, recorder: Recorder, paired: list[Paired]
) -> Iterator[None]:
    def hook(layer: Any, name: str, own: str, kind: Kind) -> Callable[[], None]:
        return side.hook(layer, lambda out: recorder.add(name, own, kind.name, side.array(out)))

    removers = [hook(*entry) for entry in paired]
    try:
        yield
    finally:
        for remove in removers:
            remove()


def main(job_file: str) -> None:
    """Run the job in a JSON file; the exit status of a foreseeable failure is 3."""
    job = Job(**json.loads(Path(job_file).read_text()))
    # Frameworks print to stdout as they please; progress gets a descriptor of its own.
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        trace(job, say)
    except (VitconvertError, OSError, MemoryError) as error:
        reason = str(error) or "out of memory"
        if not isinstance(error, VitconvertError):
            reason = f"the {job.framework} process cannot go on: {reason}. {ROOM}"
        tell(say, reason)
        sys.exit(FAILURE)


def tell(parent: TextIO, message: object) -> None:
    """Send the parent process one line."""
    print(json.dumps(message), file=parent, flush=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however it went."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])

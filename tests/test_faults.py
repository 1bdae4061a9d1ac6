"""Every planted fault is caught by parity, and the layer with the fault is named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Make, arrays, write_paddle
from tracing import compared, culprit, parity, trace, traced_once
from vitconvert import CheckpointError, ParityError, _models, _table
from vitconvert.parity import _compare, _trace

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def torch_trace(official: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the trace of Shunted-T in PyTorch, run once; models are built once, too."""
    with traced_once("shunted_t", official, tmp_path_factory.mktemp("trace")) as folder:
        yield folder


# -- planted faults: what was changed in the Paddle file, and the layer that must be named


def turn(key: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[key] = np.ascontiguousarray(state[key].T)

    return plant


def exchange(one: str, other: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[one], state[other] = state[other], state[one]

    return plant


def exchange_q_and_k(state: State) -> None:
    q, kv = state["block4.0.attn.q.weight"], state["block4.0.attn.kv.weight"]  # [in, out]
    state["block4.0.attn.q.weight"] = kv[:, :512].copy()
    state["block4.0.attn.kv.weight"] = np.concatenate([q, kv[:, 512:]], 1)


def exchange_k_and_v(state: State) -> None:
    kv = state["block2.0.attn.kv1.weight"]
    state["block2.0.attn.kv1.weight"] = np.roll(kv, 64, 1)


def no_bias(key: str) -> Callable[[State], None]:
    def plant(state: State) -> None:
        state[key] = np.zeros_like(state[key])

    return plant


def fresh_statistics(state: State) -> None:
    state["patch_embed1.conv.1._mean"] = np.zeros(64, "f4")
    state["patch_embed1.conv.1._variance"] = np.ones(64, "f4")


def one_nan(state: State) -> None:
    state["block3.1.mlp.fc2.bias"][7] = np.nan


def one_element(state: State) -> None:
    state["head.weight"][3, 5] += 1e-3


FAULTS = {
    "q exchanged with k": (exchange_q_and_k, "block4.0.attn.q"),
    "k exchanged with v": (exchange_k_and_v, "block2.0.attn.kv1"),
    "q exchanged with proj": (
        exchange("block3.0.attn.q.weight", "block3.0.attn.proj.weight"),
        "block3.0.attn.q",
    ),
    "two norms exchanged": (
        exchange("block2.1.norm1.weight", "block2.1.norm2.weight"),
        "block2.1.norm1",
    ),
    "bias of a linear layer zero": (no_bias("block1.0.mlp.fc1.bias"), "block1.0.mlp.fc1"),
    "bias of a norm zero": (no_bias("norm3.bias"), "norm3"),
    "bias of a convolution zero": (no_bias("patch_embed3.proj.bias"), "patch_embed3.proj"),
    "statistics as before training": (fresh_statistics, "patch_embed1.conv.1"),
    "one NaN": (one_nan, "block3.1.mlp.fc2"),
    "one element off by 1e-3": (one_element, "head"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught_and_named(
    fault: str, torch_trace: Path, converted: Make, tmp_path: Path
) -> None:
    """Not the same, and the first diverging layer is the one with the fault."""
    plant, layer = FAULTS[fault]
    state = arrays(converted("shunted_t"))
    plant(state)

    assert culprit(torch_trace, write_paddle(tmp_path / "x", state)) == layer


# -- planted faults in the Paddle model: what it does instead, and the layer that must be named


def replaced(path: str, method: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """Replace a method of a class, `shiftvit.Shift.forward` or `paddle.nn.GroupNorm.forward`."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        prefix = "" if path.startswith("paddle.") else "vitconvert.models_paddle."
        patch.setattr(prefix + path, method)

    return plant


def shift_with(ways: list[tuple[int, int]], border: str) -> Callable:
    """Shift group k by ways[k] = (down, right); what comes in is zero, the old value, or round."""

    def forward(self: Any, x: Any) -> Any:
        import paddle

        g = x.shape[1] // self.n_div
        groups = []
        for k, (down, right) in enumerate(ways):
            old = x[:, k * g : (k + 1) * g].numpy()
            new = np.roll(old, (down, right), (2, 3))
            for axis, step in ((2, down), (3, right)):
                edge = [slice(None)] * 4
                edge[axis] = 0 if step > 0 else -1
                if step and border != "round":
                    new[tuple(edge)] = old[tuple(edge)] if border == "old" else 0
            groups.append(paddle.to_tensor(new))
        return paddle.concat([*groups, x[:, 4 * g :]], 1)

    return forward


SHIFT = [(0, -1), (0, 1), (-1, 0), (1, 0)]


def channel_norm(self: Any, x: Any) -> Any:
    import paddle

    x = paddle.nn.functional.layer_norm(
        x.transpose([0, 2, 3, 1]), x.shape[1:2], self.weight, self.bias, 1e-5
    )
    return x.transpose([0, 3, 1, 2])


def shortcut_before_shift(self: Any, x: Any) -> Any:
    return x + self.mlp(self.norm2(self.shift(x)))


def pool_before_norm(self: Any, x: Any) -> Any:
    x = self.patch_embed(x)
    for stage in self.layers:
        x = stage(x)
    return self.norm(x.mean([2, 3], True)).flatten(1)


def offsets_in_order(order: list[int]) -> Callable:
    """Read the eight channels of the offsets in another order; none of them if it is empty."""

    def forward(self: Any, x: Any) -> Any:
        from paddle.vision.ops import deform_conv2d

        offset = self.conv_offset(x)
        offset = offset[:, order] if order else offset * 0
        return deform_conv2d(x, offset, self.weight, self.bias, 2)

    return forward


def no_bias_in_merge(self: Any, x: Any) -> Any:
    from paddle.vision.ops import deform_conv2d

    return deform_conv2d(x, self.conv_offset(x), self.weight, None, 2)


def border_value_outside(self: Any, x: Any) -> Any:
    import paddle
    from paddle.vision.ops import deform_conv2d

    pad = paddle.nn.functional.pad
    offset = pad(self.conv_offset(x), [4, 4, 4, 4])  # at stride 2 as wide as the border of x
    x = pad(x, [8, 8, 8, 8], "replicate")
    return deform_conv2d(x, offset, self.weight, self.bias, 2)[:, :, 4:-4, 4:-4]


def pool_before_norm_in_litv2(self: Any, x: Any) -> Any:
    return self.norm(self.forward_stages(x)[-1][0].mean(1))


def no_gelu_after_merge(self: Any, x: Any, h: int, w: int) -> Any:
    b, _, c = x.shape
    x = self.dconv(x.transpose([0, 2, 1]).reshape([b, c, h, w]))
    return self.norm_layer(x).flatten(2).transpose([0, 2, 1])


def residual_in_mlp(self: Any, x: Any, h: int, w: int) -> Any:
    import paddle

    x = self.fc1(x)
    return self.fc2(paddle.nn.functional.gelu(x + self.dwconv(x, h, w)))


def lofi_first(self: Any, x: Any, h: int, w: int) -> Any:
    import paddle

    b, n, c = x.shape
    x = x.reshape([b, h, w, c])
    parts = [f(x) for f, heads in ((self.lofi, self.l_heads), (self.hifi, self.h_heads)) if heads]
    return paddle.concat(parts, -1).reshape([b, n, c])


def gelu_by_tanh(x: Any, *_: Any) -> Any:
    import paddle

    return 0.5 * x * (1 + paddle.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def eps_of(name: str, eps: float) -> Callable[[pytest.MonkeyPatch], None]:
    """Let every norm of a class have another epsilon."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        import paddle

        norm = getattr(paddle.nn, name)
        forward = norm.forward

        def with_eps(self: Any, x: Any) -> Any:
            own, self._epsilon = self._epsilon, eps
            try:
                return forward(self, x)
            finally:
                self._epsilon = own

        patch.setattr(norm, "forward", with_eps)

    return plant


def shift_fault(ways: list[tuple[int, int]], border: str = "zero") -> tuple:
    return replaced("shiftvit.Shift.forward", shift_with(ways, border)), "layers.0.blocks.0.shift"


def offset_fault(order: list[int]) -> tuple:
    return replaced("litv2.DeformConv2d.forward", offsets_in_order(order)), MERGE + ".dconv"


MERGE = "layers.0.downsample"
MODEL_FAULTS = {
    "shiftvit_cifar": {
        "old value kept at the border": shift_fault(SHIFT, "old"),
        "shift goes round": shift_fault(SHIFT, "round"),
        "left exchanged with right": shift_fault([SHIFT[k] for k in (1, 0, 2, 3)]),
        "up exchanged with down": shift_fault([SHIFT[k] for k in (0, 1, 3, 2)]),
        "no shift": shift_fault([(0, 0)] * 4),
        "shortcut before the shift": (
            replaced("shiftvit.Block.forward", shortcut_before_shift),
            "layers.0.blocks.0",
        ),
        "channel LayerNorm for GroupNorm(1)": (
            replaced("paddle.nn.GroupNorm.forward", channel_norm),
            "patch_embed.norm",
        ),
        "eps of GroupNorm": (eps_of("GroupNorm", 1e-6), "patch_embed.norm"),
        "GELU by tanh": (
            replaced("paddle.nn.functional.gelu", gelu_by_tanh),
            "layers.0.blocks.0.mlp.fc2",
        ),
        "pool before norm": (
            replaced("shiftvit.ShiftViT.forward_features", pool_before_norm),
            "norm",
        ),
    },
    "litv2_cifar": {
        "x and y offsets exchanged": offset_fault([1, 0, 3, 2, 5, 4, 7, 6]),
        "four y offsets, then four x": offset_fault([0, 4, 1, 5, 2, 6, 3, 7]),
        "points of the kernel column by column": offset_fault([0, 1, 4, 5, 2, 3, 6, 7]),
        "no offsets": offset_fault([]),
        "no bias in the merge": (
            replaced("litv2.DeformConv2d.forward", no_bias_in_merge),
            MERGE + ".dconv",
        ),
        "border value outside": (
            replaced("litv2.DeformConv2d.forward", border_value_outside),
            MERGE + ".dconv",
        ),
        "pool before norm": (
            replaced("litv2.LITv2.forward_features", pool_before_norm_in_litv2),
            "norm",
        ),
        "no GELU after the merge": (replaced("litv2.DTM.forward", no_gelu_after_merge), MERGE),
        "eps of LayerNorm": (eps_of("LayerNorm", 1e-6), "patch_embed.norm"),
        "eps of BatchNorm": (eps_of("BatchNorm2D", 1e-3), MERGE + ".norm_layer"),
        "residual in the MLP": (
            replaced("litv2.DWMlp.forward", residual_in_mlp),
            "layers.0.blocks.0.mlp.fc2",
        ),
        "low frequencies before high": (
            replaced("litv2.HiLo.forward", lofi_first),
            "layers.2.blocks.0.attn",
        ),
        "GELU by tanh": (
            replaced("paddle.nn.functional.gelu", gelu_by_tanh),
            "layers.0.blocks.0.mlp.fc2",
        ),
    },
}


@pytest.mark.parametrize("variant", MODEL_FAULTS)
def test_every_fault_planted_in_the_model_is_caught_and_named(
    variant: str, official: Make, converted: Make, tmp_path: Path
) -> None:
    """The weights are right, the Paddle model does something else; without it, nothing is found."""
    with traced_once(variant, official, tmp_path, size=64) as folder:
        named = {}
        for fault, (plant, _layer) in MODEL_FAULTS[variant].items():
            with pytest.MonkeyPatch.context() as patch:
                plant(patch)
                named[fault] = culprit(folder, converted(variant), variant)
        clean = culprit(folder, converted(variant), variant)

    assert named == {fault: layer for fault, (_, layer) in MODEL_FAULTS[variant].items()}
    assert clean is None


@pytest.mark.parametrize(
    "key", ["patch_embed1.conv.1._mean", "patch_embed1.conv.1._variance", "block1.0.attn.q.bias"]
)
def test_missing_tensor_is_refused_by_name(
    key: str, official: Make, converted: Make, tmp_path: Path
) -> None:
    """BatchNorm statistics or a bias that is not in the file at all."""
    state = arrays(converted("shunted_t"))
    shape = list(state.pop(key).shape)

    with pytest.raises(CheckpointError) as caught:
        parity("shunted_t", official("shunted_t"), write_paddle(tmp_path / "x", state))
    assert f"{key}: missing; expected {shape}" in str(caught.value)


def square_linear_layers(variant: str) -> list[str]:
    """Name the square linear weights: a wrong transpose of these passes every shape check."""
    table, found = _table.find_variant(variant)
    return [
        claim.target
        for key, shape in found.shapes.items()
        for claim in table.claims(key)
        if claim.rule.transpose and claim.target and shape[0] == shape[1]
    ]


@pytest.mark.parametrize(
    ("variant", "count"),
    [("shunted_t", 30), pytest.param("shunted_b", 128, marks=pytest.mark.slow)],
)
def test_every_square_linear_left_untransposed_is_named(
    variant: str, count: int, official: Make, converted: Make, tmp_path: Path
) -> None:
    """Each square layer in turn, by its outputs alone."""
    keys = square_linear_layers(variant)
    clean = arrays(converted(variant))
    assert len(keys) == count

    with traced_once(variant, official, tmp_path) as folder:
        for key in keys:
            state = dict(clean)
            turn(key)(state)
            paddle = write_paddle(tmp_path / "x.pdparams", state)
            assert culprit(folder, paddle, variant) == key.removesuffix(".weight")


def test_nothing_is_found_where_nothing_is_wrong(torch_trace: Path, converted: Make) -> None:
    """The way the planted faults are tested raises no false alarm."""
    assert culprit(torch_trace, converted("shunted_t")) is None


def test_layer_of_another_class_is_refused(
    torch_trace: Path, converted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-alike of paddle.nn.Linear is not what the kind says."""
    import paddle

    class Lookalike(paddle.nn.Linear):
        pass

    linear = paddle.nn.Linear
    model = _models.build("paddle", _table.variants()["shunted_t"], 1000)
    model.block1[0].attn.q.__class__ = Lookalike
    monkeypatch.setattr(_job, "build", lambda *_: model)

    with pytest.raises(ParityError, match=r"block1\.0\.attn\.q: is a .*Lookalike, kind 'linear'"):
        trace(torch_trace, "paddle", converted("shunted_t"))
    assert paddle.nn.Linear is linear


def test_layers_that_did_not_run_on_both_sides_fail(torch_trace: Path, converted: Make) -> None:
    """A layer never called, called once too often, or of another shape."""
    trace(torch_trace, "paddle", converted("shunted_t"))
    file = torch_trace / "paddle" / "trace.json"
    facts = json.loads(file.read_text())

    def verdicts(change: Callable[[list[dict]], list[dict]], **layers: str) -> dict[str, str]:
        changed = {dtype: change(facts[dtype]) for dtype in _trace.DTYPES}
        file.write_text(json.dumps(facts | changed | {"layers": facts["layers"] | layers}))
        sides = (_compare.Trace(torch_trace / side) for side in ("torch", "paddle"))
        return {r.layer: r.verdict for r in _compare.compare(*sides, {}, lambda *_: None)}

    first = facts["float64"][0]["layer"]
    assert verdicts(lambda records: records[1:])[first] == "missing"
    assert verdicts(lambda r: [*r, {**r[0], "layer": "again#2"}])["again#2"] == "missing"
    reshaped = verdicts(lambda r: [{**r[0], "shape": [*r[0]["shape"], 1]}, *r[1:]])
    assert reshaped[first] == "shape"
    assert verdicts(lambda records: records, block9="block9")["block9"] == "missing"
    assert set(verdicts(lambda records: records).values()) == {"same"}

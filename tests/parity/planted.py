"""Faults to plant, of each what must be named: the layer, and words of the cause."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

State = dict[str, np.ndarray]


class Fault(NamedTuple):
    """What is done, the layer that must be named, and words that must be said of it."""

    plant: Callable[[Any], None]
    layer: str
    words: str = ""
    builds: bool = False  # whether models must be built anew to have it


# -- in the weights of the Paddle file


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


def reversed_channels(state: State) -> None:
    state["patch_embed1.conv.0.weight"] = state["patch_embed1.conv.0.weight"][:, ::-1].copy()


def channels_of_equal_mean(state: State) -> None:
    """Exchange two channels after giving them the same mean: no mean shows it."""
    weight = state["block3.2.mlp.fc1.weight"]  # [in, out]
    weight[:, [3, 4]] = weight[:, [4, 3]]


def half(state: State) -> None:
    state["block2.1.mlp.fc2.weight"] = state["block2.1.mlp.fc2.weight"].astype("f2").astype("f4")


def scaled(state: State) -> None:
    state["block1.0.norm2.weight"] *= np.float32(1.25)


def turned_kernels(state: State) -> None:
    key = "block2.0.mlp.dwconv.dwconv.weight"
    state[key] = state[key].swapaxes(2, 3).copy()


WEIGHT_FAULTS = {
    "square linear layer not transposed": Fault(
        turn("block2.0.attn.proj.weight"),
        "block2.0.attn.proj",
        "its weight equals the source's untransposed",
    ),
    "q exchanged with k": Fault(exchange_q_and_k, "block4.0.attn.q", "such as q with k"),
    "k exchanged with v": Fault(
        exchange_k_and_v, "block2.0.attn.kv1", "holds its parts as v, k, expected k, v"
    ),
    "q exchanged with proj": Fault(
        exchange("block3.0.attn.q.weight", "block3.0.attn.proj.weight"),
        "block3.0.attn.q",
        "its weight equals that of `block3.0.attn.proj.weight`: exchanged",
    ),
    "two norms exchanged": Fault(
        exchange("block2.1.norm1.weight", "block2.1.norm2.weight"),
        "block2.1.norm1",
        "its weight equals that of `block2.1.norm2.weight`: exchanged",
    ),
    "bias of a linear layer zero": Fault(
        no_bias("block1.0.mlp.fc1.bias"), "block1.0.mlp.fc1", "its bias is zero throughout"
    ),
    "bias of a norm zero": Fault(no_bias("norm3.bias"), "norm3", "its bias is zero throughout"),
    "bias of a convolution zero": Fault(
        no_bias("patch_embed3.proj.bias"), "patch_embed3.proj", "its bias is zero throughout"
    ),
    "statistics as before training": Fault(
        fresh_statistics, "patch_embed1.conv.1", "the statistics are missing"
    ),
    "one NaN": Fault(one_nan, "block3.1.mlp.fc2", "its bias has 1 value that is not finite"),
    "one element off by 1e-3": Fault(
        one_element, "head", "its weight differs in 1 of 512000 elements, most at [5, 3]"
    ),
    "one tensor rounded to float16": Fault(
        half, "block2.1.mlp.fc2", "its weight was rounded to float16"
    ),
    "BGR for RGB": Fault(reversed_channels, "patch_embed1.conv.0", "such as BGR for RGB"),
    "two channels exchanged": Fault(
        channels_of_equal_mean, "block3.2.mlp.fc1", "its output channels in another order"
    ),
    "a weight times 1.25": Fault(scaled, "block1.0.norm2", "is the reference's times 1.25"),
    "kernels transposed": Fault(
        turned_kernels, "block2.0.mlp.dwconv.dwconv", "has its kernels transposed"
    ),
}


# -- in the Paddle model: what it does instead


def replaced(path: str, method: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Replace a method of a class, `shiftvit.Shift.forward` or `paddle.nn.GroupNorm.forward`."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        prefix = "" if path.startswith("paddle.") else "vitconvert.models_paddle."
        patch.setattr(prefix + path, method)

    return plant


def shift_with(ways: list[tuple[int, int]], border: str) -> Callable[..., Any]:
    """Shift group k by ways[k] = (down, right); what comes in is zero, the old value, or round."""

    def forward(self: Any, x: Any) -> Any:
        import paddle

        g = x.shape[1] // self.n_div
        groups = []
        for k, (down, right) in enumerate(ways):
            old = x[:, k * g : (k + 1) * g].numpy()
            new = np.roll(old, (down, right), (2, 3))
            for axis, step in ((2, down), (3, right)):
                edge: list[Any] = [slice(None)] * 4
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


def offsets_in_order(order: list[int]) -> Callable[..., Any]:
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

    both = ((self.lofi, self.l_heads), (self.hifi, self.h_heads))
    return paddle.concat([part(x, h, w) for part, heads in both if heads], -1)


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


# -- Shunted: what its code says otherwise


def mlp_of(
    inside: Callable[[Any, Any, Any], Any], call: bool = True
) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the MLP compute something else of gelu, fc1's output and the convolution's of it."""

    def forward(self: Any, x: Any, h: int, w: int) -> Any:
        from paddle.nn.functional import gelu

        x = self.fc1(x)
        return self.fc2(inside(gelu, x, self.dwconv(x, h, w) if call else None))

    return replaced("shunted.Mlp.forward", forward)


def attend_with(local: bool = True, gelu: bool = True) -> Callable[..., Any]:
    """Attend without the local convolution of v, or without the GELU after the norms."""

    def attend(self: Any, q: Any, x: Any, norm: Any, kv: Any, local_conv: Any) -> Any:
        from paddle.nn.functional import gelu as act
        from paddle.nn.functional import softmax

        b, c, h, w = x.shape
        x = norm(x.flatten(2).transpose([0, 2, 1]))
        x = act(x) if gelu else x
        heads = kv(x).reshape([b, h * w, 2, self.num_heads // 2, self.head_dim])
        k, v = heads.transpose([2, 0, 3, 1, 4]).unbind(0)
        near = local_conv(v.transpose([0, 1, 3, 2]).reshape([b, c // 2, h, w]))
        near = near.reshape([b, self.num_heads // 2, self.head_dim, h * w])
        v = v + near.transpose([0, 1, 3, 2]) if local else v
        attn = q @ k.transpose([0, 1, 3, 2]) * self.head_dim**-0.5
        x = softmax(attn, -1) @ v
        return x.transpose([0, 2, 1, 3]).reshape([b, q.shape[2], c // 2])

    return attend


def swapped_heads(self: Any, x: Any, h: int, w: int) -> Any:
    import paddle

    b, n, c = x.shape
    q = self.q(x).reshape([b, n, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])
    q2, q1 = q.chunk(2, 1)
    x = x.transpose([0, 2, 1]).reshape([b, c, h, w])
    x1 = self.attend(q1, self.sr1(x), self.norm1, self.kv1, self.local_conv1)
    x2 = self.attend(q2, self.sr2(x), self.norm2, self.kv2, self.local_conv2)
    return self.proj_drop(self.proj(paddle.concat([x1, x2], -1)))


def pool_before_norm_in_shunted(self: Any, x: Any) -> Any:
    for i in range(1, self.num_stages + 1):
        x, h, w = getattr(self, f"patch_embed{i}")(x)
        for block in getattr(self, f"block{i}"):
            x = block(x, h, w)
        norm = getattr(self, f"norm{i}")
        x = norm(x) if i < self.num_stages else norm(x.mean(1))
        if i < self.num_stages:
            x = x.transpose([0, 2, 1]).reshape([x.shape[0], x.shape[2], h, w])
    return x


def several(
    *plants: Callable[[pytest.MonkeyPatch], None],
) -> Callable[[pytest.MonkeyPatch], None]:
    """Do more than one thing wrong."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for one in plants:
            one(patch)

    return plant


def settings_of(kind: str, attribute: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Build every layer of a class with another setting."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        import paddle

        built = getattr(paddle.nn, kind).__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            built(self, *args, **kwargs)
            setattr(self, attribute, value)

        patch.setattr(getattr(paddle.nn, kind), "__init__", init)

    return plant


def official_naive_merge(self: Any, x: Any) -> Any:
    """Sample as the repository's own deform_conv2d_naive: other corners, no bias."""
    import paddle
    from paddle.vision.ops import deform_conv2d

    offset = self.conv_offset(x)
    (h, w), (rows, columns) = x.shape[2:], offset.shape[2:]
    places = np.zeros(offset.shape)
    for point in range(4):
        places[:, 2 * point] = 2 * np.arange(rows)[:, None] + point // 2
        places[:, 2 * point + 1] = 2 * np.arange(columns) + point % 2
    own = paddle.to_tensor(places.astype(str(offset.dtype).rpartition(".")[2]))
    sizes = paddle.to_tensor(np.array([h, w] * 4).reshape(1, 8, 1, 1)).astype(offset.dtype)
    sampled = (own + offset) * sizes / (sizes - 1) - 0.5  # normalised for one, read for the other
    return deform_conv2d(x, sampled - own, self.weight, None, 2)


def shift_fault(ways: list[tuple[int, int]], border: str = "zero") -> Fault:
    plant = replaced("shiftvit.Shift.forward", shift_with(ways, border))
    return Fault(plant, "layers.0.blocks.0.shift", "it is its code")


def offset_fault(order: list[int]) -> Fault:
    plant = replaced("litv2.DeformConv2d.forward", offsets_in_order(order))
    return Fault(plant, MERGE + ".dconv", "it is its own code, after the last of them")


MERGE = "layers.0.downsample"
MODEL_FAULTS = {
    "shunted_cifar_tiny": {
        "a layer never called": Fault(
            mlp_of(lambda gelu, x, _conv: gelu(x), call=False),
            "block1.0.mlp.dwconv.dwconv",
            "the Paddle model did not run this layer",
        ),
        "GELU by tanh": Fault(
            replaced("paddle.nn.functional.gelu", gelu_by_tanh),
            "block1.0.attn",
            "gives to `block1.0.attn.kv1` comes of GELU by tanh",
        ),
        "every LayerNorm's eps 1e-5": Fault(
            settings_of("LayerNorm", "_epsilon", 1e-5),
            "block1.0.norm1",
            "eps is 1e-06 in torch, 1e-05 in Paddle",
            True,
        ),
        "every LayerNorm's eps 1e-6": Fault(
            settings_of("LayerNorm", "_epsilon", 1e-6),
            "patch_embed1.norm",
            "eps is 1e-05 in torch, 1e-06 in Paddle",
            True,
        ),
        "eps of BatchNorm": Fault(
            settings_of("BatchNorm2D", "_epsilon", 1e-3),
            "patch_embed1.conv.1",
            "eps is 1e-05 in torch, 0.001 in Paddle",
            True,
        ),
        "momentum of BatchNorm": Fault(
            settings_of("BatchNorm2D", "_momentum", 0.1),
            "patch_embed1.conv.1",
            "momentum is 0.1 in torch, 0.9 in Paddle",
            True,
        ),
        "dropout that scales in evaluation": Fault(
            several(
                settings_of("Dropout", "p", 1e-12),
                settings_of("Dropout", "mode", "downscale_in_infer"),
            ),
            "block1.0.attn.attn_drop",
            "mode is upscale_in_train in torch, downscale_in_infer in Paddle",
            True,
        ),
        "act(dwconv)": Fault(
            mlp_of(lambda gelu, _x, conv: gelu(conv)),
            "block1.0.mlp",
            "before it calls `block1.0.mlp.fc2`",
        ),
        "x + act(dwconv)": Fault(
            mlp_of(lambda gelu, x, conv: x + gelu(conv)),
            "block1.0.mlp",
            "before it calls `block1.0.mlp.fc2`",
        ),
        "act(x) + dwconv": Fault(
            mlp_of(lambda gelu, x, conv: gelu(x) + conv),
            "block1.0.mlp",
            "before it calls `block1.0.mlp.fc2`",
        ),
        "no local convolution of v": Fault(
            replaced("shunted.ShuntedAttention.attend", attend_with(local=False)),
            "block1.0.attn",
            "before it calls `block1.0.attn.proj`",
        ),
        "no GELU after the norms": Fault(
            replaced("shunted.ShuntedAttention.attend", attend_with(gelu=False)),
            "block1.0.attn",
            "gives to `block1.0.attn.kv1` comes of no activation",
        ),
        "halves of the heads exchanged": Fault(
            replaced("shunted.ShuntedAttention.forward", swapped_heads),
            "block1.0.attn",
            "before it calls `block1.0.attn.proj`",
        ),
        "pool before norm": Fault(
            replaced("shunted.ShuntedTransformer.forward_features", pool_before_norm_in_shunted),
            "logits",
            "gives to `norm3` is float64 [1, 160]",
        ),
    },
    "shiftvit_cifar_tiny": {
        "old value kept at the border": shift_fault(SHIFT, "old"),
        "shift goes round": shift_fault(SHIFT, "round"),
        "left exchanged with right": shift_fault([SHIFT[k] for k in (1, 0, 2, 3)]),
        "up exchanged with down": shift_fault([SHIFT[k] for k in (0, 1, 3, 2)]),
        "no shift": shift_fault([(0, 0)] * 4),
        "shortcut before the shift": Fault(
            replaced("shiftvit.Block.forward", shortcut_before_shift),
            "layers.0.blocks.0",
        ),
        "channel LayerNorm for GroupNorm(1)": Fault(
            replaced("paddle.nn.GroupNorm.forward", channel_norm),
            "patch_embed.norm",
            "a norm over the channels of each position where the reference has group_norm",
        ),
        "eps of GroupNorm": Fault(
            eps_of("GroupNorm", 1e-6), "patch_embed.norm", "with eps 1e-06, expected 1e-05"
        ),
        "GELU by tanh": Fault(
            replaced("paddle.nn.functional.gelu", gelu_by_tanh),
            "layers.0.blocks.0.mlp.act",
            "comes of GELU by tanh, the reference's of GELU by erf",
        ),
        "pool before norm": Fault(
            replaced("shiftvit.ShiftViT.forward_features", pool_before_norm),
            "logits",
            "gives to `norm` is float64 [1, 192, 1, 1]",
        ),
    },
    "litv2_cifar_tiny": {
        "x and y offsets exchanged": offset_fault([1, 0, 3, 2, 5, 4, 7, 6]),
        "four y offsets, then four x": offset_fault([0, 4, 1, 5, 2, 6, 3, 7]),
        "points of the kernel column by column": offset_fault([0, 1, 4, 5, 2, 3, 6, 7]),
        "no offsets": offset_fault([]),
        "no bias in the merge": Fault(
            replaced("litv2.DeformConv2d.forward", no_bias_in_merge),
            MERGE + ".dconv",
            "differs by one constant per channel",
        ),
        "border value outside": Fault(
            replaced("litv2.DeformConv2d.forward", border_value_outside),
            MERGE + ".dconv",
        ),
        "pool before norm": Fault(
            replaced("litv2.LITv2.forward_features", pool_before_norm_in_litv2),
            "logits",
            "gives to `norm` is float64 [1, 128]",
        ),
        "no GELU after the merge": Fault(
            replaced("litv2.DTM.forward", no_gelu_after_merge),
            MERGE,
            "comes of no activation, the reference's of GELU by erf",
        ),
        "eps of LayerNorm": Fault(
            eps_of("LayerNorm", 1e-6), "patch_embed.norm", "with eps 1e-06, expected 1e-05"
        ),
        "eps of BatchNorm": Fault(
            eps_of("BatchNorm2D", 1e-3), MERGE + ".norm_layer", "with eps 0.001, expected 1e-05"
        ),
        "residual in the MLP": Fault(
            replaced("litv2.DWMlp.forward", residual_in_mlp),
            "layers.0.blocks.0.mlp",
            "before it calls `layers.0.blocks.0.mlp.fc2`",
        ),
        "low frequencies before high": Fault(
            replaced("litv2.HiLo.forward", lofi_first),
            "layers.1.blocks.0.attn",
            "in another order",
        ),
        "GELU by tanh": Fault(
            replaced("paddle.nn.functional.gelu", gelu_by_tanh),
            "layers.0.blocks.0.mlp",
            "gives to `layers.0.blocks.0.mlp.fc2` comes of GELU by tanh",
        ),
        "the repository's own deform_conv2d_naive": Fault(
            replaced("litv2.DeformConv2d.forward", official_naive_merge), MERGE + ".dconv"
        ),
        "eps of LayerNorm as built": Fault(
            settings_of("LayerNorm", "_epsilon", 1e-6),
            "patch_embed.norm",
            "eps is 1e-05 in torch, 1e-06 in Paddle",
            True,
        ),
    },
}

"""The Markdown table that reviewers of a port ask for."""

from dataclasses import replace

import pytest

from vitconvert.parity._compare import LayerResult, SettingResult
from vitconvert.parity._figures import InputResult, OutputFigures, pooled
from vitconvert.parity._markdown import Row, markdown, page, row_of
from vitconvert.parity._report import Report
from vitconvert.version import __version__

NOISE = {"shape": [1, 3, 32, 48], "noise": "input:tiny:1x3x32x48", "seed": 0, "sha256": "c" * 64}


def figures(run: str, most: float | None, samples: int = 1, same: float = 1.0) -> OutputFigures:
    return OutputFigures(run, most, most, 1e-6, 2e-6, same, samples)


def report() -> Report:
    """Give a report of two inputs, proved."""
    layer = LayerResult("fc", "fc", "linear", (1, 8), "same", alone=0.0, float64=1e-15)
    first = figures("float64", 1e-15), figures("float32", 2e-6)
    second = figures("float64", 3e-15, 8), figures("float32", 1.1e-6, 8, 0.875)
    inputs = {**NOISE, "shape": [8, 3, 32, 48], "sha256": "d" * 64}
    torch = {"framework": "torch", "label": "torch", "torch": "2.13", "file": "s.pth"}
    torch |= {"python": "3.11.7", "model": "net.Net"}
    paddle = {"framework": "paddle", "label": "Paddle", "paddle": "3.3", "file": "a|`b`.pdparams"}
    on_gpu = {"device": "gpu", "card": "a card", "tf32": True}
    return Report(
        model="tiny",
        reference={**torch, "sha256": "a" * 64, "device": "cpu"},
        candidate={**paddle, "sha256": "b" * 64, **on_gpu},
        inputs=NOISE,
        layers=(layer, replace(layer, layer="logits", kind="output")),
        settings=(SettingResult("fc", "linear", "x", 1, 1, True),),
        output=first,
        further=(InputResult(inputs, second, True, 3e-15),),
        parameters=1234567,
        weights=4,
        never_run=("aux",),
        seconds=1.5,
        date="2026-02-01 12:34 UTC",
    )


def test_the_table_of_one_pair() -> None:
    """The figures over all inputs, on what they were measured, and how."""
    assert markdown(report(), 1e-4, "vitconvert parity tiny") == (
        f"""\
**tiny: PROVED**, both checkpoints compute the same function.

| model | input | parameters | max \\|Δ\\| float32 | mean \\|Δ\\| float32 | limit | result \
| max \\|Δ\\| float64 | same top-1 | proof |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| tiny | 32x48 | 1,234,567 | 2e-06 | 1.2e-06 | 1e-4 | PASS | 3e-15 | 8/9 | PROVED |

- layers: 2 of 2 the same, in the model and alone, each element by element
- weights: 4 tensors compared exactly; settings: all the same
- inputs: 2 (1 seed x batch 1, 8) of seeded noise; the layers are compared with 1x3x32x48 \
(`input:tiny:1x3x32x48`), sha256 `cccccccccccc`, the output with all
- largest own float32 error of the output, against float64: torch 1e-06, Paddle 2e-06
- torch 2.13 on cpu, Python 3.11.7, TF32 off, `net.Net`: `s.pth` (sha256 `{"a" * 64}`)
- Paddle 3.3 on a card, TF32 on: `` a|`b`.pdparams `` (sha256 `{"b" * 64}`)
- compared on 2026-02-01 12:34 UTC, in 1.5 s
- not compared, because neither model runs them: aux
- PASS: nothing is wrong in the proof, and max |Δ| in float32 is below 1e-4; Δ is absolute, over \
all elements of `logits` with all inputs
- made with vitconvert {__version__}

<details>
<summary>2 outputs, layer by layer: differences relative to the largest value</summary>

| layer | kind | verdict | alone float64 | model float64 | torch float32 | Paddle float32 |
| --- | --- | --- | ---: | ---: | ---: | ---: |
| `fc` | `linear` | same | 0 | 1e-15 | - | - |
| `logits` | `output` | same | 0 | 1e-15 | - | - |

</details>

```bash
vitconvert parity tiny
```
"""
    )


@pytest.mark.parametrize(
    ("most", "same", "proves", "result"),
    [
        (2e-6, True, True, "PASS"),
        (1e-4, True, True, "FAIL"),  # the limit itself is too much
        (2e-6, False, True, "FAIL"),
        (2e-6, True, False, "PASS"),  # measured: nothing is wrong
        (float("nan"), True, True, "FAIL"),
        (None, True, True, "FAIL"),
    ],
)
def test_a_pair_passes_by_both_measures(
    most: float | None, same: bool, proves: bool, result: str
) -> None:
    """Float32 within the limit, with every input; and nothing wrong in float64."""
    found = report()
    output = found.further[0].output[0], figures("float32", most)
    further = replace(found.further[0], output=output, same=same)

    row = row_of(replace(found, further=(further,), proves=proves))

    assert row.result(1e-4) == result


def test_an_output_that_one_input_lacks_is_not_known() -> None:
    """No figure over all inputs is made of some of them."""
    whole, lacking = figures("float32", 1e-6), figures("float32", None)

    (both,) = pooled([(whole,), (lacking,)])
    (one,) = pooled([(whole,), ()])

    assert (both.max, both.mean, both.reference_error) == (None, None, 1e-6)
    assert (one.max, one.agreement) == (None, None)


def test_the_table_of_many_pairs() -> None:
    """What failed and what is missing have their rows, too, each with its reason."""
    rows = [
        row_of(report(), "a|b"),
        Row("gone", claim="x.pth: cannot be read: no such file.", failed=True),
        Row("later", claim="not compared yet."),
    ]

    text = page(rows, 1e-7, "vitconvert parity --pairs p.toml")

    assert text.startswith("**0 of 3 models PASS**, 1 not compared yet\n\n| model |")
    assert "\n| a\\|b | 32x48 | 1,234,567 | 2e-06 | 1.2e-06 | 1e-7 | FAIL |" in text
    assert "\n| gone | - | - | - | - | 1e-7 | ERROR | - | - | - |\n" in text
    assert "\n| later | - | - | - | - | 1e-7 | - | - | - | - |\n" in text
    assert "\n- **`gone`**: x.pth: cannot be read: no such file.\n" in text
    assert "\n  - weights: 4 tensors compared exactly" in text
    assert page(rows, 1e-4, "").startswith("**1 of 3 models PASS**")
    assert text.endswith("```bash\nvitconvert parity --pairs p.toml\n```\n")

"""Say what to do about a table that is not proved."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import some
from ...parity import Report, WrongSetting, spell_value, wrong_settings
from ...tables.kinds import Kind
from ._division import divisions
from ._rows import Unclaimed
from ._words import classes_without_kind, target_row


def next_steps(
    problems: Sequence[Unclaimed | str],
    report: Report | None,
    paddle_model: str,
    kinds: Mapping[str, Kind],
    file: Path | None,
) -> Iterator[str]:
    """Give a line for each thing to do, the most useful first; none if the table is proved.

    Args:
        problems: Tensors without a row.
        report: Of the run with the table; None if it was not run.
        paddle_model: The function that builds the Paddle model.
        kinds: By name.
        file: The user's own file of kinds.
    """
    if report is not None and report.proved:
        return
    again = "and run this command again"
    if classes := classes_without_kind(problems):
        where, name = (f"{file}", file) if file else ("a file such as my.toml", "my.toml")
        yield (
            f"write a kind for {some(classes, 4)} in {where}, as mappings/_kinds.toml does, "
            f"{again} with --kinds {name}"
        )
    elif divided := [*divisions([one for one in problems if isinstance(one, Unclaimed)])]:
        yield (
            f"add rows for these tensors that name Paddle's as if they were divided as PyTorch's "
            f"are, and a target that says what {paddle_model} has: [targets.NAME], rows = "
            f"[{target_row(divided[0])}]; convert with --target NAME (docs/parity.md, Layers that "
            f"are divided otherwise). Or rewrite that model so that it divides these tensors as "
            f"PyTorch's does, {again}"
        )
    elif problems:
        yield (
            f"let the model of {paddle_model} hold the same tensors as PyTorch's, in number and "
            f"in shape, {again}"
        )
    if report is None:
        return
    found, culprit = wrong_settings(report.settings, report.layers), report.culprit
    is_explained = culprit is None or any(culprit.layer in one.layers for one in found)
    if culprit is not None and not is_explained:
        where = "the code" if culprit.kind == "output" else f"`{culprit.candidate_layer}`"
        yield f"repair {where} of the model of {paddle_model}, as the diagnosis says, {again}"
    for one in found:
        yield f"set {_value(one, kinds)} in {one.where} of {paddle_model}, {again}"


def _value(wrong: WrongSetting, kinds: Mapping[str, Kind]) -> str:
    """Say what to set, as Paddle spells it where the kind says how."""
    if not wrong.uniform:
        return f"{wrong.setting} to that of PyTorch in each"
    settings = kinds[wrong.kind].settings if wrong.kind in kinds else ()
    setting = next((one for one in settings if one.name == wrong.setting), None)
    spelled = setting.in_paddle(wrong.reference) if setting else ""
    return spelled or f"{wrong.setting} to {spell_value(wrong.reference)}"

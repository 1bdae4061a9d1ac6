"""Say what to do about a table that is not proved."""

from collections.abc import Iterator, Sequence

from ...errors import some
from ...parity import Report, spell_value, wrong_settings
from ._rows import Unclaimed
from ._words import classes_without_kind


def next_steps(
    problems: Sequence[Unclaimed | str], report: Report | None, paddle_model: str
) -> Iterator[str]:
    """Give a line for each thing to do, the most useful first; none if the table is proved.

    Args:
        problems: Tensors without a row.
        report: Of the run with the table; None if it was not run.
        paddle_model: The function that builds the Paddle model.
    """
    if report is not None and report.proved:
        return
    again = "and run this command again"
    if classes := classes_without_kind(problems):
        yield (
            f"write a kind for {some(classes, 4)} in a file such as my.toml, as "
            f"mappings/_kinds.toml does, {again} with --kinds my.toml"
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
        value = spell_value(one.reference) if one.uniform else "that of PyTorch in each"
        yield f"set {one.setting} to {value} in {one.where} of {paddle_model}, {again}"

"""Choose what else to try when a proposed table is not proved: only what can mend the fault."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations, product

from ...parity import Report
from ._outline import Outline
from ._rows import Group

_MOST_AT_ONCE = 3  # choices that are changed together


def alternatives(
    report: Report | None, groups: Sequence[Group], torch: Outline
) -> Iterator[dict[Hashable, int]]:
    """Give other choices of what could be paired otherwise: few at once, doubtful ones first.

    In a proof each layer is given what the reference's is given. So a wrong pair shows in its own
    layer or in the one whose code runs that; where all else is at fault, nothing is worth trying.

    Args:
        report: Of the run that failed.
        groups: What could be paired otherwise.
        torch: The PyTorch model.
    """
    by_key = {group.key: group for group in reversed(touching(report, groups, torch))}
    chosen = sorted(by_key.values(), key=lambda group: not group.note)
    for count in range(1, min(len(chosen), _MOST_AT_ONCE) + 1):
        for some in combinations(chosen, count):
            options = [range(1, len(group.options)) for group in some]
            for numbers in product(*options):
                yield dict(zip((group.key for group in some), numbers, strict=True))


def touching(report: Report | None, groups: Sequence[Group], torch: Outline) -> list[Group]:
    """Keep the groups of which another order may mend the first fault."""
    culprit = report.culprit if report is not None else None
    if report is None or culprit is None:
        return []
    if not culprit.is_fault:
        return list(groups)
    if culprit.verdict == "settings":
        return []  # the outputs agree; with other weights the settings would differ as well
    callers = {unit.name: unit.parent for unit in torch.units}
    compared = {layer.layer.partition("#")[0] for layer in report.layers}
    wanted = "" if culprit.kind == "output" else culprit.layer.partition("#")[0]

    def shows_in(member: str) -> set[str]:
        """Name the layer itself, and the innermost compared one whose code uses it."""
        end = callers.get(member)
        if end is None:  # a bare tensor is used by the layer that it is in
            end = member
            while end and end not in callers:
                end = end.rpartition(".")[0]
        while end and end not in compared:
            end = callers[end]
        return {member, end}

    return [group for group in groups if any(wanted in shows_in(one) for one in group.torch)]

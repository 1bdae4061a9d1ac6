"""Further inputs: the whole models alone are run on them, and their outputs compared."""

from collections.abc import Iterator

from ..errors import ParityError, listing
from ._compare import Comparison
from ._figures import InputResult, figures_of_output, name_of_input
from ._trace import Trace


def check_same_inputs(reference: Trace, candidate: Trace) -> None:
    """Refuse two traces with different further inputs.

    Raises:
        ParityError: With what both have.
    """
    sides = reference, candidate
    if len({tuple(one["sha256"] for one in side.facts.further_inputs) for side in sides}) > 1:
        have = [
            f"{side.folder}: {'; '.join(map(name_of_input, side.facts.further_inputs)) or 'none'}"
            for side in sides
        ]
        heading = (
            "the traces were made with different further inputs. Make one again with the same "
            "--seeds, --batch and --input-size:"
        )
        raise ParityError(listing(heading, have))


def compare_further(
    reference: Trace, candidate: Trace, comparison: Comparison
) -> Iterator[InputResult]:
    """Judge the output of every further input as that of the first is judged, in float64.

    Float32 is measured, but not judged: where the output of one input is a few numbers, the errors
    of both sides are as often far apart by chance.
    """
    for number, inputs in enumerate(reference.facts.further_inputs):
        sides = [trace.with_further(number) for trace in (reference, candidate)]
        output = Comparison(*sides)
        output.loose = comparison.loose & set(output.keys)
        (result,) = output.layers(lambda _done, _of: None)
        same = result.verdict in ("same", "imprecise")
        figures = figures_of_output(*sides)
        yield InputResult(inputs, figures, same, result.float64, "" if same else result.note)

from ._compare import LayerResult
from ._trace import Trace
from collections.abc import Iterator, Sequence

def diagnose(reference: Trace, candidate: Trace, layers: Sequence[LayerResult]) -> Iterator[str]:
    yield from ()

"""What the header of a new file says of where its weights come from."""

from ..checkpoints import Checkpoint
from ..hub import origin
from ..plain import sha256
from ..version import __version__
from .plan import Plan


def provenance(checkpoint: Checkpoint, made: Plan, wanted: str | None) -> dict[str, str]:
    """Say in the header of a .safetensors where it comes from; "format" is for other readers.

    Args:
        checkpoint: The source.
        made: What becomes of it.
        wanted: The dialect or the target whose names the new file has; None for the table's own.
    """
    facts = checkpoint.selection.facts()
    known = {"variant": made.variant.name, "num_classes": str(made.num_classes)}
    return {
        "format": {"torch": "pd", "paddle": "pt"}[made.source],
        "converted_by": f"vitconvert {__version__}",
        **(known if made.table.variants else {}),
        **_source(checkpoint),
        "source_format": checkpoint.format,
        "source_weights": _spelled(checkpoint.selection.path),
        **({"source_names": facts["names_of"]} if "names_of" in facts else {}),
        **({"names": wanted} if wanted else {}),
        **({"source_renamed": _spelled(facts["renamed"])} if "renamed" in facts else {}),
        **({"source_left_out": _spelled(facts["left_out"])} if "left_out" in facts else {}),
        **({"resized_to": facts["resized_to"]} if "resized_to" in facts else {}),
        **({"new_head": facts["new_head"]} if "new_head" in facts else {}),
        "implementation": made.table.source,
    }


def _source(checkpoint: Checkpoint) -> dict[str, str]:
    """Name the source; where it is from the hub so that it can be fetched again, and compared."""
    if not (name := origin(checkpoint.path)):
        return {"source": _spelled(checkpoint.path.name)}
    return {"source": _spelled(name), "source_sha256": " ".join(map(sha256, checkpoint.files))}


def _spelled(text: str) -> str:
    """Give a text that UTF-8 can spell; names of files may hold any bytes."""
    return text.encode("utf-8", "replace").decode()

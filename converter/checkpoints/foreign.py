"""Files that hold no checkpoint, or one of another program: recognised by their first bytes.

Each has one next step. The table is in the order in which it is tried.
"""

import re
from collections.abc import Iterable

from .storage import File

_AGAIN = "Download the file again"
_WEIGHTS = "Take the file that torch.save, paddle.save or safetensors wrote"

# Pattern of the first bytes -> what it is, what to do.
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    # what a download gives in place of a file
    (
        rb"version https://git-lfs\.github\.com/spec",
        "a pointer of git-lfs, not the file itself",
        "Get the file, in its repository: git lfs pull",
    ),
    (
        rb"(?:\.\./)*\.?/?[^\n]*/annex/objects/",
        "a pointer of git-annex, not the file itself",
        "Get the file, in its repository: git annex get FILE",
    ),
    (
        rb"outs:\r?\n- (?:md5|hash|path)",
        "a pointer of DVC, not the file itself",
        "Get the file, in its repository: dvc pull",
    ),
    (
        rb"(?i)(?:<\?xml[^>]*>\s*)?(?:<!--.{0,400}?-->\s*)*<(?:!doctype html|html|head|body|title|"
        rb"script|meta)\b",
        "a web page (HTML), such as a site gives in place of a file that asks for a login or a "
        "confirmation",
        "Open the address in a browser and download the file itself; from Google Drive: gdown ID",
    ),
    (
        rb"(?i)(?:<\?xml[^>]*>\s*)?<(?:\w+:)?Error\b",
        "an error message (XML) of the server",
        "Check the address and whether you may read it, and download the file again",
    ),
    (
        rb"(?:<\?xml[^>]*>\s*)?<net\b",
        "a network of OpenVINO",
        "Take the weights it was exported from",
    ),
    (rb"<\?xml|<[a-zA-Z]+[ >]", "a text in XML", _WEIGHTS),
    (
        rb"d\d+:(?:announce|created by|info)",
        "a torrent, not the file itself",
        "Download what it names",
    ),
    (rb"\x00{64}", "a file that begins with zeros, as an unfinished download does", _AGAIN),
    # archives and compressed files
    (rb"\x1f\x8b", "compressed with gzip", "Unpack it first: gunzip FILE, or tar -xzf FILE"),
    (
        rb"BZh[1-9]1AY&SY",
        "compressed with bzip2",
        "Unpack it first: bunzip2 FILE, or tar -xjf FILE",
    ),
    (rb"\xfd7zXZ\x00", "compressed with xz", "Unpack it first: unxz FILE, or tar -xJf FILE"),
    (rb"\x28\xb5\x2f\xfd", "compressed with Zstandard", "Unpack it first: unzstd FILE"),
    (rb"\x04\x22\x4d\x18", "compressed with LZ4", "Unpack it first: unlz4 FILE"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first: 7z x FILE"),
    (rb"Rar!\x1a\x07", "a RAR archive", "Unpack it first: unrar x FILE"),
    # other programs' models
    (
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras and MATLAB write it",
        "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release",
    ),
    (
        rb"GGUF|ggml|lmgg|tjgg|fmgg",
        "a file of llama.cpp (GGUF), whose weights are mostly quantized",
        "Take the .safetensors or .pth it was made from",
    ),
    (rb".{4}TFL3", "a model of TensorFlow Lite", "Take the PyTorch weights it was made from"),
    (
        rb"\x0a.{1,4}\x08\x00\x10\xff",
        "a program of Paddle (.pdmodel), which holds no weights",
        "Take the .pdparams of the model, which paddle.save(model.state_dict(), ...) writes",
    ),
    (
        rb"\x00{4}(?:.\x00{3}|\x00{8})\x00{4}.\x00{3}\x08",
        "weights of an inference export of Paddle (.pdiparams), which have no names",
        "Take the .pdparams of the model, which paddle.save(model.state_dict(), ...) writes",
    ),
    (
        rb"\x08[\x01-\x14](?:\x12[\x00-\x40][\x20-\x7e]|[\x3a\x42]|\x1a[\x00-\x20])",
        "an ONNX model",
        "Take the PyTorch or Paddle weights it was exported from",
    ),
    (
        rb"\x08\x01\x12.{1,4}\x0a|\x0a.{1,4}\x0a[\x01-\x7f][\x20-\x7e]+\x12",
        "a graph of TensorFlow",
        "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release",
    ),
    (
        rb"model_checkpoint_path:",
        "the list of checkpoints of TensorFlow",
        "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release",
    ),
    (
        rb"(?:[\x81-\x8f]|\xde..|\xdf.{4})(?:[\xa1-\xbf]|\xd9.)[\x20-\x7e]{2}",
        "MessagePack, as Flax writes its weights",
        "Save them as PyTorch weights: FlaxModel → PyTorch with transformers, from_flax=True",
    ),
    (rb"\x12\x01\x00{6}", "weights of MXNet", "Take the PyTorch or Paddle weights"),
    (rb"MATLAB 5\.0 MAT-file", "a MATLAB file", "Take the PyTorch or Paddle weights"),
    (rb"\x04\x00\x00\x00\x01\x00\x00\x00", "a file of Lua Torch (.t7)", "Take the PyTorch weights"),
    (rb"SQLite format 3\x00", "a database (SQLite)", _WEIGHTS),
    # what nobody means to convert
    (
        rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\x00{4}|II\*\x00|MM\x00\*|"
        rb".{4}ftyp(?:avif|heic|mif1)",
        "an image, not a checkpoint",
        "Give the weights as --src; an image belongs to --input",
    ),
    (rb"%PDF-", "a PDF, not a checkpoint", _WEIGHTS),
    (rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program, not a checkpoint", _WEIGHTS),
)
_PATTERNS = [(re.compile(one, re.DOTALL), told, advice) for one, told, advice in _SIGNATURES]

# Names in a zip that torch.save did not write -> what it is, what to do.
_ZIPS: tuple[tuple[str, str, str], ...] = (
    (
        r"(?:.*/)?(?:archive_format|serialized_exported_program\.json|serialized_state_dict\.\w+)",
        "an exported program (.pt2), not a checkpoint",
        "Save its weights: torch.save(torch.export.load(FILE).state_dict, 'weights.pth')",
    ),
    (
        r"model\.weights\.h5",
        "a model of Keras",
        "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release",
    ),
    (r"\[Content_Types\]\.xml", "a document of Office, not a checkpoint", _WEIGHTS),
    (r"META-INF/.*", "a Java archive, not a checkpoint", _WEIGHTS),
    (
        r".*\.(?:pth|pt|bin|ckpt|safetensors|pdparams|npz|tar|index\.json|pkl)",
        "a zip archive with a checkpoint in it",
        "Unpack it first: unzip FILE",
    ),
)

_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of TensorFlow's .index
_LONGEST = 60  # characters of a text that are shown


def recognise(file: File, head: bytes) -> str:
    """Say what a file is that is not a checkpoint, and what to do.

    Args:
        file: The file.
        head: Its first 512 bytes, or all.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, told, advice in _PATTERNS:
        if pattern.match(head) or pattern.match(text):
            return _told(told, advice)
    if file.size >= 48 and file.read(file.size - 8, 8) == _TABLE_END:
        return _told(
            "the index of a checkpoint of TensorFlow",
            "vitconvert reads PyTorch and Paddle weights only; take those of the PyTorch release",
        )
    if is_tar(head):
        return _tar(head)
    if shown := _text(head):
        return _told(f"a text that begins with {shown!r}", _WEIGHTS)
    return (
        f"not a checkpoint: expected a .pth of torch.save, a .safetensors, a .pdparams, an .npz or "
        f"a *.index.json, found a file of {file.size} bytes that begins with {head[:8]!r}."
    )


def in_zip(names: Iterable[str]) -> str:
    """Say what a zip is that torch.save did not write; "" if that is unknown."""
    listed = list(names)
    for pattern, told, advice in _ZIPS:
        if any(re.fullmatch(pattern, name) for name in listed):
            return _told(told, advice)
    return ""


def in_json(data: object) -> str:
    """Say what JSON is that is not the index of a sharded checkpoint; "" if that is unknown."""
    if not isinstance(data, dict):
        return ""
    if isinstance(data.get("base_code"), dict) and "program" in data:
        return _told(
            "a program of Paddle (model.json of an inference export), which holds no weights",
            "Take the .pdparams of the model, which paddle.save(model.state_dict(), ...) writes",
        )
    for key in ("error", "errors", "message", "detail"):
        if isinstance(value := data.get(key), (str, dict, list)):
            return _told(
                f"an error message (JSON) of the server: {str(value)[:_LONGEST]!r}",
                "Check the address and whether you may read it, and download the file again",
            )
    if data.keys() & {"architectures", "model_type", "architecture", "pretrained_cfg"}:
        return _told(
            "the configuration of a model, without its weights",
            "Give the .safetensors or .bin beside it, or the folder",
        )
    return ""


def is_tar(head: bytes) -> bool:
    """Tell by its checksum whether a file begins like a tar archive."""
    digits = head[148:156].strip(b" \0")
    if len(head) < 512 or not re.fullmatch(rb"[0-7]{1,7}", digits):
        return False
    return sum(head[:148]) + 8 * 32 + sum(head[156:512]) == int(digits, 8)


def _tar(head: bytes) -> str:
    """Tell PyTorch's own tar archives from others."""
    first = head[:100].partition(b"\0")[0].decode("latin-1").removeprefix("./")
    if first in ("sys_info", "pickle", "tensors", "storages"):
        return (
            "a tar archive, as torch.save wrote before release 0.1.10; vitconvert does not read "
            "this format. Load it with torch.load(FILE, weights_only=False), which executes code "
            "in the file, and save its weights again."
        )
    return _told("a tar archive", "Unpack it first: tar -xf FILE")


def _text(head: bytes) -> str:
    """Give the first line of a text; "" if it is none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character that the 512 bytes cut in two
            return ""
        text = head[: error.start].decode("utf-8-sig")
    if not all(letter.isprintable() or letter in "\r\n\t\f" for letter in text):
        return ""
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _told(what: str, advice: str) -> str:
    article = "" if re.match(r"(?:an?|the|compressed|weights|MessagePack)\b", what) else "a "
    return f"not a checkpoint but {article}{what}. {advice}."

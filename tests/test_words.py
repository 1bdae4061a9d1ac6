"""The words for users and maintainers are plain English of the field."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

# A phrase to avoid -> what to write instead. A space matches any white space, ends of lines too.
PHRASES = {
    r"\b(?:is|are|was|were|be|been|being) (?:said|told)\b": "vitconvert prints, reports, warns, …",
    r"\btold apart\b": "distinguished",
    r"\bof (?:ours|yours)\b": "shipped, your own",
    r"\b(?:goes|gone|going) on\b|\bgo on (?:with|from|to)\b": "resumes, continues",
    r"\blearnt\b": "trained on",
    r"\bpictures?\b": "image",
    r"\bheld up\b|\bholds? (?:it |them )?up\b": "slows down, delays",
    r"\bhardly\b": "a number",
    r"\bwitness(?:es)?\b": "second reader, independent check",
    r"\bwish(?:es|ed)?\b": "request",
    r"\b(?:not|to be) believed\b|\bbeyond belief\b": "the limit is …",
    r"(?<![Tt]here)(?<!\s) (?:is|are|was|were) (?:no|none of) "
    r"(?!longer|more|less|other|need|later|earlier|larger|smaller|faster|slower|better|worse)"
    r"(?=\w|\.\w)": "is not a …",
    r"[.!?] Of (?:a|an|the|those|every|each|all|what) ": "the subject first",
    r"[.!?] What (?:is|was|are|were) (?!\w[^.!?]*\?)": "name the thing",
    r"\b[Aa] images?\b": "an image",
    r"\ban images\b": "images",
    r"(?<!\S)([a-z]{3,})(?:[^\S\n]+|[^\S\n]*\n[^\S\n]*)\1(?!\S)": "the word once",
}

CODE = "\0"  # stands for code between words, so that no phrase matches across it


def blank(text: str, filler: str) -> str:
    """Replace every character but ends of lines."""
    return re.sub(r"[^\n]", filler, text)


def words_of_python(source: str) -> str:
    """Keep strings, docstrings and comments, each at its line."""
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    found, end = [], 0
    skipped = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    strings = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    quotes = {getattr(tokenize, f"FSTRING_{part}", None) for part in ("START", "END")}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        begin = starts[token.start[0] - 1] + token.start[1]
        if token.type in skipped or begin < end:
            continue
        found.append(source[end:begin])
        end = starts[token.end[0] - 1] + token.end[1]
        text = source[begin:end]
        if token.type == tokenize.COMMENT:
            found.append(text.replace("#", " "))
        elif token.type in strings:
            body = re.sub(r"^\w*(?=[\"'])", lambda prefix: blank(prefix[0], " "), text)
            if text[:1] in "fF":  # Python 3.11 has f-strings as one token
                body = re.sub(r"\{[^{}]*\}", lambda value: blank(value[0], CODE), body)
            found.append(re.sub(r"\"\"\"|\\n|[\"']", lambda mark: blank(mark[0], " "), body))
        else:
            found.append(blank(text, " " if token.type in quotes else CODE))
    return "".join(found)


def words_of(path: Path) -> str:
    """Keep what is to be read as English; each word stays at its line."""
    text = path.read_text()
    if path.suffix == ".py":
        return words_of_python(text)
    if path.suffix == ".md":
        return re.sub(r"`[^`\n]+`", lambda code: blank(code[0], CODE), text)
    return text.replace("#", " ")


def problems_in(words: str) -> Iterator[tuple[int, str, str]]:
    """Give line, phrase and suggestion."""
    for phrase, instead in PHRASES.items():
        for match in re.finditer(phrase.replace(" ", r"\s+"), words):
            found = " ".join(match[0].split()).strip(" .!?")
            line = words.count("\n", 0, match.end() - len(match[0].lstrip(" \n.!?"))) + 1
            yield line, found, instead


def files() -> Iterator[Path]:
    """Give every file with words for users or maintainers, but the tests."""
    yield from (ROOT / name for name in ("CHANGELOG.md", "Makefile", "README.md"))
    yield from ROOT.glob("docs/**/*.md")
    for folder in ("converter", "mappings", "models_torch", "models_paddle", "benchmarks", "docs"):
        for suffix in ("py", "toml", "html"):
            yield from (ROOT / folder).rglob(f"*.{suffix}")


def test_words_are_plain_english() -> None:
    """No home-made phrase in documents, strings, docstrings and comments."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r} -> {instead}"
        for path in sorted(files())
        for line, text, instead in sorted(problems_in(words_of(path)))
    ]

    assert not found, "\n".join(["phrases to replace:", *found])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('x = f"{y} is no size."\n', ["is no"]),
        ('"""The next\n\nis\n    told."""\n', ["is told"]),
        ('f("what is "\n  "said", told)\n', ["is said"]),
        ("# One line that goes\n# on in the next.\n", ["goes on"]),
        ('x = "there is no size", "is no longer than", told\n', []),
        ('call("this is", "told")\n', []),
        ("told = pictures or wish  # three names\n", []),
        ('f"{told} and {pictures[0]} {x!r}"\n', []),
    ],
)
def test_phrases_are_found_in_words_only(source: str, expected: list[str]) -> None:
    """In strings, docstrings and comments, across lines; never in code."""
    found = [text for _line, text, _instead in problems_in(words_of_python(source))]

    assert found == expected

#!/usr/bin/env python3
"""Regenerates datasets/pride_and_prejudice.txt from the Project Gutenberg text.

Source:  Jane Austen, "Pride and Prejudice" (1813), Project Gutenberg ebook 1342,
         https://www.gutenberg.org/ebooks/1342 (plain text UTF-8).
Licence: the novel is in the public domain. Project Gutenberg's header, footer, licence and
         trademark are not part of it and are cut here, as are title matter and chapter headings.

The text is made ASCII, one paragraph a line, and cut at the first paragraph end after --bytes.
Editions differ in small ways, so a file made from another edition has another SHA-256 than the
one listed in datasets/README.md.

usage: make_text.py INPUT OUTPUT [--bytes N]
"""

import argparse
import re
import sys
import unicodedata

ASCII = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "--", "\u2015": "--",
    "\u2026": "...", "\u00a0": " ", "\u00a3": "L", "\u00e6": "ae", "\u0153": "oe", "\ufeff": "",
}
FRAME = re.compile(r"^\*\*\* ?(START|END) OF .*$", re.MULTILINE)
HEADING = re.compile(r"(chapter|volume|vol\.) +([0-9]+|[ivxlc]+)\b\.?\]?", re.IGNORECASE)


def body(text):
    """The text between Project Gutenberg's marks, or all of it where there are none."""
    marks = list(FRAME.finditer(text))
    start = [m.end() for m in marks if m.group(1) == "START"]
    end = [m.start() for m in marks if m.group(1) == "END"]
    return text[start[0] if start else 0 : end[0] if end else len(text)]


def to_ascii(text):
    """Plain ASCII; an unknown character is an error rather than a silent loss."""
    text = "".join(ASCII.get(c, c) for c in text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text.encode("ascii")
    return text


def paragraphs(text):
    """The paragraphs of the story, from chapter 1 on, without headings and illustrations."""
    text = re.sub(r"\[(Illustration|_?Copyright)[^\]]*\]", "", text)
    # An emphasised word is set as _word_.
    blocks = [" ".join(b.replace("_", "").split()) for b in re.split(r"\n\s*\n", text)]
    first = [i for i, b in enumerate(blocks) if b.startswith("It is a truth universally")]
    if not first:
        sys.exit("error: the opening sentence is not in the input - expected Pride and Prejudice")
    for block in blocks[first[0] :]:
        block = HEADING.sub("", block, count=1) if HEADING.match(block) else block
        if re.search(r"[a-z]", block):
            yield block.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--bytes", type=int, default=360_000, help="size to reach (default 360000)")
    args = parser.parse_args()
    with open(args.input, encoding="utf-8") as file:
        text = to_ascii(body(file.read().replace("\r\n", "\n")))
    kept, size = [], 0
    for paragraph in paragraphs(text):
        kept.append(paragraph)
        size += len(paragraph) + 1
        if size >= args.bytes:
            break
    result = "\n".join(kept) + "\n"
    if "gutenberg" in result.lower():
        sys.exit("error: Project Gutenberg's name is still in the text - cut it before shipping")
    with open(args.output, "w", encoding="ascii", newline="\n") as file:
        file.write(result)
    print(f"{args.output}: {len(kept)} paragraphs, {len(result)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The documentation site: whole, without a network, with every notebook and everything public."""
import re
import subprocess
import sys
from pathlib import Path

import docs

ROOT = Path(__file__).resolve().parents[1]


def test_formulas_are_drawn_and_code_is_left_alone():
    text = docs.math("with $x_i$, `$HOME` and $$\\frac{a}{b}$$\n```\nprice = '$1' + '$2'\n```\n")
    assert text.count("<math") == 2 and "`$HOME`" in text and "'$1' + '$2'" in text


def test_links_lead_to_pages():
    known = {"40_contrast.ipynb": "rooms/40_contrast.md", "tutorials/a.ipynb": "tutorials/a.md"}
    assert docs.linked("[see](../40_contrast.ipynb#pull)", "tutorials/a.md", known, "tutorials") == "[see](../rooms/40_contrast.md#pull)"
    assert docs.linked("[out](https://arxiv.org/abs/1807.03748)", "index.md", known) == "[out](https://arxiv.org/abs/1807.03748)"


def test_the_reference_says_what_the_notebooks_say():
    text = docs.reference("audit.retrieval")
    assert "## retrieval" in text and "(N, d) latents" in text and "### SearchIndex.query" in text


def test_the_site(tmp_path):
    out = tmp_path / "site"
    done = subprocess.run([sys.executable, ROOT / "scripts" / "docs.py", out], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    made = {p.relative_to(out).as_posix() for p in out.rglob("*.html")}
    assert {"index.html", "architecture.html", *(p.replace(".md", ".html") for p in docs.pages().values())} <= made
    assert {f"reference/{m}.html" for m in docs.modules()} <= made
    for p in out.rglob("*.html"):  # nothing is fetched from elsewhere
        text = p.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=[\"']?https?:|<link[^>]*rel=[\"']?stylesheet[^>]*href=[\"']?https?:", text), p

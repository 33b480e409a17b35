"""Pages that are one file: their style, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

__all__ = ["content_policy", "shared_style"]


def shared_style() -> str:
    """Return the style sheet of all pages."""
    path = files("vl4pose") / "report" / "assets" / "page.css"
    return path.read_text(encoding="utf-8")


def content_policy(style: str, script: str | None = None) -> str:
    """Return a Content-Security-Policy: the page's own style and script, pictures that are in it.

    ``style`` and ``script`` are what stands between the tags, to the letter.
    """
    rules = ["default-src 'none'", "img-src data:", f"style-src {_hash(style)}"]
    if script is not None:
        rules.append(f"script-src {_hash(script)}")
    rules += ["base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]
    return "; ".join(rules)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

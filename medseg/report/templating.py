"""The page's own style and script, known to the browser by their hashes; every value is escaped."""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medseg.report.colours import structure_colour

SCRIPTS = ("table.js", "volume.js", "outline.js", "plane.js", "viewer.js", "theme.js", "page.js")
"""Of a report with viewers; joined in this order, each a part of one strict script."""

TABLES = ("table.js", "theme.js", "tables.js")
"""Of a page of tables and plots."""


def render_page(
    structures: int,
    context: dict[str, object],
    *,
    template: str = "report.html.j2",
    scripts: Sequence[str] = SCRIPTS,
) -> str:
    """Fill the template; ``structures`` is how many colours the page needs."""
    pages = _templates()
    style = pages.get_template("report.css.j2").render(
        colours=[structure_colour(at) for at in range(structures)]
    )
    script = '"use strict";\n' + "\n".join(pages.get_template(name).render() for name in scripts)
    return pages.get_template(template).render(
        **context,
        style=Markup(style),  # noqa: S704 - our own file, filled with our own colours
        style_hash=_content_hash(style),
        script=Markup(script),  # noqa: S704 - our own files
        script_hash=_content_hash(script),
    )


@cache
def _templates() -> Environment:
    """Each is compiled once."""
    return Environment(
        loader=PackageLoader("medseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _content_hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()

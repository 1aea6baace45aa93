"""The one way texts get into a template: escaped, and an undefined name is an error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tutelage.report import number

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, /, **values: Any) -> str:
    """Fill a template of this folder. HTML is escaped; Markdown is escaped where the template says so."""
    return _environment().get_template(template).render(**values)


def asset(name: str) -> Markup:
    """A style sheet of this folder, to be put into a page as it is."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("tutelage", "report"),
        autoescape=select_autoescape(["html.jinja"], disabled_extensions=["md.jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        seconds=number.seconds, count=number.count, significant=number.significant, markdown=markdown
    )
    return environment


def markdown(value: Any) -> str:
    """A text that no Markdown or HTML in it can escape from, on one line."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#":
        text = text.replace(sign, f"\\{sign}")
    return text

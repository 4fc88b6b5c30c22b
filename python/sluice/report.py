"""The co-design report of `Model.explain` and `Model.profile`."""

from __future__ import annotations

import html
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._native import Told


class Report:
    """What a model costs here, where the time goes, and what to change.

    Prints as the terminal's table; a notebook shows the page with charts.
    """

    def __init__(self, told: Told) -> None:
        self._told = told

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, schema ``sluice.report/1`` (``docs/report.md``)."""
        return json.loads(self._told.json)

    def to_json(self) -> str:
        """Return the same as JSON text, which ``sluice profile --against`` takes."""
        return self._told.json

    def to_html(self) -> str:
        """Return the self-contained page."""
        return self._told.html

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, or the JSON where `path` ends in ``.json``."""
        text = self._told.json if os.fspath(path).endswith(".json") else self._told.html
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def __str__(self) -> str:
        return self._told.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        page = html.escape(self._told.html)
        return f'<iframe srcdoc="{page}" title="Sluice report" style="width:100%;height:48rem;border:0"></iframe>'

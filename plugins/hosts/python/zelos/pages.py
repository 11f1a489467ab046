# SPDX-License-Identifier: BSD-3-Clause
"""Pages for people: one HTML file, no links."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from string import Template
from typing import Any

_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0 1.4em}
td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}th{background:#f3f3f3}
img{max-width:100%}.bad{color:#b00020;font-weight:bold}pre{white-space:pre-wrap;font-size:12px;background:#f7f7f7;
padding:.8em}summary{cursor:pointer}</style></head><body>
<h1>$title</h1>$body</body></html>
""")


def page(title: str, body: str) -> str:
    """`title` is text, `body` HTML."""
    return _PAGE.substitute(title=html.escape(title), body=body)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], raw_first: bool = False) -> str:
    text = "<table><tr>" + "".join(f"<th>{title}</th>" for title in head) + "</tr>"
    for row in rows:
        text += "<tr>"
        for column, cell in enumerate(row):
            if isinstance(cell, (int, float)) and not isinstance(cell, bool):
                text += f"<td class=n>{number(cell)}</td>"
            else:
                text += f"<td>{cell if raw_first and not column else html.escape(str(cell))}</td>"
        text += "</tr>"
    return text + "</table>"


def number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def image(figure: Any, alt: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=96, metadata={"Software": None})
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<p><img alt="{html.escape(alt)}" src="data:image/png;base64,{data}"></p>'

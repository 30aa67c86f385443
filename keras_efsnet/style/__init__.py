"""The style sheet of the web page, the report and the results page.

It holds what they share: colours, light and dark, type, buttons, panels, bars, tables,
the refer note, focus and print. The web page's build imports it, the others inline it.
"""

from pathlib import Path


def read_style() -> str:
    return Path(__file__).with_name("base.css").read_text(encoding="utf-8")

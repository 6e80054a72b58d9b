"""Why a column is text, where it looks like numbers or dates."""

import re

__all__ = ["why_text"]

ENOUGH = 0.9    # of the different values must look alike
MOST = 1000     # different values that are looked at
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
LOOKS = tuple((re.compile(pattern), text) for pattern, text in (
    (r"[-+]?\d[\d.,]*\s*%", "a percent sign is no part of a number; write 12 or 0.12, not 12%"),
    (r"[-+]?([$€£¥]\s*[-+]?\d[\d.,]*|\d[\d.,]*\s*[$€£¥])",
     "a currency is no part of a number; leave it out"),
    (r"[-+]?\d{1,3}([,' \u00a0\u202f]\d{3})+(\.\d*)?|[-+]?\d{1,3}(\.\d{3})+,\d+",
     "numbers must not have separators of thousands; write 1234.50"),
    (r"[-+]?\d+,\d+", "numbers must have a decimal point here; write 1.5, not 1,5"),
    (r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T].*)?", ""),
))


def why_text(series, target=False):
    """Such as "'12%' is text: a percent sign ..."; empty where the values look like words."""
    if series.dtype.kind in "biufcmM":
        return ""
    values = [value.strip() for value in series.dropna().unique()[:MOST] if isinstance(value, str)]
    for look, text in LOOKS:
        alike = [value for value in values if look.fullmatch(value)]
        others = sum(NUMBER.fullmatch(value) is not None for value in values)
        if alike and len(alike) + others >= ENOUGH * len(values) and 10 * len(alike) >= len(values):
            if not text:
                text = "dates must become numbers, such as days, to be predicted" if (
                    target) else "dates must be written as 2024-12-31"
            return f"{alike[0]!r} is text: {text}"
    return ""

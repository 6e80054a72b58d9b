"""Numbers as people write them: decimal marks, separators of thousands, percent, currencies, signs
behind the number or brackets in their place, digits of other scripts."""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import numpy as np

from fastnn.tables.cells import PLAIN_NUMBER
from fastnn.tables.errors import listed

__all__ = ["LONGEST", "LOOKED_AT", "SPACES", "NumberFormat", "count_different", "doubtful",
           "explained", "find_format", "given_format", "in_ascii", "parse_grouped", "parse_number",
           "parse_numbers", "perhaps_grouped", "signs_behind", "sure_decimal", "two_marks"]

SPACES = " \u00a0\u202f\u2007\u2008\u2009"
MARKS = {"": "", ",": ",", ".": r"\.", " ": f"[{SPACES}]", "'": "['\u2019]"}
CURRENCIES = "$€£¥₹₩₽₺₪฿₫₴₱₦"
BLANKS = rf"[\s{SPACES}]*"  # of text in which digits are those of ASCII
UNITS = {"%": ("", f"{BLANKS}%"), **{
    sign: (f"(?:{re.escape(sign)}{BLANKS})?", f"(?:{BLANKS}{re.escape(sign)})?")
    for sign in CURRENCIES}}
LOOKED_AT = 2000  # different texts by which a format is chosen
OF_A_KIND = 20    # texts at least of each kind, where the first ones do not tell the format of all
LONGEST = 100     # characters of a number that is not plain
SIGNS = re.compile(rf"\s*[{CURRENCIES}%()]\s*")
# signs and marks of typography, of full width and of Arabic
WRITTEN = str.maketrans("\u2212\u2010\u2011\u2013\uff0d\ufe63\uff0b\uff08\uff09\uff04\uffe1\uffe5"
                        "\uff0e\uff0c\uff05\u066b\u066c\u066a", "------+()$£¥.,%.,%")
REAL_SIGN = re.compile(r"(?<!\w)R\$")  # of Brazil: R$ 1.234,50
NO_CENTS = re.compile(r"(?<=\d)([.,])--?(?!\d)")  # 45.- in Switzerland, 45,-- in Germany: no sign
SIGN = r"[-+(\u2212\u2010\u2011\u2013\uff0d\ufe63\uff0b\uff08]?"
FIRST = re.compile(rf"{SIGN}\s*R?[{CURRENCIES}\uff04\uffe1\uffe5]?\s*{SIGN}[\d.,]")
# what accounts and their programs write for -5: (5), ($5), $(5), (5)%, 5-
NEGATIVE = re.compile(r"([^\w()+-]{0,2})\(([^()+-]+)\)([^\w()+-]{0,2})|([^()+-]*\d[^()+-]*)-")
TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class NumberFormat:
    """Marks of the numbers of a column.

    Attributes
    ----------
    decimal : "." or ","
    thousands : "", ",", ".", " " or "'"
        May stand between groups of three digits; " " is any kind of space.
    unit : "", "%", "$", "€" or another sign of a currency
        Stands at the numbers; no part of them.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def __post_init__(self):
        if self.decimal not in (".", ",") or self.thousands not in MARKS or (
                self.thousands == self.decimal) or self.unit not in ("", *UNITS):
            raise ValueError(f"decimal={self.decimal!r}, thousands={self.thousands!r}, "
                             f"unit={self.unit!r} are no format of numbers")

    @property
    def is_plain(self):
        """Whether Python writes numbers so."""
        return self.decimal == "." and not self.thousands and not self.unit


PLAIN = NumberFormat()
CANDIDATES = tuple(NumberFormat(decimal, thousands) for decimal, thousands in (
    (".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")))


@lru_cache(maxsize=64)
def _pattern(form):
    mark, point = MARKS[form.thousands], MARKS[form.decimal]
    whole = rf"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d+)" if mark else r"\d+"
    if mark == ",":  # 12,34,567, as India writes it
        whole = rf"(?:\d{{1,2}}(?:,\d\d)+,\d{{3}}|{whole})"
    before, after = UNITS[form.unit] if form.unit else ("", "")
    return re.compile(rf"([-+]?){before}([-+]?{whole}(?:{point}\d*)?(?:[eE][-+]?\d+)?|"
                      rf"[-+]?{point}\d+(?:[eE][-+]?\d+)?){after}", re.ASCII)


def in_ascii(text):
    """Return a number's text in digits, signs and marks of ASCII, with its sign before it."""
    if len(text) > LONGEST:
        return text
    if not text.isascii():
        text = text.translate(WRITTEN)
        if not text.isascii():
            text = "".join(c if c.isascii() else str(unicodedata.decimal(c, c)) for c in text)
    if "R$" in text:
        text = REAL_SIGN.sub("$", text, count=1)
    if ".-" in text or ",-" in text:
        text = NO_CENTS.sub(r"\g<1>0", text, count=1)
    if text.endswith("-") or "(" in text:
        found = NEGATIVE.fullmatch(text)
        if found:
            before, inside, behind, trailing = found.groups()
            text = "-" + (f"{before}{inside}{behind}" if trailing is None else trailing).strip()
    return text


def _as_plain(text, form, pattern):
    """Return a number in ASCII as Python writes it, an empty text where it is none."""
    if form.is_plain:
        return text if PLAIN_NUMBER.fullmatch(text) else ""
    found = pattern.fullmatch(text)
    if found is None:
        return ""
    sign, digits = found[1], found[2]
    if sign and digits[0] in "+-":
        return ""
    for mark in {" ": SPACES, "'": "'\u2019"}.get(form.thousands, form.thousands):
        digits = digits.replace(mark, "")
    return sign + digits.replace(form.decimal, ".")


def count_different(texts, form=PLAIN):
    """Return how many different numbers some texts are, of which float64 may make fewer."""
    pattern = None if form.is_plain else _pattern(form)
    found = set()
    for plain in filter(None, (_as_plain(in_ascii(text), form, pattern) for text in texts)):
        try:
            found.add(Decimal(plain))
        except InvalidOperation:  # an exponent of twenty digits
            found.add(plain)
    return len(found)


def parse_number(text, form=PLAIN, pattern=None):
    """Return a text as a number, NaN where it is none; True and False are 1 and 0."""
    if pattern is None and not form.is_plain:
        pattern = _pattern(form)
    text = in_ascii(text)
    plain = _as_plain(text, form, pattern)
    if plain:
        return float(plain)
    lower = text.lower()
    if lower in TRUTH:
        return TRUTH[lower]
    if lower[lower[:1] in ("+", "-"):] in ("inf", "infinity"):
        return float(lower)
    return np.nan


def parse_grouped(text, form):
    """Return a number with groups of thousands that the format has not, NaN where it is none or may
    be another one: 1,234.5 and 1 234 are beyond doubt, 1,234 is not."""
    if len(text) > LONGEST:
        return np.nan
    for mark in (" ", "'", "," if form.decimal == "." else "."):
        if mark in " '" or text.count(mark) > 1 or mark in text and form.decimal in text:
            value = parse_number(text, NumberFormat(form.decimal, mark, form.unit))
            if value == value:
                return value
    return np.nan


def parse_numbers(texts, form=PLAIN):
    """Return texts as numbers, (n,) float64, NaN where they are none."""
    if form.is_plain:
        joined = "".join(texts)
        if joined.isascii() and "_" not in joined:
            try:
                return np.fromiter(map(float, texts), np.float64, len(texts))
            except ValueError:
                pass
    pattern = None if form.is_plain else _pattern(form)
    return np.fromiter((parse_number(text, form, pattern) for text in texts), np.float64,
                       len(texts))


# ---- finding the format ----

@lru_cache(maxsize=8)
def _grouped(mark):
    """Whole numbers in groups of three, one mark at least."""
    return re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{MARKS[mark]}\d{{3}})+", re.ASCII)


SHORT = re.compile(r"[-+]?\d{1,3}", re.ASCII)
# a text of which it is not known whether its mark stands between thousands
OPEN = {mark: re.compile(rf"[-+]?(?:\d{{1,3}}|[1-9]\d{{0,2}}(?:{MARKS[mark]}\d{{3}})+)", re.ASCII)
        for mark in (".", ",")}


def doubtful(texts, mark):
    """Return (texts with the mark, those without) where all are 987 or 1.299; otherwise None."""
    grouped = _grouped(mark)
    with_mark, without = [], []
    for text in texts:
        if grouped.fullmatch(text):
            with_mark.append(text)
        elif SHORT.fullmatch(text):
            without.append(text)
        else:
            return None
    return (with_mark, without) if with_mark else None


def _unit_of(texts, share):
    """Return the unit that such a share of the texts has, or an empty string."""
    joined = "".join(texts)
    for unit in UNITS:
        if unit not in joined:
            continue
        some = sum(unit in text for text in texts)
        if some >= share * len(texts):
            form = NumberFormat(unit=unit)
            for candidate in CANDIDATES:
                form = NumberFormat(candidate.decimal, candidate.thousands, unit)
                alike = sum(1 for _ in filter(None, map(_pattern(form).fullmatch, texts)))
                if alike >= 0.9 * some and alike:
                    return unit
    return ""


def sure_decimal(texts):
    """Return the decimal mark that a column shows beyond doubt, or None."""
    texts = list(filter(FIRST.match, texts[:LOOKED_AT]))
    if not texts:
        return None
    joined = "".join(texts)
    if not joined.isascii() or SIGNS.search(joined):
        texts = [SIGNS.sub("", in_ascii(text)) for text in texts]
    votes = {".": 0, ",": 0}
    for mark, other in ((".", ","), (",", ".")):
        alone = re.compile(rf"[-+]?(?:0?{MARKS[mark]}\d+|\d+{MARKS[mark]}(?:\d{{1,2}}|\d{{4,}})|"
                           rf"\d{{4,}}{MARKS[mark]}\d+|\d{{1,3}}{MARKS[mark]}\d+[eE][-+]?\d+|"
                           rf"\d{{1,3}}(?:[{other}'{SPACES}]\d{{3}})+{MARKS[mark]}\d+|"
                           rf"\d{{1,2}}(?:{MARKS[other]}\d\d)+{MARKS[other]}\d{{3}}{MARKS[mark]}\d+)-?",
                           re.ASCII)
        votes[mark] = sum(1 for _ in filter(None, map(alone.fullmatch, texts)))
    mark = "," if votes[","] > votes["."] else "."
    return mark if votes[mark] >= 0.1 * len(texts) else None


def find_format(texts, style=None):
    """Return the format of the numbers among some texts, and a remark where it is in doubt.

    Parameters
    ----------
    texts : list of str
        Different texts of a column, without those that mean "missing".
    style : Style or None, default=None

    Returns
    -------
    (NumberFormat, str)
        The remark says how the texts are read, to be put behind the name of the column.
    """
    form, doubt = _format_of(texts[:LOOKED_AT], style)
    if len(texts) > LOOKED_AT and _is_told_otherwise(texts, form):
        # a unit that so many have would be found if they came first
        form, doubt = _format_of(_of_each_kind(texts, form), style, 0.5 * LOOKED_AT / len(texts))
    if not doubt and form.thousands and not _is_given(style):
        doubt = two_marks(texts, form)
    return form, doubt


def _is_given(style):
    """Whether the user says the marks of numbers."""
    return style is not None and (style.decimal is not None or style.thousands is not None)


def _numbers_of(texts):
    """Return those texts that begin as numbers do, in ASCII."""
    texts = list(filter(FIRST.match, texts))
    joined = "".join(texts)
    if not joined.isascii() or "-" in joined or "(" in joined or "R$" in joined:
        texts = list(map(in_ascii, texts))
    return texts


def _is_told_otherwise(texts, form):
    """Whether texts behind the first ones, which have a format, may show that it is another one:
    the order of rows must not decide what they are."""
    pattern = PLAIN_NUMBER if form.is_plain else _pattern(form)
    first = _numbers_of(texts[:LOOKED_AT])
    if sum(1 for _ in filter(None, map(pattern.fullmatch, first))) < 0.4 * LOOKED_AT:
        return False  # so many words, or units of several kinds, that no format reads the column
    rest = texts[LOOKED_AT:]
    if form.unit:
        first = [_without(text, form.unit) for text in first]
    if any(all(map(possible.fullmatch, first)) for possible in OPEN.values()):
        if form.thousands not in OPEN:
            return True
        if form.unit:
            rest = [_core(text, form) for text in rest]
        return not all(map(OPEN[form.thousands].fullmatch, rest))
    if form.is_plain:
        try:  # by far the most columns, in a fraction of the time
            for _ in map(float, rest):
                pass
        except ValueError:
            pass
        else:
            return False
    elif all(map(pattern.fullmatch, rest)):
        return False
    return not all(map(pattern.fullmatch, _numbers_of(rest)))


def _of_each_kind(texts, form):
    """Return some of the texts, of each kind as many as its share, but a few at least: evenly from
    the first to the last of them, in their order."""
    pattern = PLAIN_NUMBER if form.is_plain else _pattern(form)
    kinds = {}
    for i, text in enumerate(texts):
        if FIRST.match(text):
            ascii_text = in_ascii(text)
            core = _core(text, form)
            kind = (pattern.fullmatch(ascii_text) is None, SIGNS.search(ascii_text) is None,
                    min(2, core.count(".")), min(2, core.count(",")),
                    any(possible.fullmatch(core) for possible in OPEN.values()))
            kinds.setdefault(kind, []).append(i)
    chosen = []
    for places in kinds.values():
        n = min(len(places), max(OF_A_KIND, len(places) * LOOKED_AT // len(texts)))
        chosen += [places[k * len(places) // n] for k in range(n)]
    return [texts[i] for i in sorted(chosen)]


def _format_of(texts, style, share=0.5):
    """Return what `find_format` does, from a few texts; ``share``: of those with a unit."""
    given = _is_given(style)
    texts = _numbers_of(texts)
    if not texts:
        return _default(style), ""
    if not given and any("." in text for text in texts) and all(
            map(PLAIN_NUMBER.fullmatch, texts)) and doubtful(texts, ".") is None:
        return PLAIN, ""  # by far the most files
    unit = _unit_of(texts, share)
    candidates = [NumberFormat(form.decimal, form.thousands, unit) for form in CANDIDATES]
    if given:
        candidates = [form for form in candidates
                      if style.decimal in (None, form.decimal)
                      and (form.thousands == style.thousands if style.thousands is not None
                           else True)] or [given_format(style, unit)]
    counts = [sum(1 for _ in filter(None, map(_pattern(form).fullmatch, texts)))
              for form in candidates]
    most = max(counts)
    best = [form for form, count in zip(candidates, counts, strict=True) if count == most]
    if unit:
        core = [_without(text, unit) for text in texts]
    else:
        core = texts
    for mark, other in ((".", ","), (",", ".")):
        point = NumberFormat(mark, "", unit)
        group = NumberFormat(other, mark, unit)
        if point not in best or group not in best:
            continue
        doubt = doubtful(core, mark)
        if doubt is None:
            continue  # no text has the mark
        return _decided(doubt, mark, style, point, group)
    usual = style.usual if style is not None else None
    if given and len(best) > 1:
        return given_format(style, unit), ""
    if len(best) == len(candidates):  # whole numbers without any mark
        return _default(style, unit), ""
    wanted = [form for form in best if form.decimal == (usual or ".")]
    return (wanted or best)[0], ""


def perhaps_grouped(texts, form):
    """Return the first text that may be a whole number in groups, such as 1.299 where the decimal
    mark is a point, or None: there is none, or another text is no whole number."""
    if not any(form.decimal in text for text in texts):
        return None
    grouped, first = _grouped(form.decimal), None
    for text in texts:
        if grouped.fullmatch(_core(text, form)):
            first = text if first is None else first
        elif parse_number(text, form) % 1 > 0:
            return None
    return first


def _core(text, form):
    text = in_ascii(text)
    return _without(text, form.unit) if form.unit else text


def two_marks(texts, form):
    """Return a remark where both marks may stand between thousands: 1.299 beside 1,299.00.

    Not where other numbers have three decimals, too, or decimals of several lengths.
    """
    if form.thousands not in OPEN:
        return ""
    texts = _numbers_of(texts)
    joined = "\n".join(texts)
    if form.decimal not in joined or form.thousands not in joined or (
            re.search(rf"{MARKS[form.decimal]}\d{{3}}(?!\d)", joined) is None):
        return ""
    pattern, lengths, grouped = _grouped(form.decimal), set(), None
    cores = [_without(text, form.unit) for text in texts] if form.unit else texts
    lone = next((text for text, core in zip(texts, cores, strict=True) if pattern.fullmatch(core)),
                None)
    if lone is None:
        return ""
    for text, core in zip(texts, cores, strict=True):
        if not pattern.fullmatch(core) and not np.isnan(parse_number(text, form)):
            if form.decimal in core:
                lengths.add(len(core.partition(form.decimal)[2]))
                if 3 in lengths or len(lengths) > 1:
                    return ""
            if form.thousands in core:
                grouped = text if grouped is None else grouped
    if grouped is None:
        return ""
    return (f"{lone!r} is read as {parse_number(lone, form):.15g} and {grouped!r} as "
            f"{parse_number(grouped, form):.15g}; if {lone!r} means "
            f"{lone.replace(form.decimal, '')}, write the numbers of the column alike")


def _decided(doubt, mark, style, point, group):
    """1.299: a decimal mark, or one of thousands."""
    with_mark, without = doubt
    first = with_mark[0]
    several = any(text.count(mark) > 1 for text in with_mark)
    usual = style.usual if style is not None else None
    if style is not None and style.decimal is not None:
        return (point if style.decimal == mark else group), ""
    if several:
        return group, ""
    whole = first.replace(mark, "")
    as_point = (f"{first!r} is read as {first.replace(mark, '.')}; if it means {whole}: "
                f"--thousands {mark!r} (thousands={mark!r})")
    as_group = (f"{first!r} is read as {whole}, as all of its {mark!r} stand before exactly three "
                f"digits; if it means {first.replace(mark, '.')}: --decimal {mark!r} "
                f"(decimal={mark!r})")
    if usual is not None:
        return (point, as_point) if usual == mark else (group, as_group)
    if len(with_mark) >= 3 and without:
        return group, as_group
    separator = style.separator if style is not None else None
    if mark == "," and separator in (None, ","):
        return group, as_group
    return point, as_point


def signs_behind(texts, form=PLAIN):
    """Return a remark on the first text whose sign is not before its number, or an empty string."""
    first = next((text for text in texts if text[-1:] == "-" or "(" in text), None)
    value = np.nan if first is None else parse_number(first, form)
    return f"{first!r} is read as {value:.15g}" if value < 0 else ""


def _without(text, unit):
    return re.sub(r"\s+", " ", text.replace(unit, "")).strip()


def given_format(style, unit=""):
    """Return the format of a file that says its decimal mark or that of thousands, or both."""
    decimal = style.decimal or ("," if style.thousands == "." else ".")
    thousands = style.thousands or ""
    return NumberFormat(decimal, thousands if thousands != decimal else "", unit)


def _default(style, unit=""):
    """Return the format of a column that shows no mark: that of the file."""
    if style is None:
        return NumberFormat(unit=unit)
    if style.decimal is not None or style.thousands is not None:
        return given_format(style, unit)
    return NumberFormat(",", ".", unit) if style.usual == "," else NumberFormat(unit=unit)


def explained(form, words):
    """Return what to do about texts that are no numbers of this format."""
    hint = ""
    commas = [word for word in words if "," in word]
    if form.is_plain and commas and all(map(_grouped(",").fullmatch, commas)):
        hint = "; where commas stand between thousands: --thousands , (thousands=',')"
    elif form.is_plain and commas:
        hint = ("; numbers with a decimal comma: --decimal , or read(path, decimal=','), in a "
                "frame column.str.replace(',', '.').astype(float)")
    elif form.decimal == "," and (points := [word for word in words if "." in word]) and all(
            map(_grouped(".").fullmatch, points)):
        hint = "; where points stand between thousands: --thousands . (thousands='.')"
    elif form.decimal == "," and any("." in word for word in words):
        hint = "; numbers with a decimal point: --decimal . (decimal='.')"
    return f"{listed(words)} {'is' if len(words) == 1 else 'are'} no number{hint}"

"""Tables of compare.py: plain ones as it goes, Markdown at the end."""

from __future__ import annotations

import statistics
import textwrap

from benchmarks.grid import GRID

ROWS = (1, 64, 10_000)
DISTURBED = 0.25  # processors that other programs may keep busy
NOTHING = "\nnothing measured"


def rows_text(n_rows):
    return "1 row" if n_rows == 1 else f"{n_rows:,} rows"


def threads_text(n_threads):
    return "1 thread" if n_threads == 1 else f"{n_threads} threads"


def number(value):
    """Three digits, and zeros after them where it is large."""
    value = float(f"{value:.3g}")
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def percent(value):
    return f"{100 * value:.0f}%"


def spread(values):
    """How far the rounds lie apart: (max - min) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def speed(record):
    """Speeds of the rounds: what is better is larger."""
    if "samples_per_s" in record:
        return record["samples_per_s"]
    return [1 / time for time in record["median_us"]]


def ratio(mine, other):
    """Median over the rounds of one's speed over the other's, each of the same round."""
    return statistics.median(a / b for a, b in zip(mine, other, strict=True))


def share_of_peak(record):
    """Operations really needed, over what as many threads of BLAS would do in the same time."""
    cell = GRID[record["cell"]]
    if "samples_per_s" in record:
        rate = cell.flops_of_training * statistics.median(record["samples_per_s"])
    else:
        rate = cell.flops_of_prediction * record["rows"] * 1e6
        rate /= statistics.median(record["median_us"])
    return rate / statistics.median(record["blas_flops"]) / record["threads"]


def disturbance(records):
    """A sentence about other programs, where they took much of the processors."""
    others = statistics.median(value for record in records for value in record["others"])
    if others < DISTURBED:
        return ""
    return f"Disturbed: other programs kept {others:.1f} processors busy meanwhile."


def of_peer(records, name):
    return next((record for record in records if record["peer"] == name), None)


def times_text(own, record):
    """fastnn's speed as a multiple of this one's."""
    return number(ratio(speed(own), speed(record))) if own else "-"


# ---- plain ----

def aligned(lines):
    """Columns of strings, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [f"  {line[0]:<{widths[0]}}"]
            + [f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def table(records, what, lines):
    """Columns below what they are about; the first record says that."""
    cell, n_threads = GRID[records[0]["cell"]], records[0]["threads"]
    peaks = [flops / 1e9 for flops in records[0]["blas_flops"]]
    head = (
        f"{cell.label}, {what}, {threads_text(n_threads)} (BLAS, one thread: "
        f"{number(statistics.median(peaks))} GFLOP/s, spread {percent(spread(peaks))})"
    )
    return "\n".join(filter(None, [f"\n{head}", disturbance(records), aligned(lines)]))


def training(records):
    """One cell, optimizer and number of threads; the fastest peer first."""
    if not records:
        return NOTHING
    own = of_peer(records, "fastnn")
    lines = [("peer", "us/step", "samples/s", "of peak", "fastnn is", "spread", "first loss")]
    for record in sorted(records, key=lambda record: -statistics.median(speed(record))):
        rate = statistics.median(record["samples_per_s"])
        lines.append((
            record["peer"],
            number(1e6 * GRID[record["cell"]].batch_size / rate),
            number(rate),
            percent(share_of_peak(record)),
            times_text(own, record),
            percent(spread(speed(record))),
            f"{record['first_loss']:.3g}",
        ))
    return table(records, records[0]["optimizer"], lines)


def inference(records):
    """One cell and number of threads."""
    if not records:
        return NOTHING
    lines = [("peer", "1 row: us", "p99", "fastnn is", "64 rows: us", "fastnn is",
              "10,000: rows/s", "of peak", "fastnn is", "spread")]
    for name in dict.fromkeys(record["peer"] for record in records):
        found = {}
        for rows in ROWS:
            same = [record for record in records if record["rows"] == rows]
            found[rows] = of_peer(same, name), of_peer(same, "fastnn")
        one, batch, many = (
            statistics.median(found[rows][0]["median_us"]) for rows in ROWS
        )
        times = {rows: times_text(own, record) for rows, (record, own) in found.items()}
        lines.append((
            name,
            number(one),
            number(statistics.median(found[1][0]["p99_us"])),
            times[1],
            number(batch),
            times[64],
            number(1e6 * ROWS[-1] / many),
            percent(share_of_peak(found[ROWS[-1]][0])),
            times[ROWS[-1]],
            percent(max(spread(speed(record)) for record, _ in found.values())),
        ))
    return table(records, "inference", lines)


# ---- Markdown ----

def ratios(records, peers, speed=speed):
    """Cells of a row: the best peer, then each; `speed` says by what they are measured."""
    own = of_peer(records, "fastnn")
    others = [record for record in records if record is not own]
    if not own:
        return ["-"] * (1 + len(peers))
    found = {record["peer"]: ratio(speed(own), speed(record)) for record in others}
    best = min((name for name in found if not name.startswith("fastnn")), key=found.get,
               default=None)
    if best is None:
        return ["-"] * (1 + len(peers))
    texts = [number(found[name]) if name in found else "-" for name in peers]
    return [f"{number(found[best])} ({best})", *texts]


def p99_speed(record):
    return [1 / time for time in record["p99_us"]]


def grouped(records, *keys):
    groups = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    return groups.items()


def markdown_table(head, lines, n_text):
    """`n_text` columns to the left, the others to the right."""
    rule = ["---"] * n_text + ["---:"] * (len(head) - n_text)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def markdown(run):
    """Both tables as ratios, with what they were measured on."""
    parts = []
    peers = [name for name in run["versions"] if name != "fastnn"]
    if run["training"]:
        trained = [name for name in peers if of_peer(run["training"], name)]
        lines = []
        for (key, optimizer, n_threads), found in grouped(
            run["training"], "cell", "optimizer", "threads"
        ):
            own = of_peer(found, "fastnn")
            lines.append([
                GRID[key].label, optimizer, str(n_threads),
                percent(share_of_peak(own)) if own else "-", *ratios(found, trained),
            ])
        head = ["training", "optimizer", "threads", "of peak", "best peer", *trained]
        parts.append(markdown_table(head, lines, 2))
    if run["inference"]:
        lines = []
        for (key, n_threads, rows), found in grouped(run["inference"], "cell", "threads", "rows"):
            own = of_peer(found, "fastnn")
            share = percent(share_of_peak(own)) if own and rows == ROWS[-1] else ""
            lines.append([
                GRID[key].label, rows_text(rows), str(n_threads), share, *ratios(found, peers)
            ])
            if rows == 1:
                lines.append([
                    GRID[key].label, "1 row, p99", str(n_threads), "",
                    *ratios(found, peers, p99_speed),
                ])
        head = ["inference", "rows", "threads", "of peak", "best peer", *peers]
        parts.append(markdown_table(head, lines, 2))
    return "\n\n".join([*parts, footnote(run)])


def footnote(run):
    records = run["training"] + run["inference"]
    if not records:
        return NOTHING.strip()
    spreads = [spread(speed(record)) for record in records]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    paragraphs = [
        f"""fastnn's speed as a multiple of the peer's: above 1, fastnn is faster. Medians of
        {run["rounds"]} interleaved rounds, which lay {percent(statistics.median(spreads))} apart
        in the median and {percent(max(spreads))} at most. Of peak: operations needed, over threads
        times the speed of a product of 2048³ by SciPy's BLAS on one thread.""",
        f"""{run["cpu"]}, {run["system"]}, Python {run["python"]}; {versions}; SciPy's BLAS:
        {run["blas"]}.""",
        disturbance(records),
        *(f"Warning: {warning}." for warning in run["warnings"]),
    ]
    lines = (textwrap.fill(" ".join(text.split()), 100) for text in paragraphs if text)
    return "\n\n".join(lines)

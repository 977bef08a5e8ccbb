"""The dashboard: a summary of our own in front of asv's pages, all of them without a line from elsewhere.

asv's page loads libraries from the net and its data by requests that browsers refuse for files. Here the libraries come
from npm's registry once, each checked by its hash, and the data stand in a script: the folder works on any server, and
without one. Its graphs begin with a logarithmic axis and commits at even distances.
"""

import hashlib
import html
import json
import math
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PARTS = Path(__file__).parent / "dashboard"
LIBRARIES = {
    # what asv's page asks for: npm's package, the file in it, its sha256
    "jquery-3.3.1.min.js": (
        "jquery@3.3.1",
        "dist/jquery.min.js",
        "160a426ff2894252cd7cebbdd6d6b7da8fcd319c65b70468f10b6690c45d02ef",
    ),
    "jquery.flot.min.js": (
        "flot@0.8.3",
        "jquery.flot.js",
        "b7b931f273c38b1277b9c6c1f4e05c4ec09885a487bddaf3279e2d7e49a38e12",
    ),
    "jquery.flot.time.min.js": (
        "flot@0.8.3",
        "jquery.flot.time.js",
        "a582c832adc7138a6b05aaf61f16ebac274701f1be4afea77e739a1c34b9c41a",
    ),
    "jquery.flot.selection.min.js": (
        "flot@0.8.3",
        "jquery.flot.selection.js",
        "e6c85f6c1ebe4b4da29d8ae238c7c5060283f05f7ef054f6b91817d02c092918",
    ),
    "jquery.flot.categories.min.js": (
        "flot@0.8.3",
        "jquery.flot.categories.js",
        "6e81664b28ea795c734906f4aa15614640a75ac7fbd399a7fb9084040698351a",
    ),
    "jquery.flot.orderBars.js": (
        "flot-orderbars@1.0.0",
        "js/jquery.flot.orderBars.js",
        "39735b4f46f96ff4e082572401f47c55a2767b366fd1d1e821e44a8d830a12bf",
    ),
    "stupidtable.min.js": (
        "stupid-table-plugin@1.1.3",
        "stupidtable.min.js",
        "4642380f28ebe9ed7cac251793b281ef8620c4386205d92788f9b12f5cceb4e0",
    ),
    "md5.min.js": (
        "blueimp-md5@2.19.0",
        "js/md5.min.js",
        "64d7ded388c562e4bde9e58ce205e5fa01b9734fcd434d496eb7b4fbfe9b927d",
    ),
    "bootstrap.min.js": (
        "bootstrap@3.1.1",
        "dist/js/bootstrap.min.js",
        "898d05a17f2cfc5120ddcdba47a885c378c0b466f30f0700e502757e24b403a1",
    ),
    "bootstrap.min.css": (
        "bootstrap@3.1.1",
        "dist/css/bootstrap.min.css",
        "e9503448692b738dd260fbd7f7cabf2e11f09b600fa97e6eb3a56eba5b1a7e9b",
    ),
}
PATCHES = {
    # small graphs have a logarithmic axis, too
    "summarygrid.js": ("min: 0", "transform: function (v) { return v > 0 ? Math.log(v) : 0; }"),
    "asv_ui.js": ("min: 0", "transform: function (v) { return v > 0 ? Math.log(v) : 0; }"),
    "regressions.xml": ("index.html#", "all.html#"),
}
COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8a63c9", "#c77d0a", "#1a9aa0", "#6b7280", "#b83280", "#5b7f13")
SUMMARY = (
    # a panel's suite, what it tracks, its title; panels without results are left out
    ("history.training.Table", "microseconds", "How long does training take? The README's table"),
    ("history.training.Table", "share_of_numba", "… beside plain Numba loops"),
    ("history.training.Table", "share_of_numpy", "… beside NumPy by hand"),
    ("history.training.Table", "share_of_sklearn", "… beside scikit-learn"),
    ("history.training.Table", "share_of_jax", "… beside JAX"),
    ("history.training.Table", "share_of_torch", "… beside PyTorch"),
    ("history.calls.Calls", "microseconds", "How long does a call take?"),
    ("history.calls.Calls", "share_of_numpy", "… beside NumPy by hand"),
    ("history.calls.Calls", "share_of_onnxruntime", "… beside onnxruntime"),
    ("history.losses.Losses", "share_of_jax", "Where we lose: beside JAX"),
    ("history.losses.Losses", "share_of_onnxruntime", "Where we lose: beside onnxruntime"),
    ("history.losses.Losses", "share_of_torch", "Where we lose: beside PyTorch"),
    ("history.losses.Losses", "microseconds", "Where we lose: our time"),
    ("history.start.Start", "seconds", "How long until the first training is done? Checkout and wheel"),
    ("history.accuracy.Learned", "wrong_after_a_time", "How much is learned in a fixed time?"),
    ("history.accuracy.Learned", "wrong_after_epochs", "How much is learned in some epochs?"),
    ("history.memory.Memory", "megabytes", "How much memory does it take?"),
    ("history.control.Control", "microseconds", "Did the machine change? What is not ours"),
    ("history.training.Table", "noise", "How noisy was it? Median round over best"),
)
PEERS = {"numba": "plain Numba", "jax": "JAX", "torch": "PyTorch", "sklearn": "scikit-learn", "numpy": "NumPy"}


def publish(asv_pages, history, others, target):
    """Write the dashboard from asv's published pages and the results that they were made of.

    The summary in front is that of one machine; it leads to those of the others."""
    data = {str(path.relative_to(asv_pages)): json.loads(path.read_text()) for path in asv_pages.rglob("*.json")}
    index = data["index.json"]
    shown = {name for name, _ in history.series}
    index["benchmarks"] = {name: of for name, of in index["benchmarks"].items() if name in shown}
    for path in [path for path in data if path.endswith("/summary.json")]:  # what the list of benchmarks has
        data[path] = [entry for entry in data[path] if entry["name"] in shown]
    for path in asv_pages.rglob("*.json"):
        path.unlink()
    shutil.rmtree(asv_pages / "graphs")
    page = (asv_pages / "index.html").read_text()
    (asv_pages / "index.html").unlink()
    for name, (old, new) in PATCHES.items():
        text = (asv_pages / name).read_text()
        (asv_pages / name).write_text(text.replace(old, new))
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(asv_pages, target)
    fetch(target / "libraries")
    (target / "data.js").write_text(f"var published = {json.dumps(data, separators=(',', ':'))};\n")
    for part in PARTS.iterdir():
        shutil.copy(part, target)
    (target / "all.html").write_text(without_the_net(page))
    pages = {history.machine["machine"]: "index.html"}
    pages |= {other.machine["machine"]: f"{other.machine['machine']}.html" for other in others}
    for of_machine in (history, *others):
        (target / pages[of_machine.machine["machine"]]).write_text(summary(of_machine, index, pages))
    page = target.parent / "dashboard.html"  # of the documentation, which names the dashboard and now has it
    if page.exists():
        here = f"{target.name}/index.html"
        page.write_text(page.read_text().replace(f"<code>{here}</code>", f'<a href="{here}"><code>{here}</code></a>'))


def fetch(folder):
    """Put the libraries into a folder, as npm's registry has them."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as packed:
        for package in {package for package, _, _ in LIBRARIES.values()}:
            subprocess.run(["npm", "pack", "--silent", "--ignore-scripts", package], cwd=packed, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
        for name, (package, path, sha256) in LIBRARIES.items():
            with tarfile.open(Path(packed) / f"{package.replace('@', '-')}.tgz") as archive:
                content = archive.extractfile(f"package/{path}").read()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SystemExit(f"{path} of {package} is not the file that it was: its sha256 differs")
            (folder / name).write_bytes(content)


def without_the_net(page):
    """asv's page, with the libraries of the folder, and the data before what asks for them."""

    def local(tag):
        name = tag[2].rpartition("/")[2]
        if name not in LIBRARIES:
            raise SystemExit(f"asv's page loads {tag[2]}, which scripts/bench_pages.py does not know: a newer asv?")
        if name.endswith(".css"):
            return f'<link rel="stylesheet" href="libraries/{name}">'
        return f'<script src="libraries/{name}"></script>'

    page = re.sub(r'<(script|link)[^>]*?(?:src|href)="(https://[^"]*)"[^>]*>(?:</script>)?', local, page)
    scripts = "".join(f'<script src="{name}"></script>\n    ' for name in ("data.js", "offline.js"))
    page = page.replace('<script language="javascript"', f'{scripts}<script language="javascript"', 1)
    page = page.replace("</head>", '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
                        '    <link href="narrow.css" rel="stylesheet">\n  </head>')  # fmt: skip
    return page.replace('<li id="nav-li-"', '<li><a href="index.html">Summary</a></li>\n\t<li id="nav-li-"')


def summary(history, index, pages):
    """The page in front: today's numbers beside others', what changed, and a panel for each question.

    `pages` has the summary of every machine that has results."""
    newest = history.commits[-1]
    date, subject = history.log[newest]
    first = history.log[history.commits[0]][0]
    days = date if first == date else f"{first} to {date}"
    panels = [panel(history, index, *entry) for entry in SUMMARY if history.of(*entry[:2])]
    machine = ", ".join(filter(None, (history.machine.get(name) for name in ("machine", "cpu", "os"))))
    links = [f'<a href="{page}">{name}</a>' for name, page in pages.items() if name != history.machine["machine"]]
    elsewhere = f"<p>On other machines: {', '.join(links)}.</p>" if links else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastmlp: how fast, commit by commit</title>
<link rel="icon" href="swallow.ico">
<link rel="stylesheet" href="summary.css">
<h1>How fast is fastmlp, commit by commit?</h1>
<p class="muted">{len(history.commits)} of {len(history.log):,} commits, {days},
on one machine ({html.escape(machine)}); the newest is {link(index, newest)} “{html.escape(subject)}”.</p>
<p>One thread, processor time, warm kernels; everybody takes turns in the same process, and the best round counts.
<a href="all.html#/">All series</a> are in asv's own pages, where each can be zoomed and
<a href="all.html#/regressions">regressions</a> are listed.</p>
{elsewhere}
{table(history)}
{changes(history, index)}
<h2>Over the commits</h2>
<p class="muted">Axes are logarithmic, commits stand at even distances; lower is better everywhere. Shares are fastmlp's
time divided by the peer's: below the dashed line fastmlp is faster. Point at a dot for its value and commit.</p>
<div class="panels">
{"".join(panels)}
</div>
</html>
"""


def table(history):
    """What training takes today, and how many times as long the others take, like the README's table."""
    times = history.of("history.training.Table", "microseconds")
    shares = {name: history.of("history.training.Table", f"share_of_{peer}") for peer, name in PEERS.items()}
    shares = {name: of for name, of in shares.items() if of}
    if not times:
        return ""
    lines = []
    for row, series in times.items():
        commit, value = list(series.values.items())[-1]
        ratios = (of[row].values.get(commit) if row in of else None for of in shares.values())
        cells = "".join(f"<td>{f'{figures(1 / ratio)}×' if ratio else ''}</td>" for ratio in ratios)
        lines.append(f"<tr><td>{html.escape(row)}</td><td>{figures(value)}</td>{cells}</tr>")
    head = "".join(f"<th>{name}</th>" for name in shares)
    return f"""<h2>Today: training, µs a sample, and how many times as long others take</h2>
<div class="wide"><table><tr><th></th><th>fastmlp</th>{head}</tr>{"".join(lines)}</table></div>"""


def changes(history, index):
    """The largest changes, commit by commit."""
    by_commits = {}
    for change in history.changes():
        by_commits.setdefault((change.before, change.after), []).append(change)
    ordered = sorted(by_commits.items(), key=lambda item: -abs(math.log(item[1][0].factor)))[:15]
    ordered.sort(key=lambda item: -history.commits.index(item[0][1]))
    lines = []
    for (before, after), found in ordered:
        between = list(history.log)
        count = between.index(after) - between.index(before)
        words = "; ".join(f"{html.escape(change.row)} {words_of(change.factor)}" for change in found[:3])
        more = f"; {len(found) - 3} more" if len(found) > 3 else ""
        date, subject = history.log[after]
        until = f"the last of {count} commits" if count > 1 else ""
        commit = f"{link(index, after)} {html.escape(subject)}"
        lines.append(f'<tr><td class="text">{words}{more}</td><td class="text">{commit} '
                     f'<span class="muted">{until}</span></td><td>{date}</td></tr>')  # fmt: skip
    if not lines:
        return ""
    return f"""<h2>What made it faster or slower</h2>
<p class="muted">From one measured commit to the next, where the time and its shares of everybody else's agree.</p>
<div class="wide"><table class="changes"><tr><th>what</th><th class="text">up to commit</th><th>date</th></tr>
{"".join(lines)}</table></div>"""


def words_of(factor):
    kind, times = ("slower", factor) if factor > 1 else ("faster", 1 / factor)
    return f'<span class="{kind}">{figures(times)}× {kind}</span>'


def link(index, commit):
    return f'<a href="{html.escape(index["show_commit_url"])}{commit}"><code>{commit[:8]}</code></a>'


def panel(history, index, suite, what, title):
    """A figure: every row of a benchmark over the commits, with a link to asv's page where that has it."""
    rows = history.of(suite, what)
    benchmark = next(iter(rows.values())).benchmark
    legend = []
    for colour, (row, series) in zip(COLOURS, rows.items(), strict=False):
        first, *_, last = [*series.values.values()] * 2
        judged = len(series.values) > 1 and what == "microseconds" and suite != "history.control.Control"
        change = words_of(last / first) if judged else ""
        legend.append(f'<li><i style="background:{colour}"></i><b>{html.escape(row)}</b>'
                      f"<span>{change} {figures(last)}</span></li>")  # fmt: skip
    heading = html.escape(title)
    if benchmark["name"] in index["benchmarks"]:
        heading = f'<a href="all.html#{benchmark["name"]}">{heading}</a>'
    return f"""<figure><h3>{heading}</h3>
<figcaption>{html.escape(benchmark["unit"])}</figcaption>
{chart(history, rows, what)}<ul class="legend">{"".join(legend)}</ul></figure>
"""


def chart(history, rows, what):
    """The lines of a panel as SVG, over all measured commits."""
    width, height, left, top, bottom = 420, 240, 46, 8, 24
    shown = [max(value, 1e-3) for series in rows.values() for value in series.values.values()]
    ones = [1.0] if what.startswith("share_of") and what.partition("share_of_")[2] not in ("sgemm", "copy") else []
    low, high = math.log(min(shown + ones) / 1.15), math.log(max(shown + ones) * 1.15)
    last = max(len(history.commits) - 1, 1)
    place = {commit: left + (width - left - 10) * number / last for number, commit in enumerate(history.commits)}

    def y(value):
        return top + (height - top - bottom) * (high - math.log(max(value, 1e-3))) / (high - low)

    parts = []
    for tick in ticks(math.exp(low), math.exp(high)):
        parts.append(f'<line class="grid" x1="{left}" x2="{width}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{figures(tick)}</text>')
    for one in ones:
        parts.append(f'<line class="one" x1="{left}" x2="{width}" y1="{y(one):.1f}" y2="{y(one):.1f}"/>')
    for commit, anchor in {history.commits[-1]: "end", history.commits[0]: "start"}.items():
        parts.append(
            f'<text x="{place[commit]:.0f}" y="{height - 6}" text-anchor="{anchor}">{history.log[commit][0]}</text>'
        )
    for colour, (row, series) in zip(COLOURS, rows.items(), strict=False):
        points = [(place[commit], y(value), commit, value) for commit, value in series.values.items()]
        line = " ".join(f"{x:.1f},{at:.1f}" for x, at, _, _ in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for x, at, commit, value in points:
            date, subject = history.log[commit]
            said = html.escape(f"{row}: {figures(value)} at {commit[:8]}, {date}, {subject}")
            parts.append(f'<circle cx="{x:.1f}" cy="{at:.1f}" r="2.6" fill="{colour}"><title>{said}</title></circle>')
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def ticks(low, high):
    """Round numbers of a logarithmic axis, about five."""
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [step * 10.0**power for power in range(-4, 8) for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) >= 3:
            break
    return found[:: max(1, len(found) // 6)]


def figures(value):
    """A number with three figures, or with all that stand before the decimal point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"

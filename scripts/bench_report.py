"""The report at 5, 100 and 500 cases: its size, how long it takes to write and to open, and the memory.

Five simulated patients (or real ones: --cohort FOLDER, a folder with images/ and labels/) stand for all:
each is drawn as finely as a report of that many cases draws it, and goes into the page again and again
under other names. Predictions are references moved by some voxels. Opening is timed in headless Chromium,
from the start of the navigation to the first viewer drawn; its memory is that of all its processes.

    python scripts/bench_report.py [--cases 5 100 500] [--cohort FOLDER] [--keep FOLDER] [--browser PATH]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, sync_playwright

from medseg.config.inference import EvaluationConfig
from medseg.data.phantom import PHANTOM_LABELS, phantom_patient
from medseg.evaluation import CaseScore, FailedCase, rules_for, score_case, summarise
from medseg.io import read_label, read_volume
from medseg.report import CaseView, Origin, render_view, write_report
from medseg.report.budget import bytes_for_a_case
from medseg.volume import Volume

DISTINCT = 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
CONFIG = EvaluationConfig(metrics=("dice", "hd95"))

Patient = tuple[Volume, Volume, Volume]


def simulated_patients() -> tuple[list[Patient], dict[str, int]]:
    found = [phantom_patient(0, number) for number in range(DISTINCT)]
    return [(each.image, moved(each.label, at), each.label) for at, each in enumerate(found)], PHANTOM_LABELS


def real_patients(folder: Path) -> tuple[list[Patient], dict[str, int]]:
    patients: list[Patient] = []
    for path in sorted((folder / "labels").iterdir())[:DISTINCT]:
        label = read_label(path)
        patients.append((read_volume(folder / "images" / path.name), moved(label, len(patients)), label))
    values = sorted({int(value) for _, _, label in patients for value in np.unique(label.array)} - {0})
    return patients, {f"structure {value}": value for value in values}


def moved(label: Volume, voxels: int) -> Volume:
    """The more voxels, the worse; the fourth patient lacks its first structure."""
    array = np.roll(label.array, voxels, axis=0).copy()
    if voxels == 3:
        array[array == 1] = 0
    return label.with_array(array)


def many(
    patients: Sequence[Patient], labels: dict[str, int], cases: int
) -> tuple[list[CaseScore], dict[str, CaseView], float]:
    """Scores and viewers of so many cases, and the seconds that one viewer took."""
    seeds: list[tuple[CaseScore, CaseView]] = []
    seconds = 0.0
    for number, (image, prediction, reference) in enumerate(patients):
        score = score_case(str(number), prediction, reference, labels=labels, config=CONFIG)
        began = time.perf_counter()
        view = render_view(
            str(number), image, prediction, reference, labels=labels, most_bytes=bytes_for_a_case(cases)
        )
        seconds += time.perf_counter() - began
        seeds.append((score, view))
    random = np.random.default_rng(0)
    scores, views = [], {}
    for number in range(cases):
        score, view = seeds[number % len(seeds)]
        name = f"case_{number:04d}"
        worse = float(random.uniform(0.8, 1.0))
        structures = tuple(
            replace(each, values={**each.values, "dice": (each.values["dice"] or 0.0) * worse})
            for each in score.structures
        )
        scores.append(replace(score, case=name, patient=name, structures=structures))
        views[name] = view
    return scores, views, seconds / len(seeds)


def open_page(browser: Browser, page: Path) -> tuple[float, float, float]:
    """Seconds until the page is there, until the first viewer is drawn, and the browser's memory in MB."""
    shown = browser.new_page(viewport={"width": 1300, "height": 900})
    began = time.perf_counter()
    shown.goto(page.as_uri(), wait_until="domcontentloaded")
    there = time.perf_counter() - began
    shown.wait_for_selector("#viewer-box[aria-busy=false]", state="attached")
    drawn = time.perf_counter() - began
    megabytes = sum(process.memory_full_info().pss for process in browsers()) / 1e6
    shown.close()
    return there, drawn, megabytes


def browsers() -> list[psutil.Process]:
    """Our own browser's processes."""
    return [child for child in psutil.Process().children(recursive=True) if "chrom" in child.name()]


def row(
    browser: Browser, folder: Path, source: tuple[list[Patient], dict[str, int]], cases: int
) -> list[str]:
    patients, labels = source
    scores, views, drawing = many(patients, labels, cases)
    failed = (FailedCase("case_failed", "", "no scan"),)
    history: list[dict[str, Any]] = [{"step": s, "loss": 1 / s} for s in range(1, 5000)]
    summary = summarise(scores, failed, rules=rules_for(CONFIG))
    path = folder / f"report_{cases}.html"
    began = time.perf_counter()
    write_report(
        path, title=f"{cases} cases", summary=summary, scores=scores, failed=failed, views=views,
        origin=Origin(history=history, configuration="name: bench"),
    )  # fmt: skip
    writing = time.perf_counter() - began
    there, drawn, megabytes = min(open_page(browser, path) for _ in range(3))
    shown = path.read_text(encoding="utf-8").count('-labels">')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return [
        str(cases), str(shown), f"{path.stat().st_size / 1e6:.1f} MB", f"{drawing:.2f} s", f"{writing:.2f} s",
        f"{there:.2f} s", f"{drawn:.2f} s", f"{megabytes:.0f} MB", f"{peak:.0f} MB",
    ]  # fmt: skip


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--cases", type=int, nargs="+", default=[5, 100, 500])
    told.add_argument("--cohort", type=Path)
    told.add_argument("--keep", type=Path, help="A folder for the pages; otherwise they are removed.")
    told.add_argument("--browser", default="/usr/bin/chromium")
    asked = told.parse_args()
    source = real_patients(asked.cohort) if asked.cohort else simulated_patients()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=asked.browser, args=FLAGS)
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        columns = [
            "cases", "viewers", "size", "a viewer is drawn in", "written in", "page there after",
            "first viewer after", "browser's memory", "peak memory of writing",
        ]  # fmt: skip
        print("| " + " | ".join(columns) + " |\n|" + "---:|" * len(columns))
        for cases in asked.cases:
            print("| " + " | ".join(row(browser, folder, source, cases)) + " |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()

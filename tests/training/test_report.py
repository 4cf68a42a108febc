"""The report: complete figures, a page that stands alone, and text to paste."""

import json
import re

import pytest

pytest.importorskip("matplotlib", reason="the report needs the training extra: pip install -e '.[training]'")

from pointsman.classifier.commands import main
from pointsman.classifier.labels import HEADS
from pointsman.training.report import ReportConfig, build_report, report_json
from pointsman.training.report_page import page
from pointsman.training.report_tables import markdown


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    labels = {"category": "debugging", "risk": "medium", "scope": "file", "turn": "new"}
    rows = [("fix the crash", "en"), ("the parser fails", "en"), ("write docs", "en"), ("texte", "fr")]
    lines = [
        json.dumps({"id": str(n), "group": f"p{n // 2}", "lang": lang, "prompt": prompt} | labels)
        for n, (prompt, lang) in enumerate(rows)
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def full(tiny_bundle, labelled_file, pairs_file):
    config = ReportConfig(
        data=(labelled_file,), bundle=tiny_bundle, pairs=(pairs_file,), command="pointsman report", n_bootstrap=20
    )
    return build_report(config)


@pytest.fixture(scope="module")
def html(full):
    return page(full)


def test_page_makes_no_request_and_runs_no_script(html):
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|url\((?!#)|@import|<script|<link rel="stylesheet"', html) == []


def test_page_escapes_what_comes_from_files(full, tiny_bundle, labelled_file, tmp_path):
    odd = tmp_path / "<b>&.jsonl"
    odd.write_text(labelled_file.read_text())
    html = page(build_report(ReportConfig(data=(odd,), bundle=tiny_bundle, n_bootstrap=5)))
    assert "&lt;b&gt;&amp;.jsonl" in html
    assert "<b>" not in html


def test_ids_on_the_page_are_unique(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_plots_take_their_colours_from_the_page(html):
    assert html.count('class="plot"') == 3 + len(HEADS)
    assert "#0101" not in html
    assert "#0404" not in html


def test_every_router_and_every_reason_is_on_the_page(full, html):
    names = [standing.name for standing in full.comparison.standings] + [s.name for s in full.comparison.skipped]
    assert [name for name in names if name.replace("&", "&amp;") not in html] == []


def test_bundle_is_also_asked_as_other_routers_are(full):
    kinds = {standing.name: standing.kind for standing in full.comparison.standings}
    assert kinds["Pointsman tiny-1, prompt alone"] == "ablation"


def test_json_has_every_figure_and_no_nan(full):
    figures = report_json(full)
    assert "NaN" not in json.dumps(figures)
    assert set(figures["heads"]) == set(HEADS)
    assert len(figures["heads"]["category"]["confusion"]) == len(HEADS["category"])
    assert figures["care"]["curve"][-1]["missed"] == 0
    assert [row["name"] for row in figures["pairs"]] == ["paraphrase", "translation"]
    assert figures["files"][0]["sha256"]


def test_markdown_rows_have_as_many_cells_as_their_head(full):
    tables = [block.split("\n") for block in markdown(full).strip().split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    assert all(len({row.count("|") for row in table}) == 1 for table in tables)


def test_command_writes_page_json_and_markdown(capsys, tmp_path, tiny_bundle, labelled_file, pairs_file):
    outputs = {"--output": "r.html", "--json": "r.json", "--markdown": "r.md"}
    options = [part for option, name in outputs.items() for part in (option, str(tmp_path / "new" / name))]
    command = ["report", "--data", str(labelled_file), "--pairs", str(pairs_file), "--bundle", str(tiny_bundle)]
    command += ["--draws", "20"]
    assert main([*command, *options]) == 0
    assert {file.name for file in (tmp_path / "new").iterdir()} == set(outputs.values())
    assert "paraphrase" in capsys.readouterr().out


def test_report_names_files_and_never_folders(tmp_path, tiny_bundle, labelled_file):
    output = tmp_path / "r.html"
    command = ["report", "--data", str(labelled_file), "--bundle", str(tiny_bundle), "--draws", "20"]
    main([*command, "--output", str(output)])
    assert str(labelled_file.parent) not in output.read_text()
    assert f"--data {labelled_file.name}" in output.read_text()


def test_report_on_an_empty_file_says_so(capsys, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert main(["report", "--data", str(empty), "--output", str(tmp_path / "r.html")]) == 2
    assert "no labelled turns in" in capsys.readouterr().err


def test_evaluation_stands_beside_baselines(capsys, tiny_bundle, labelled_file):
    assert main(["evaluate", "--data", str(labelled_file), "--bundle", str(tiny_bundle), "--draws", "20"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in ("constant", "length", "key words", "not installed: pip install", "AUC"))

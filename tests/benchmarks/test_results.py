"""All benchmarks in one file, and the table of docs/speed.md from it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from benchmarks import __main__ as runner
from benchmarks.table import PAGE, RESULTS, filled, update
from helpers.command_line import wait_for

ROW = {"what": "a loss", "unit": "CPU s", "agree": True, "goal": None, "limit": None, "row": "loss", "note": ""}
SIDES = [{"name": name, "median": value, "least": 1.0, "greatest": 9.0} for name, value in (("plain", 5), ("ours", 2))]
FAST = {**ROW, "baseline": SIDES[0], "ours": SIDES[1]}
LEAN = {**FAST, "unit": "B", "baseline": {**SIDES[0], "median": 3000}, "ours": {**SIDES[1], "median": 2048}}
MISSING = {"what": "a loss", "baseline": "kornia", "reason": "kornia missing", "row": "loss"}
ALONE = {**FAST, "baseline": None, "row": "update"}
HIDDEN = {**FAST, "row": ""}


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A function that puts scripts of these bodies in place of the real ones; ``file`` is where they write."""
    begin = "import json, os, pathlib, signal, sys\nfile = pathlib.Path(sys.argv[sys.argv.index('--write') + 1])\n"

    def put(**bodies):
        paths = {name: tmp_path / f"bench_{name}.py" for name in bodies}
        for name, body in bodies.items():
            paths[name].write_text(begin + textwrap.dedent(body))
        monkeypatch.setattr(runner, "SCRIPTS", paths)
        return tmp_path / "speed.json"

    return put


def writes(*rows, error="", status=0):
    """The body of a script that finds these rows."""
    return f"file.write_text({json.dumps({'error': error, 'rows': rows})!r})\nsys.exit({status})"


def test_a_script_that_fails_costs_the_others_nothing(scripts, capfd):
    file = scripts(
        broken=writes(FAST, error="ValueError: no", status=1),
        killed="os.kill(os.getpid(), signal.SIGKILL)",
        sound=writes(FAST, MISSING),
    )
    assert runner.main(["--write", str(file), "--tiny"]) == 1
    found = json.loads(file.read_text())
    assert found["tiny"] and found["machine"]["cores"] and found["versions"]["torch"]
    broken, killed, sound = (found["scripts"][f"bench_{name}"] for name in ("broken", "killed", "sound"))
    assert broken["rows"] == [FAST] and broken["error"] == "ValueError: no"
    assert killed["rows"] == [] and "-9" in killed["error"]
    assert sound["rows"] == [FAST, MISSING] and sound["error"] == "" and sound["date"]
    said = capfd.readouterr().out
    assert "[3/3] bench_sound.py: 1 comparisons in" in said and "1 not measured" in said
    assert "bench_broken.py, bench_killed.py" in said


def test_some_entries_are_renewed_where_the_machine_is_the_same(scripts, capsys):
    file = scripts(one=writes(FAST), two=writes(LEAN))
    assert runner.main(["--write", str(file), "--only", "one"]) == 0
    assert json.loads(file.read_text())["scripts"]["bench_two"] == runner.LEFT_OUT
    assert runner.main(["--write", str(file), "--only", "two"]) == 0
    assert [entry["rows"] for entry in json.loads(file.read_text())["scripts"].values()] == [[FAST], [LEAN]]
    scripts(two=writes(LEAN), new=writes(LEAN))  # one has gone, a new one has come
    assert runner.main(["--write", str(file), "--only", "new"]) == 0
    assert [entry["rows"] for entry in json.loads(file.read_text())["scripts"].values()] == [[LEAN], [LEAN]]
    with pytest.raises(SystemExit):
        runner.main(["--write", str(file), "--only", "two", "--tiny"])
    assert "differs in tiny" in capsys.readouterr().err


def test_what_another_machine_wrote_is_taken_over_with_its_name(scripts, tmp_path, capsys):
    file = scripts(one=writes(FAST), two=writes(LEAN))
    assert runner.main(["--write", str(file), "--only", "one"]) == 0
    there = tmp_path / "there.json"
    there.write_text(json.dumps({"machine": "a card, 16 cores", "error": "", "rows": [LEAN]}))
    assert runner.main(["--write", str(file), "--add", "two", str(there)]) == 0
    found = json.loads(file.read_text())
    assert found["scripts"]["bench_two"]["rows"] == [LEAN] and found["scripts"]["bench_one"]["rows"] == [FAST]
    assert " on a card, 16 cores" in filled("<!-- speed --><!-- /speed -->", {**found, "tiny": False})
    assert "`bench_two.py` " in filled("<!-- speed --><!-- /speed -->", {**found, "tiny": False})
    scripts(one=writes(LEAN), two=writes(MISSING))
    assert runner.main(["--write", str(file)]) == 0  # all is renewed but what only the other machine can measure
    renewed = json.loads(file.read_text())["scripts"]
    assert renewed["bench_one"]["rows"] == [LEAN] and renewed["bench_two"] == found["scripts"]["bench_two"]
    scripts(one=writes(LEAN), two=writes(FAST))
    assert runner.main(["--write", str(file)]) == 0
    assert json.loads(file.read_text())["scripts"]["bench_two"]["rows"] == [FAST]
    with pytest.raises(SystemExit):
        runner.main(["--add", "two", str(there)])
    assert "--add NAME FILE needs --write FILE" in capsys.readouterr().err


def results(**scripts):
    """A results file with these entries."""
    versions = {"python": "3.11", "torch": "2.14"}
    return {"tiny": False, "machine": {"processor": "x", "cores": 2}, "versions": versions, "scripts": scripts}


def test_the_table_has_a_line_for_every_row_and_says_what_is_missing():
    entry = {"date": "2026-01-01", "commit": "0123456789", "changed": False, "error": ""}
    found = results(
        bench_a={**entry, "rows": [FAST, LEAN, MISSING, HIDDEN, ALONE]},
        bench_b={**entry, "commit": "abcdefghij", "rows": [], "error": "it failed"},
        bench_c={**entry, "rows": [{**FAST, "note": "another law"}]},
        bench_d={
            **entry,
            "rows": [{**FAST, "goal": 2.5}, {**FAST, "goal": 3.0, "baseline": {"name": "x", "median": 4}}],
        },
    )
    lines = filled("before\n<!-- speed -->old<!-- /speed -->\nafter", found).splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert lines[3] == (
        "Measured 2026-01-01 at commit 0123456; `bench_b.py` 2026-01-01 at commit abcdefg; 2 cores of x, Python 3.11, "
        "torch 2.14."
    )
    assert lines[7:12] == [
        "| loss | 2 CPU s, 2 KiB | plain 2.5×, memory 1.46×; kornia not measured | `bench_a.py` |",
        "| update | 2 CPU s | – | `bench_a.py` |",
        "| `bench_b.py` | not measured | it failed | `bench_b.py` |",
        "| loss | 2 CPU s | plain (another law) 2.5× | `bench_c.py` |",
        "| loss | 2 CPU s | plain 2.5×; x 2.0× (goal 3×) | `bench_d.py` |",
    ]


def test_a_page_without_a_place_and_results_of_tiny_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="speed -->"):
        filled("no marker", results())
    (tmp_path / "speed.json").write_text(json.dumps({**results(), "tiny": True}))
    with pytest.raises(ValueError, match="tiny sizes"):
        update(PAGE, tmp_path / "speed.json")


def test_the_page_of_speed_has_the_table_of_the_committed_results():
    page = PAGE.read_text(encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert filled(page, found) == page, "run python -m tests.benchmarks --page"
    assert not found["tiny"] and found["scripts"].keys() == {path.stem for path in runner.SCRIPTS.values()}


STOPPED = """
import runpy
from pathlib import Path

glob = Path.glob
Path.glob = lambda path, pattern: [Path(%r)] if pattern == "bench_*.py" else glob(path, pattern)
runpy.run_module("tests.benchmarks", run_name="__main__")
"""
ENDLESS = """
import sys, tempfile, time
from pathlib import Path
from harness import script
from bench_threads import busy_process

def measure(tiny):
    with tempfile.TemporaryDirectory(), busy_process():
        Path(%r).touch()
        time.sleep(600)
        yield

sys.exit(script(measure))
"""


@pytest.mark.slow
def test_a_benchmark_that_is_terminated_leaves_no_process_and_no_folder(tmp_path):
    place, script, begun = tmp_path / "temporary", tmp_path / "bench_endless.py", tmp_path / "begun"
    place.mkdir()
    script.write_text(ENDLESS % str(begun))
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(Path(runner.__file__).parent)}
    command = [sys.executable, "-c", STOPPED % str(script)]
    process = subprocess.Popen(command, env=environment, cwd=RESULTS.parents[1], stderr=subprocess.PIPE)
    wait_for(begun.exists)
    assert len(list(place.iterdir())) == 2
    process.terminate()
    assert process.wait(60) != 0 and process.stderr.read()  # which all of its processes have closed
    assert list(place.iterdir()) == []

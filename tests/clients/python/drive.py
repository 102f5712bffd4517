"""Runs every public function of one client's script, and writes what each gave as JSON.

Called as `drive.py SCRIPT REPORT ADDRESS ASKED`, by the interpreter of that client's environment; the script finds the
daemon's address and what to ask (JSON) in its arguments.
"""

import inspect
import json
import runpy
import sys
import traceback
from pathlib import Path


def main(script: str, report: str, *arguments: str) -> None:
    sys.argv = [script, *arguments]
    steps = {
        name: function
        for name, function in runpy.run_path(script, run_name="client").items()
        if inspect.isfunction(function) and function.__module__ == "client" and not name.startswith("_")
    }
    outcomes = {}
    for name, function in steps.items():
        try:
            outcomes[name] = {"gave": function()}
        except Exception as error:  # noqa: BLE001  # which one it is, the test judges
            said = str(error)[:2000]
            outcomes[name] = {"raised": type(error).__name__, "said": said, "at": traceback.format_exc(limit=-4)}
    Path(report).write_text(json.dumps(outcomes), encoding="utf-8")


main(*sys.argv[1:])

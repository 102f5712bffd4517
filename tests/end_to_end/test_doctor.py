"""A real daemon examines itself."""

from __future__ import annotations

from tests.benchmarks.daemon import Daemon


def test_a_daemon_examines_itself(own_daemon: Daemon) -> None:
    own_daemon.start()
    answer = own_daemon.get("/runner/doctor")
    found = {each["check"]: each for each in answer["findings"]}
    assert {"settings", "store", "sandbox", "engine", "memory"} <= set(found)
    assert found["settings"]["state"] == found["engine"]["state"] == "ok", found
    assert "1 model is in" in found["store"]["said"]
    assert answer["ok"] == all(each["state"] != "fail" for each in answer["findings"])

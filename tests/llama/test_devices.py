"""The devices that llama.cpp sees on this machine: at the least its CPU."""

from __future__ import annotations

import pytest

from runner.errors import LoadFailed
from runner.llama import devices, library


def test_the_cpu_is_always_there() -> None:
    library.start()
    found = devices.survey("this build")
    (cpu,) = [device for device in found.devices if device.kind == "cpu"]
    assert (cpu.name, cpu.backend) == ("CPU", "cpu")
    assert cpu.total > 2**28
    assert "cpu" in found.backends
    assert {device.backend for device in found.devices} <= set(found.backends)
    assert set(found.splits_rows) <= set(found.backends)
    assert found.offloads == any(device.kind in ("gpu", "igpu") for device in found.devices)
    assert found.engine == "this build"
    assert "CPU" in found.system


def test_a_device_has_an_address_by_its_name() -> None:
    library.start()
    assert devices.address("CPU") == devices.address("CPU") != 0
    with pytest.raises(LoadFailed, match="no device Metal here; it sees"):
        devices.address("Metal")

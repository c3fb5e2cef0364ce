# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: the installed daemon under a real systemd, each test in a machine of its own."""
import pytest

from container import Container
from machine import machine, post_install, sim  # noqa: F401
from monitor import Monitor


@pytest.fixture
def installed(build):
    """A machine right after the installation, without simulated functions."""
    container = Container(build)
    try:
        post_install(container.start())
        yield container
    finally:
        container.close()


@pytest.fixture
def monitor(machine):  # noqa: F811
    """A subscriber on the machine's bus."""
    monitor = Monitor(machine.bus_address)
    yield monitor
    monitor.close()

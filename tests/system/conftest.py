# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: the installed daemon under a real systemd, each test in a machine of its own."""
import os
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))

from container import Container  # noqa: E402
from monitor import Monitor  # noqa: E402
from sim import Sim  # noqa: E402


@pytest.fixture(scope='session')
def build():
    """The build directory."""
    try:
        return Path(os.environ['ZPCI_ERRORD_BUILD']).resolve(strict=True)
    except (KeyError, OSError) as error:
        pytest.exit(f'ZPCI_ERRORD_BUILD has to be the build directory: {error!r}', 2)


def post_install(container):
    """What `meson install` does at its end where no DESTDIR is set."""
    with open(SOURCE / 'systemd' / 'post-install') as script:
        container.run('bash', '-s', '/usr/lib/sysusers.d/zpci-errord.conf', stdin=script)


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
def sim(build):
    """No functions yet; see lib/sim.py."""
    with Sim(build) as sim:
        yield sim


@pytest.fixture
def machine(build, sim):
    """A machine whose kernel has the simulated functions, as far as the daemon can see."""
    container = Container(build, [build, sim.dir])
    try:
        post_install(container.start())
        environment = '\n'.join(f'Environment={key}={value}' for key, value in sim.env.items())
        container.drop_in('simulator', f'{environment}\nBindPaths={sim.dir} {build}')
        yield container
    finally:
        container.close()


@pytest.fixture
def monitor(machine):
    """A subscriber on the machine's bus."""
    monitor = Monitor(machine.bus_address)
    yield monitor
    monitor.close()

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for conftest.py: the installed daemon in a machine of its own, whose kernel has simulated functions."""
from pathlib import Path

import pytest

from container import Container
from sim import Sim

POST_INSTALL = Path(__file__).parents[2] / 'systemd' / 'post-install'


def post_install(container):
    """What `meson install` does at its end where no DESTDIR is set."""
    with open(POST_INSTALL) as script:
        container.run('bash', '-s', '/usr/lib/sysusers.d/zpci-errord.conf', stdin=script)


@pytest.fixture
def sim(build):
    """No functions yet; see lib/sim.py."""
    with Sim(build, world=True) as sim:
        yield sim


@pytest.fixture
def machine(build, sim):
    """A machine whose kernel has the simulated functions, as far as the daemon can see."""
    container = Container(build, [build, sim.directory])
    try:
        post_install(container.start())
        environment = ' '.join(f'"{key}={value}"' for key, value in sim.env({}).items())
        container.drop_in(
            'simulator', f'Environment={environment}\nBindPaths={sim.directory} {build}')
        yield container
    finally:
        container.close()

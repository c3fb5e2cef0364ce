# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of a user-space driver that attaches its device do what they say."""
import subprocess
from pathlib import Path

import pytest

from deadline import Deadline, scaled
from open_files import devices
from published import path

SOURCES = Path(__file__).parents[2] / 'examples'
A = '0001:00:00.0'
FID = 0x10

pytestmark = [
    pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True),
    pytest.mark.parametrize('program', ['attach', 'attach.py']),
]


class Driver:
    """An example that runs. Unbuffered: of two lines that come at once the second would wait where no poll sees it."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen([*command, A], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                        env=environment)

    def line(self):
        Deadline(10, 'the example to print').readable(self.process.stdout)
        return self.process.stdout.readline().decode().rstrip('\n')

    def end(self):
        """Its exit status, and what it said to the end on standard error."""
        out, err = self.process.communicate(timeout=scaled(10))
        assert out == b''
        return self.process.returncode, err.decode()

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def drive(build, sim, bus, program):
    """drive() runs the example on A."""
    drivers = []
    command = ['/usr/bin/python3', '-B', SOURCES / program] if program.endswith('.py') else [
        build / 'examples' / program]

    def drive():
        drivers.append(Driver(command, {**sim.env(), **bus.environment}))
        return drivers[-1]
    yield drive
    for driver in drivers:
        driver.close()


def test_driver(sim, daemon, published, drive):
    """Each error is published in full and recovered from by the driver, across a crash of the daemon; and it gets out
    of the way of whoever unbinds the function."""
    # Opening is fast; a reset has to be repeated, as on a real machine.
    sim.add(A, fid=FID, path='group')
    daemon.start()
    driver = drive()
    assert driver.line() == f'attached {path(FID)}'
    assert published.state(FID) == ('delegated', '')

    for number in 1, 2, 3:
        if number == 3:
            daemon.kill()
            daemon.start()
            published.wait_state(FID, 'delegated')
        sim.error(A, pec=2, faddr=0x12346002)
        error = published.errors(number, FID)[-1]
        assert (error.pec, error.details['Source'], error.details['FailingAddress']) == (2, 'vfio', 0x12346002)
        assert [driver.line() for _ in range(2)] == ['the function reported an error', 'recovered']
        state = sim.state(A)
        assert (state['resets'], state['frozen']) == (number, 0)
    assert published.get(FID, 'Recovery') == 'left-to-holder'

    assert sim.unbind(A)['ms'] < 1000
    assert driver.line() == 'the kernel wants the device back'
    assert driver.end() == (0, '')
    published.wait_objects()
    assert devices(daemon, sim) == []


def test_end(sim, daemon, published, drive):
    """It detaches when it is told to end, and after an error that no reset recovers."""
    sim.add(A, fid=FID, path='group')
    daemon.start()
    driver = drive()
    assert driver.line() == f'attached {path(FID)}'
    driver.process.terminate()
    assert driver.end() == (0, '')
    assert published.state(FID) == ('observed', 'policy')
    assert devices(daemon, sim) == []
    sim.wait(A, 'held=0,group_open=0,closing=0')

    driver = drive()
    assert driver.line() == f'attached {path(FID)}'
    sim.error(A, pec=0x3b)
    assert [driver.line() for _ in range(2)] == ['the function reported an error', 'no reset recovers it']
    assert driver.end() == (0, '')
    assert published.errors(1, FID)[0].name == 'PERMERR'
    assert devices(daemon, sim) == []
    sim.wait(A, 'held=0,group_open=0,closing=0')


def test_refused(sim, daemon, published, drive):
    """It says why it cannot attach."""
    sim.add(A, fid=FID, path='group')
    status, said = drive().end()
    assert status == 1 and 'org.zpci.Errord1' in said
    sim.wait(A, 'held=0,group_open=0,closing=0')

    daemon.start('--policy=ignore')
    status, said = drive().end()
    assert status == 1 and 'No VFIO-bound PCI function that is not ignored has the handle' in said
    sim.wait(A, 'held=0,group_open=0,closing=0')
    assert daemon.stop() == 0

    daemon.start('--policy=claim')
    published.wait_state(FID, 'claimed')
    status, said = drive().end()
    assert status == 1 and 'Device or resource busy' in said
    assert published.state(FID) == ('claimed', '')

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A crash or a stop between two steps: no error is published twice, none is forgotten."""
import pytest

from bystander import FAST
from published import MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

HELD, SEEN = '0001:00:00.0', '0002:00:00.0'
HELD_FID, SEEN_FID = 0x10, 0x20
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']


@pytest.fixture
def functions(sim, daemon):
    """One is claimed, one only observed."""
    sim.add(HELD, fid=HELD_FID, **FAST)
    sim.add(SEEN, fid=SEEN_FID, **FAST)
    sim.property(SEEN, 'ZPCI_ERRORD_POLICY', 'observe')
    sim.hold(SEEN)
    sim.kmsg(6, 'no kernel log is empty')
    daemon.start('--policy=claim')
    sim.wait(HELD, 'held=1,err_armed=1')


def test_crash_while_a_line_waits(sim, daemon, published, functions):
    """A line waits for half a second, whether or not those around it are published by then. How far the
    kernel log was read is not noted meanwhile, so they are read again."""
    sim.error(SEEN, pec=4)
    sim.error(HELD, pec=2)
    published.monitor.wait('ErrorReported')
    sim.wait(HELD, 'frozen=0,pending=0')
    daemon.kill()
    daemon.start('--policy=claim')

    # Whatever comes of the lines has come when one that was written after them is published.
    sim.error(SEEN, pec=5, force=1)
    published.monitor.wait('ErrorReported', where=lambda signal: signal.args[2] == 5)
    _, _, _, errors = published.records()
    assert [(error.fid, error.pec, error.details['Source']) for error in errors] == [
        (HELD_FID, 2, 'vfio'), (SEEN_FID, 4, 'kmsg'), (SEEN_FID, 5, 'kmsg')]
    assert [error.sequence for error in errors] == [1, 2, 3]


def test_uevent_that_udevd_is_late_with(sim, daemon, published, functions):
    """Of errors that the former run told, on whatever way it heard of them."""
    sim.error(HELD, pec=2)
    sim.error(SEEN, pec=4)
    published.errors(1, HELD_FID)
    published.errors(1, SEEN_FID)
    sim.wait(HELD, 'frozen=0,pending=0')
    daemon.kill()
    daemon.start('--policy=claim')
    for address in HELD, SEEN:
        sim.uevent(address, ERROR_EVENT='BEGIN_RECOVERY')

    # Whatever comes of them has come when an error that happened after them is published.
    sim.error(SEEN, pec=5, force=1)
    published.monitor.wait('ErrorReported', where=lambda signal: signal.args[2] == 5)
    _, _, _, errors = published.records()
    assert [(error.fid, error.pec) for error in errors] == [(HELD_FID, 2), (SEEN_FID, 4), (SEEN_FID, 5)]


def test_stop_while_a_line_waits(sim, daemon, journald, functions):
    """What was known is told before the end."""
    sim.error(SEEN, pec=4)
    assert daemon.stop() == 0
    entry, = journald.wait(ERROR)
    assert (entry['ZPCI_FID'], entry['ZPCI_PEC']) == ('0x00000020', '0x0004')


def test_crash_right_after_it_was_opened(sim, daemon, published, functions):
    """The service manager has the device, and the next run knows whose it is, though it is not bound any more."""
    new = '0003:00:00.0'
    seen = len(daemon.notify.messages)
    sim.add(new, fid=0x30, **FAST)
    daemon.notify.wait('FDNAME', 'function-00000030-device', seen)
    daemon.kill()
    sim.error(new, pec=7)
    leaving = sim.connect()
    leaving.send('unbind', new)
    sim.wait(new, 'leaving=1')
    daemon.start('--policy=claim')
    leaving.receive('unbind')
    error, = published.errors(1, 0x30)
    assert (error.pec, error.details['Source']) == (7, 'vfio')


@pytest.mark.parametrize('again', [True, False])
def test_error_while_it_ends(sim, daemon, journald, functions, again):
    """Whether or not there is a next run, to which the open device is handed over: the error is told once, and
    in full."""
    slow = '0003:00:00.0'
    sim.add(slow, fid=0x30, **{**FAST, 'reset_ms': 500})
    sim.wait(slow, 'held=1,err_armed=1')
    sim.error(slow, pec=2)
    sim.wait(slow, 'resets=1')
    daemon.process.terminate()
    daemon.wait_notify('STOPPING', '1')
    sim.error(HELD, pec=7)
    assert daemon.wait_exit() == 0
    if again:
        daemon.start('--policy=claim')
        sim.wait(HELD, 'held=1,pending=0,frozen=0')
        # Whatever comes of the lines has come when one that was written after them is published.
        sim.error(SEEN, pec=5, force=1)
        journald.wait(ERROR, 'ZPCI_PEC=0x0005')
    entry, = journald.entries(ERROR, 'ZPCI_PEC=0x0007')
    assert entry['ZPCI_SOURCE'] == 'vfio'


def test_stop_takes_nothing_new(sim, daemon, functions):
    """A function that appears while others are still being closed is not opened."""
    new = '0003:00:00.0'
    sim.set(HELD, close_ms=1000)
    daemon.process.terminate()
    daemon.wait_notify('STOPPING', '1')
    sim.add(new, fid=0x30, **FAST)
    assert daemon.wait_exit() == 0
    assert sim.state(new)['opens'] == 0


def test_more_lines_than_can_wait(sim, daemon, published, functions):
    """The kernel log is read at once, and all of it is told."""
    count = 3000
    daemon.freeze()
    for number in range(count):
        sim.command('kmsg', 3, f'zpci: {SEEN}: Event 0x{number + 0x100:x} reports an error for '
                               f'PCI function 0x{SEEN_FID:x}')
    daemon.thaw()
    errors = published.errors(count, SEEN_FID, seconds=60)
    assert [error.pec for error in errors] == [number + 0x100 for number in range(count)]

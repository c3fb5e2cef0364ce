# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGTERM: what is drained is published, no function stays frozen, and the end comes in time whoever stands still."""
import pytest

from bystander import FAST, TO_JOURNAL
from published import MESSAGE_IDS
from systemd1 import Systemd1

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A, B = '0001:00:00.0', '0002:00:00.0'
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']

# Well below TimeoutStopSec= of the unit, past which the service manager kills us.
STOP_SECONDS = 20


@pytest.fixture(autouse=True)
def systemd1(bus, daemon):
    systemd1 = Systemd1(bus)
    yield
    systemd1.close()


def begin_to_stop(daemon):
    daemon.process.terminate()
    daemon.wait_notify('STOPPING', '1')


def check_free(sim, *addresses):
    for address in addresses:
        state = sim.wait(address, 'held=0,group_open=0')
        assert (state['frozen'], state['close_resets_skipped'], state['pending']) == (0, 0, 0), address


def check_rest(journald, count):
    """The journal has errors 1 to `count`, and nothing says that something is missing."""
    entries = journald.wait(ERROR, count=count)
    assert [int(entry['ZPCI_SEQUENCE']) for entry in entries] == list(range(1, count + 1))
    own = [entry['MESSAGE'] for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord')]
    assert not [message for message in own if 'did not get' in message or 'missing' in message]


def test_journald_comes_late(sim, daemon, journald, monitor):
    """What journald takes within a moment is waited for: there is no next run to write it."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim', **TO_JOURNAL)
    sim.wait(A, 'err_armed=1')
    count = 300
    journald.freeze()
    for number in range(count):
        sim.wait(A, f'frozen=0,pending=0,resets={number}')
        sim.error(A, pec=2)
    monitor.wait('ErrorReported', count=count)
    begin_to_stop(daemon)
    check_free(sim, A)
    journald.thaw()
    assert daemon.wait_exit(STOP_SECONDS) == 0
    check_rest(journald, count)


def test_all_stand_still(sim, daemon, journald, bus, monitor):
    """journald, the bus and the service manager, while an error is being recovered and another not even drained."""
    for address, fid in (A, 0x10), (B, 0x11):
        sim.add(address, fid=fid, **{**FAST, 'eagain_ms': 300})
    daemon.start('--policy=claim', **TO_JOURNAL)
    for address in A, B:
        sim.wait(address, 'err_armed=1')
    journald.freeze()
    bus.freeze()
    daemon.notify.freeze()
    try:
        for _ in range(600):
            sim.error(A, pec=2, force=1)
        daemon.freeze()
        sim.error(B, pec=3)
        daemon.process.terminate()
        daemon.thaw()
        assert daemon.wait_exit(STOP_SECONDS) == 0
    finally:
        daemon.notify.thaw()
    daemon.notify.fds()  # what it was told by then it has done
    daemon.notify.forget()
    check_free(sim, A, B)
    bus.thaw()
    journald.thaw()
    entries = [int(entry['ZPCI_SEQUENCE']) for entry in journald.entries(ERROR)]
    assert entries == list(range(1, len(entries) + 1))

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What follows an error of a claimed function."""
import signal

import pytest

from deadline import scaled
from published import MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'

FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


def test_order(sim, daemon, published):
    """A reset comes once the queue is drained; what is told of it comes after the errors."""
    sim.add(A, fid=0x10, eagain_ms=int(scaled(100)), reset_ms=10)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    published.wait_state(0x10, 'claimed')
    assert published.get(0x10, 'Recovery') == 'none'
    daemon.freeze()
    for pec in 1, 2, 3:
        sim.error(A, pec=pec, force=1)
    daemon.thaw()

    assert published.recoveries(0x10, 2) == ['in-progress', 'recovered']
    members = [s.member for s in published.monitor.named('ErrorReported', 'RecoveryChanged')]
    assert members == ['ErrorReported'] * 3 + ['RecoveryChanged'] * 2
    state = sim.wait(A, 'frozen=0,pending=0,resets=1,held=1')
    assert state['again'] >= 1  # the kernel was still handling it
    assert published.state(0x10) == ('claimed', '')
    assert published.get(0x10, 'Recovery') == 'recovered'

    entries = published.journald.entries('MESSAGE_ID=' + MESSAGE_IDS['RECOVERY'])
    assert [entry['PRIORITY'] for entry in entries] == ['6', '5']
    changes = [s.args[1]['Recovery'] for s in published.monitor.named('PropertiesChanged')
               if 'Recovery' in s.args[1]]
    assert changes == ['in-progress', 'recovered']


def test_each_error_is_recovered(sim, daemon, published):
    """Seven errors with a reset between each: seven records."""
    sim.add(A, fid=0x10)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1,locked=0')
    for n in range(1, 8):
        assert sim.error(A, pec=n)['result'] == 'queued'
        sim.wait(A, f'frozen=0,resets={n},pending=0')
    assert [error.pec for error in published.errors(7)] == list(range(1, 8))
    assert published.recoveries(0x10, 14) == ['in-progress', 'recovered'] * 7
    assert published.all_lost() == []
    assert sim.state(A)['opens'] == 1


def test_error_during_reset(sim, daemon, published):
    """It is owed another reset."""
    sim.add(A, fid=0x10, reset_ms=200, open_ms=1)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.error(A, pec=1)
    sim.wait(A, 'resets=1')
    sim.error(A, pec=2, force=1)
    assert [error.pec for error in published.errors(2)] == [1, 2]
    sim.wait(A, 'resets=2,frozen=0')
    published.monitor.wait('RecoveryChanged', where=lambda s: s.args[2] == 'recovered', count=2)
    assert published.get(0x10, 'Recovery') == 'recovered'


def test_none(sim, daemon, configure, published):
    """Recovery=none: the administrator does it."""
    configure('[Errord]\nSettleSec=0\nPolicy=claim\nRecovery=none\n')
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start()
    sim.wait(A, 'err_armed=1')
    sim.wait(B, 'err_armed=1')
    sim.error(A, pec=2)
    published.errors(1, 0x10)
    # What is told last is told after a reset would have been begun.
    sim.error(B, pec=0x2a)
    published.errors(1, 0x20)
    state = sim.state(A)
    assert (state['resets'], state['again'], state['frozen'], state['held']) == (0, 0, 1, 1)
    assert published.state(0x10) == ('claimed', '')
    assert published.get(0x10, 'Recovery') == 'none'
    assert published.monitor.named('RecoveryChanged') == []

    # Whoever takes it over gets a working function.
    assert sim.unbind(A)['ms'] < 1000
    assert sim.state(A)['frozen'] == 0


@pytest.mark.parametrize('pec', [0x3b, 0x40])
def test_permanent(sim, daemon, published, pec):
    """No reset helps: let go, and do not come back."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.error(A, pec=pec)
    published.wait_state(0x10, 'failed', 'permanent-error')
    state = sim.wait(A, 'held=0,group_open=0,closes=1')
    assert state['resets'] == 0
    error, = published.errors(1, 0x10)
    assert (error.pec, error.severity, error.details['Source']) == (pec, 'permanent', 'vfio')
    assert published.monitor.named('RecoveryChanged') == []
    assert 'it reported an error that no reset recovers' in daemon.stderr

    # Neither its line in the kernel log nor a look at all functions changes anything.
    daemon.process.send_signal(signal.SIGHUP)
    sim.error(B, pec=0x2b)
    published.errors(1, 0x20)
    assert published.errors(1, 0x10) == [error]
    assert sim.state(A)['opens'] == 1
    assert published.state(0x10) == ('failed', 'permanent-error')

    # Repaired and bound anew it is as any other.
    sim.remove(A)
    published.wait_objects(0x20)
    sim.add(A, fid=0x10, **FAST)
    published.wait_state(0x10, 'claimed')


@pytest.mark.parametrize('errno', ['EIO', 'EAGAIN'])
def test_reset_fails(sim, daemon, published, errno):
    """The daemon says so and lets go; opening is another try, later."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.set(A, reset_errno=errno)
    sim.error(A, pec=7)
    sim.wait(A, 'held=0,closes=1')
    assert published.recoveries(0x10, 2) == ['in-progress', 'failed']
    published.wait_state(0x10, 'failed', {'EIO': 'EIO', 'EAGAIN': 'ETIMEDOUT'}[errno])
    assert published.get(0x10, 'Recovery') == 'failed'
    entry = published.journald.entries('ZPCI_RECOVERY=failed')[0]
    assert entry['PRIORITY'] == '3' and '/sys/bus/pci/slots/00000010/power' in entry['MESSAGE']
    assert 'VFIO_DEVICE_RESET does not recover it' in daemon.stderr

    sim.set(A, reset_errno='none')
    sim.wait(A, 'opens=2,err_armed=1,frozen=0', timeout=20)
    published.wait_state(0x10, 'claimed')
    assert len(published.errors(1)) == 1
    sim.error(A, pec=8)
    assert published.recoveries(0x10, 4)[2:] == ['in-progress', 'recovered']

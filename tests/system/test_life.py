# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's life under systemd: crash, watchdog, restart, stop, reload."""
import pytest

from container import UNIT
from monitor import MANAGER, NAME

ADDRESS = '0001:00:00.0'
FID = 0x10
PATH = f'{MANAGER}/function/{FID:08x}'
FUNCTION = f'{NAME}.Function'


@pytest.fixture
def running(machine, sim, monitor):
    """A daemon that holds one function."""
    sim.add(ADDRESS, fid=FID)
    machine.write('/etc/zpci-errord.conf', '[Errord]\nPolicy=claim\nSettleSec=0\n')
    machine.systemctl('start', UNIT)
    monitor.wait_property(PATH, FUNCTION, 'State', 'claimed')
    return machine


def stream(monitor):
    return monitor.get(MANAGER, f'{NAME}.Manager', 'StreamId')


def report(sim, monitor, pec=2):
    """Makes an error and returns the sequence number of its record."""
    count = len(monitor.named('ErrorReported')) + 1
    sim.error(ADDRESS, pec=pec)
    *_, last = monitor.wait('ErrorReported', count=count)
    assert last.args[:3] == [ADDRESS, FID, pec]
    monitor.wait_property(PATH, FUNCTION, 'Recovery', 'recovered')
    return last.args[5]


def kill(machine, number):
    machine.systemctl('kill', '--kill-whom=main', f'--signal={number}', UNIT)


def wait_claimed_again(monitor, owner):
    monitor.wait_owner(other_than=owner)
    monitor.wait_property(PATH, FUNCTION, 'State', 'claimed')


def was_kept_open(sim):
    """The device of a daemon that came back: it was never closed."""
    state = sim.state(ADDRESS)
    return (state['opens'], state['closes']) == (1, 0)


def test_crash(running, sim, monitor):
    """A killed daemon is back at once, goes on with its sequence, and repeats nothing."""
    owner, before = monitor.owner, stream(monitor)
    sequence = report(sim, monitor)
    kill(running, 'KILL')
    wait_claimed_again(monitor, owner)
    assert running.show(UNIT, 'NRestarts', 'ActiveState') == ['1', 'active']
    assert stream(monitor) == before
    assert report(sim, monitor) == sequence + 1
    assert was_kept_open(sim)
    sequences = [entry['ZPCI_SEQUENCE'] for entry in running.journal('ZPCI_PEC=0x0002')]
    assert sequences == [str(sequence), str(sequence + 1)]


def test_watchdog(running, sim, monitor):
    """A daemon that hangs is ended and started again."""
    running.drop_in('watchdog', 'WatchdogSec=500ms\nLimitCORE=0')
    running.systemctl('restart', UNIT)
    monitor.wait_property(PATH, FUNCTION, 'State', 'claimed')
    owner, before = monitor.owner, stream(monitor)
    kill(running, 'STOP')
    wait_claimed_again(monitor, owner)
    assert running.show(UNIT, 'NRestarts') == '1'
    assert stream(monitor) == before
    report(sim, monitor)
    assert was_kept_open(sim)


def test_restart(running, sim, monitor):
    """Records and devices outlive a restart."""
    owner, before, sequence = monitor.owner, stream(monitor), report(sim, monitor)
    running.systemctl('restart', UNIT)
    wait_claimed_again(monitor, owner)
    assert stream(monitor) == before
    assert report(sim, monitor) == sequence + 1
    assert was_kept_open(sim)


def test_stop(running, sim, monitor):
    """Nothing is held by anybody after a stop, and the next start is a new one. The daemon closes the devices itself:
    PID 1 would wait for each of them."""
    before = stream(monitor)
    running.drop_in('stored', f"ExecStopPost=+/bin/sh -c 'systemctl show -P NFileDescriptorStore {UNIT} >/run/stored'")
    running.systemctl('stop', UNIT)
    assert running.run('cat', '/run/stored').stdout == '2\n'  # the ring, and what is handed over
    assert sim.wait(ADDRESS, 'held=0')['closes'] == 1
    assert running.show(UNIT, 'Result', 'NFileDescriptorStore') == ['success', '0']
    running.systemctl('start', UNIT)
    monitor.wait_property(PATH, FUNCTION, 'State', 'claimed')
    assert stream(monitor) != before


def test_reload(running, sim, monitor):
    """The configuration is read again, and what is held is let go, without a restart."""
    owner = monitor.owner
    running.write('/etc/zpci-errord.conf', '[Errord]\nPolicy=observe\n')
    running.systemctl('reload', UNIT)
    monitor.wait_property(PATH, FUNCTION, 'State', 'observed')
    sim.wait(ADDRESS, 'held=0')
    assert monitor.owner == owner


def test_crash_loop(running, sim, monitor):
    """Past the start limit, systemd's store must not keep functions from their users."""
    starts = int(running.show(UNIT, 'StartLimitBurst'))
    for _ in range(starts - 1):
        owner = monitor.owner
        kill(running, 'KILL')
        monitor.wait_owner(other_than=owner)
    kill(running, 'KILL')
    running.wait_journal(f'MESSAGE={UNIT}: Start request repeated too quickly.')
    assert running.show(UNIT, 'ActiveState', 'NFileDescriptorStore') == ['failed', '0']
    sim.wait(ADDRESS, 'held=0')

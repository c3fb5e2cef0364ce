# SPDX-License-Identifier: LGPL-2.1-or-later
"""systemd's file descriptor store: devices stay open over every end of the daemon but a stop, and then nothing holds
them."""

import pytest

from container import UNIT
from monitor import MANAGER, NAME

GROUP, CDEV = '0001:00:00.0', '0002:00:00.0'
FIDS = {GROUP: 0x10, CDEV: 0x11}
FUNCTION = f'{NAME}.Function'
FOREVER_MS = 600000
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

# Puts something into the store from within the daemon's unit, as another version of it might.
PUT = '''
import os, socket, sys
cgroup, address, *names = sys.argv[1:]
with open(f'/sys/fs/cgroup{cgroup}/cgroup.procs', 'w') as procs:
    procs.write(str(os.getpid()))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(address)
    for name in names:
        socket.send_fds(notify, [f'FDSTORE=1\\nFDNAME={name}'.encode()], [os.memfd_create(name)])
    reading, writing = os.pipe()
    socket.send_fds(notify, [b'BARRIER=1'], [writing])
    os.close(writing)
    os.read(reading, 1)
'''


@pytest.fixture
def running(machine, sim, monitor):
    """A daemon that holds a function of either path."""
    sim.add(GROUP, fid=FIDS[GROUP], path='group', **FAST)
    sim.add(CDEV, fid=FIDS[CDEV], path='cdev', **FAST)
    machine.write('/etc/zpci-errord.conf', '[Errord]\nPolicy=claim\nSettleSec=0\n')
    machine.drop_in('watchdog', 'WatchdogSec=500ms\nLimitCORE=0\nNotifyAccess=all')
    machine.systemctl('start', UNIT)
    wait_claimed(monitor)
    return machine


def wait_claimed(monitor, owner=''):
    monitor.wait_owner(other_than=owner)
    for fid in FIDS.values():
        monitor.wait_property(f'{MANAGER}/function/{fid:08x}', FUNCTION, 'State', 'claimed')


def opened(sim):
    return [(state['opens'], state['closes']) for state in map(sim.state, FIDS)]


def check_free(sim):
    """Whoever wants to unbind a function need not wait for anybody."""
    for address in FIDS:
        assert sim.unbind(address)['ms'] < 100
        assert sim.state(address)['open'] == 'no'


def kill(machine):
    machine.systemctl('kill', '--kill-whom=main', '--signal=KILL', UNIT)


def hang(machine):
    machine.systemctl('kill', '--kill-whom=main', '--signal=STOP', UNIT)


def restart(machine):
    machine.systemctl('restart', UNIT)


def upgrade(machine):
    """As a package does it: the program is replaced, systemd starts itself anew, and then the daemon."""
    program = machine.show(UNIT, 'ExecStart').split('path=')[1].split()[0]
    machine.run('sh', '-euc', 'cp -p "$0" "$0.new"; mv "$0.new" "$0"', program)
    machine.systemctl('daemon-reexec')
    machine.systemctl('try-restart', UNIT)


@pytest.mark.parametrize('end', [kill, hang, restart, upgrade])
def test_never_closed(running, sim, monitor, end):
    """After a crash, the watchdog and a restart it is the same open device, with the record that came in between."""
    assert opened(sim) == [(1, 0), (1, 0)]
    owner = monitor.owner
    end(running)
    for address in FIDS:
        assert sim.error(address, pec=7)['result'] == 'queued'
    wait_claimed(monitor, owner)
    for fid in FIDS.values():
        running.wait_journal('ZPCI_PEC=0x0007', 'ZPCI_SOURCE=vfio', f'ZPCI_FID=0x{fid:08x}')
    assert opened(sim) == [(1, 0), (1, 0)]
    check_free(sim)


def test_stopped(running, sim):
    running.systemctl('stop', UNIT)
    assert running.show(UNIT, 'NFileDescriptorStore') == '0'
    assert opened(sim) == [(1, 1), (1, 1)]
    check_free(sim)


def test_stopped_after_a_crash(running, sim):
    """Nobody was there to let go."""
    running.drop_in('slow', 'RestartSec=1h')
    kill(running)
    running.wait_journal(f'MESSAGE={UNIT}: Failed with result \'signal\'.')
    assert running.show(UNIT, 'NFileDescriptorStore') != '0'
    running.systemctl('stop', UNIT)
    for address in FIDS:
        sim.wait(address, 'held=0')
    check_free(sim)


def test_start_limit(running, sim, monitor):
    for _ in range(int(running.show(UNIT, 'StartLimitBurst')) - 1):
        owner = monitor.owner
        kill(running)
        monitor.wait_owner(other_than=owner)
    kill(running)
    running.wait_journal(f'MESSAGE={UNIT}: Start request repeated too quickly.')
    for address in FIDS:
        sim.wait(address, 'held=0')
    check_free(sim)


def test_unknown_names(running, sim, monitor):
    """What another version kept is closed, and taken out of the store."""
    owner, before = monitor.owner, int(running.show(UNIT, 'NFileDescriptorStore'))
    running.run('/usr/bin/python3', '-c', PUT, running.show(UNIT, 'ControlGroup'), '/run/systemd/notify',
                'mystery', 'function-000000ff-device', 'ring-of-tomorrow')
    assert int(running.show(UNIT, 'NFileDescriptorStore')) == before + 3
    kill(running)
    wait_claimed(monitor, owner)
    monitor.flush()
    assert int(running.show(UNIT, 'NFileDescriptorStore')) == before
    pid = running.show(UNIT, 'MainPID')
    names = running.run('find', f'/proc/{pid}/fd', '-printf', '%l\\n').stdout
    assert 'memfd:mystery' not in names and 'memfd:function-000000ff-device' not in names
    assert 'memfd:ring-of-tomorrow' not in names
    assert opened(sim) == [(1, 0), (1, 0)]


def test_full(running, sim, monitor):
    """A store with room for the records and one function: systemd says what to do, what it keeps stays open, and all
    the others are there as ever, but opened again."""
    running.drop_in('room', 'FileDescriptorStoreMax=6')
    running.systemctl('stop', UNIT)
    sim.add_many(4, **FAST)
    everything = sim.list()
    before = {address: sim.state(address)['opens'] for address in everything}
    owner = monitor.owner
    running.systemctl('start', UNIT)
    for _ in range(2):
        monitor.wait_owner(other_than=owner)
        owner = monitor.owner
        for address in everything:
            sim.wait(address, 'held=1,err_armed=1')
            resets = sim.state(address)['resets']
            assert sim.error(address, pec=7)['result'] == 'queued'
            sim.wait(address, f'pending=0,frozen=0,resets={resets + 1}')
        kill(running)
    monitor.wait_owner(other_than=owner)
    for address in everything:
        sim.wait(address, 'held=1,err_armed=1,frozen=0')
    said = [entry['MESSAGE'] for entry in running.journal('_PID=1', f'UNIT={UNIT}')]
    assert any('Cannot store more fds than FileDescriptorStoreMax=6' in message for message in said)

    opens = [sim.state(address)['opens'] - before[address] for address in everything]
    assert sorted(opens) == [1] + [3] * (len(everything) - 1)
    entries = running.journal('MESSAGE_ID=4518901db7e24c839a23d2f97d6f0741')
    assert [int(entry['ZPCI_SEQUENCE']) for entry in entries] == list(range(1, 2 * len(everything) + 1))
    for address in everything:
        assert sim.unbind(address)['ms'] < 1000


@pytest.mark.parametrize('stop', [True, False])
def test_call_hangs(running, sim, monitor, stop):
    """In the kernel, and the event loop in it: systemd ends that, and nobody has a device after a stop. Without
    one, the next run has them again."""
    running.drop_in('patience', 'TimeoutStopSec=1s\nWatchdogSec=' + ('1h' if stop else '1s'))
    owner = monitor.owner
    running.systemctl('restart', UNIT)
    wait_claimed(monitor, owner)
    owner = monitor.owner
    sim.set(GROUP, get_ms=FOREVER_MS)
    sim.error(GROUP, pec=7)
    if stop:
        running.systemctl('stop', UNIT)
        assert running.show(UNIT, 'Result', 'NFileDescriptorStore') == ['timeout', '0']
        check_free(sim)
        return
    running.wait_journal(f'UNIT={UNIT}', 'UNIT_RESULT=watchdog', seconds=20)
    sim.set(GROUP, get_ms=0)
    wait_claimed(monitor, owner)
    running.wait_journal('ZPCI_PEC=0x0007', 'ZPCI_SOURCE=vfio')
    assert opened(sim) == [(1, 0), (1, 0)]


@pytest.mark.parametrize('call', ['open', 'reset', 'close'])
def test_adapter_hangs(running, sim, monitor, call):
    """A thread is in a system call that does not return. The end comes in time all the same, and by itself; the others
    are let go as ever. (Here and not under Valgrind, to which a thread that is still there is a leak.)"""
    owner = monitor.owner
    running.drop_in('watchdog', 'WatchdogSec=30s')
    running.systemctl('restart', UNIT)
    wait_claimed(monitor, owner)
    stuck = '0003:00:00.0' if call == 'open' else GROUP
    if call == 'open':
        sim.add(stuck, fid=0x12, **{**FAST, 'open_ms': FOREVER_MS})
        sim.wait(stuck, 'held=1')
    else:
        sim.set(stuck, **{f'{call}_ms': FOREVER_MS})
    if call == 'reset':
        sim.error(stuck, pec=7)
        sim.wait(stuck, 'resets=1')
    sim.error(CDEV, pec=7)
    running.systemctl('stop', UNIT)
    assert running.show(UNIT, 'Result', 'NFileDescriptorStore') == ['success', '0']
    sim.wait(stuck, 'held=0,group_open=0')
    assert sim.wait(CDEV, 'held=0')['frozen'] == 0
    entries = running.journal(f'_SYSTEMD_UNIT={UNIT}')
    assert any('1 devices are not closed yet, ending all the same' in entry['MESSAGE'] for entry in entries)
    told = [entry['ZPCI_ADDRESS'] for entry in entries if entry.get('ZPCI_PEC') == '0x0007']
    assert sorted(told) == sorted({CDEV, stuck} if call == 'reset' else {CDEV})

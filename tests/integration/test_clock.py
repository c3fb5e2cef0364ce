# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wall clock jumps, as with a first answer of NTP or by hand: it is told with each error, and decides nothing."""
import pytest

from bystander import FAST, TO_JOURNAL, Bystander, told
from clock import Clock
from journald import Journald
from monitor import MANAGER
from published import FUNCTION, MANAGER_INTERFACE, MESSAGE_IDS, path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

HELD, SEEN = '0001:00:00.0', '0002:00:00.0'
HELD_FID, SEEN_FID = 0x10, 0x20
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']
RECOVERY = 'MESSAGE_ID=' + MESSAGE_IDS['RECOVERY']

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
JUMPS = [0, HOUR, -2 * HOUR, -10 * YEAR, 10 * YEAR, -1, 0]


@pytest.fixture
def clock(build, tmp_path):
    clock = Clock(build, tmp_path)
    yield clock
    clock.close()


@pytest.fixture
def journald(tmp_path, namespace, clock):
    """A journald with that clock."""
    journald = Journald(tmp_path, namespace)
    journald.environment.update(clock.preload())
    journald.start()
    yield journald
    journald.close()


@pytest.fixture
def daemon(daemon, clock):
    """A daemon with that clock."""
    where, = (n for n, word in enumerate(daemon.command) if word.startswith('LD_PRELOAD='))
    preload = clock.preload(daemon.command[where].split('=', 1)[1])
    daemon.command[where:where + 1] = [f'{name}={value}' for name, value in preload.items()]
    return daemon


def add_both(sim):
    """One is claimed, one only observed."""
    sim.add(HELD, fid=HELD_FID, **FAST)
    sim.add(SEEN, fid=SEEN_FID, **FAST)
    sim.property(SEEN, 'ZPCI_ERRORD_POLICY', 'observe')
    sim.hold(SEEN)
    sim.kmsg(6, 'no kernel log is empty')


def start(daemon, sim):
    daemon.start('--policy=claim', **TO_JOURNAL)
    sim.wait(HELD, 'held=1,err_armed=1,frozen=0')


def test_errors(sim, daemon, published, clock):
    """Each is told once, in order, with the time that it was; before and after a jump, and over a crash."""
    add_both(sim)
    start(daemon, sim)
    times = []
    for number, jump in enumerate(JUMPS):
        if number == 4:
            published.errors(len(times))  # so that none of them is signalled twice
            daemon.kill()
        clock.set(jump)
        if number == 4:
            start(daemon, sim)
        for address, error in (HELD, {'pec': 0x100 + number}), (SEEN, {'pec': 0x200 + number, 'force': 1}):
            before = clock.now_usec()
            sim.error(address, **error)
            published.monitor.wait('ErrorReported', count=len(times) + 1, where=lambda s: s.args[2] >= 0x100)
            times.append((before, clock.now_usec()))
        sim.wait(HELD, f'pending=0,frozen=0,resets={number + 1}')

    errors = published.errors(2 * len(JUMPS))
    assert [(error.sequence, error.pec, error.details['Source']) for error in errors] == [
        (2 * number + n + 1, (n + 1) * 0x100 + number, source)
        for number in range(len(JUMPS)) for n, source in enumerate(['vfio', 'kmsg'])]
    for error, (first, last) in zip(errors, times):
        assert first <= error.realtime_usec <= last
    assert published.records()[3] == errors
    assert published.all_lost() == []
    assert published.monitor.get(path(HELD_FID), FUNCTION, 'LastErrorUSec') == errors[-2].realtime_usec


def test_waiting(sim, daemon, journald, configure, published, clock):
    """What waits for a time waits for that long, whatever is said to have passed."""
    bystander = Bystander(sim, published)
    configure('[Errord]\nSettleSec=0\nRecoveryLimit=off\n'
              f'[Function fid:{HELD_FID:x}]\nRecoveryLimit=2/1h\n[Function fid:{SEEN_FID:x}]\nSettleSec=1h\n')
    sim.add(SEEN, fid=SEEN_FID, **FAST)
    sim.add(HELD, fid=HELD_FID, **FAST)
    sim.hold(HELD)
    daemon.start('--policy=claim', **TO_JOURNAL)
    published.wait_state(SEEN_FID, 'observed', 'settling')
    published.wait_state(HELD_FID, 'observed', 'busy')
    tries = sim.wait(HELD, 'busy>=1')['busy']

    # As often as ever, and no longer.
    clock.set(-10 * YEAR)
    sim.wait(HELD, f'busy>={tries + 1}')
    sim.unhold(HELD)
    sim.wait(HELD, 'held=1,err_armed=1', timeout=20)

    # A release ends when it is over, …
    published.monitor.call(path(HELD_FID), FUNCTION, 'Release', 'ta{sv}', 1000000, {})
    clock.set(-20 * YEAR)
    sim.wait(HELD, 'held=1,err_armed=1')
    published.wait_state(HELD_FID, 'claimed')
    # … and not before that.
    published.monitor.call(path(HELD_FID), FUNCTION, 'Release', 'ta{sv}', HOUR * 1000000, {})
    clock.set(DAY)
    bystander.check()
    assert published.state(HELD_FID) == ('observed', 'released')
    assert published.state(SEEN_FID) == ('observed', 'settling')
    published.monitor.call(path(HELD_FID), FUNCTION, 'Claim')
    sim.wait(HELD, 'held=1,err_armed=1')

    # The hour in which two recoveries were is not over.
    for number in range(3):
        resets = sim.wait(HELD, 'held=1,frozen=0,locked=0')['resets']
        clock.set((number + 2) * DAY)
        sim.error(HELD, pec=2)
        if number < 2:
            sim.wait(HELD, f'pending=0,frozen=0,resets={resets + 1}')
            bystander.check()
    published.wait_state(HELD_FID, 'failed', 'recovery-limit')
    told(journald, 'after 2 recoveries within 3600 s')


@pytest.mark.parametrize('jump', [-10 * YEAR, 10 * YEAR])
def test_read_back(sim, daemon, journald, published, clock, jump):
    """What journald had taken and not written is sent again, and is there in order, whatever time it is said to be."""
    add_both(sim)
    start(daemon, sim)
    sim.error(HELD, pec=2)
    published.errors(1)
    sim.wait(HELD, 'frozen=0')
    clock.set(jump)
    sim.error(HELD, pec=2)
    published.errors(2)
    journald.freeze()
    for number in range(2, 8):
        sim.wait(HELD, f'frozen=0,pending=0,resets={number}')
        sim.error(HELD, pec=2)
    published.monitor.wait('RecoveryChanged', count=16)
    clock.set(0)
    journald.kill()
    journald.start()
    told(journald, 'entries that journald had taken are not in the journal')

    journald.wait(ERROR, count=8)
    journald.wait(RECOVERY, count=16)
    positions = [int(entry['ZPCI_POSITION']) for entry in journald.entries(ERROR, '+', RECOVERY)]
    assert sorted(positions) == list(range(1, 25))
    assert published.monitor.get(MANAGER, MANAGER_INTERFACE, 'LastSequence') == 8

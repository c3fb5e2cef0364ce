# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records on their way out of the installed daemon, by the commands that users type."""
import time

import pytest

from container import UNIT
from deadline import Deadline

FUNCTIONS = 100
STORM_SECONDS = 6
ADDRESS = '0001:00:00.0'
ERROR_ID = '4518901db7e24c839a23d2f97d6f0741'


@pytest.fixture
def claiming(machine):
    machine.write('/etc/zpci-errord.conf', '[Errord]\nPolicy=claim\nSettleSec=0\n')
    machine.systemctl('enable', '--now', UNIT)
    return machine


def test_journal_and_catalog(claiming, sim, monitor):
    sim.add(ADDRESS, fid=0x10)
    sim.wait(ADDRESS, 'err_armed=1')
    sim.error(ADDRESS, pec=2, faddr=0x12346002)
    monitor.wait('ErrorReported')

    entry, = claiming.journal(f'ZPCI_ADDRESS={ADDRESS}', f'MESSAGE_ID={ERROR_ID}')
    assert entry['ZPCI_FID'] == '0x00000010'
    assert entry['_SYSTEMD_UNIT'] == UNIT
    assert '0x12346002' in entry['MESSAGE']

    explained = claiming.run('journalctl', '-x', f'ZPCI_ADDRESS={ADDRESS}').stdout
    assert f'PCI function {ADDRESS} reported error 0x0002 (OORANGE)' in explained
    assert 'Documentation: man:zpci-errord(8)' in explained
    assert '@' not in explained  # each field of the catalog's text was filled in


def test_observed(machine, sim, monitor):
    """What another process holds is published from the kernel log, out of the sandbox."""
    machine.systemctl('start', UNIT)
    sim.add(ADDRESS, fid=0x10)
    sim.hold(ADDRESS)
    sim.error(ADDRESS, pec=4)
    reported, = monitor.wait('ErrorReported')
    assert reported.args[:3] == [ADDRESS, 0x10, 4]
    assert reported.args[7]['Source'] == 'kmsg'


def burst(sim, monitor):
    """An error of each of many functions, and its recovery."""
    sim.add_many(FUNCTIONS, open_ms=1, reset_ms=1, eagain_ms=1)
    for address in sim.list():
        sim.wait(address, 'err_armed=1')
        sim.error(address, pec=2)
    monitor.wait('RecoveryChanged', count=FUNCTIONS, where=lambda it: it.args[2] == 'recovered')
    return 3 * FUNCTIONS


def check_stored(machine, count):
    """All entries of the stream are in the journal, some of them more than once, perhaps."""
    missing = set(range(1, count + 1))
    deadline = Deadline(60, lambda: f'entries {sorted(missing)}')
    while missing:
        deadline.left()
        machine.wait_journal(f'ZPCI_POSITION={min(missing)}', seconds=60)
        missing -= {int(entry['ZPCI_POSITION']) for entry in machine.journal('SYSLOG_IDENTIFIER=zpci-errord')
                    if 'ZPCI_POSITION' in entry}


def test_dropped_by_journald(claiming, sim, monitor):
    """What journald drops, it is sent again, until it is there: the daemon's user may read that back."""
    claiming.drop_in('strict', 'LogRateLimitIntervalSec=1s\nLogRateLimitBurst=20')
    claiming.systemctl('restart', UNIT)
    count = burst(sim, monitor)
    claiming.wait_journal(f'_SYSTEMD_UNIT={UNIT}', 'PRIORITY=4')
    check_stored(claiming, count)


def test_watchdog_in_a_storm(claiming, sim, monitor):
    """Being busy is not being dead: kernels that always have one more record, and signal it all the time."""
    claiming.write('/etc/zpci-errord.conf', '[Errord]\nPolicy=claim\nSettleSec=0\nRecovery=none\n')
    claiming.drop_in('watchdog', f'WatchdogSec={STORM_SECONDS / 3}s\nLimitCORE=0')
    claiming.systemctl('restart', UNIT)
    sim.add_many(32, open_ms=1, reset_ms=1, eagain_ms=1)
    addresses = sim.list()
    for address in addresses:
        sim.wait(address, 'err_armed=1')
        sim.set(address, endless=1)
    before = claiming.show(UNIT, 'MainPID')
    end = time.monotonic() + STORM_SECONDS
    while time.monotonic() < end:
        for address in addresses:
            sim.signal(address)
    for address in addresses:
        sim.set(address, endless=0)
    assert claiming.show(UNIT, 'MainPID', 'NRestarts') == [before, '0']


def test_rate_limits(claiming, sim, monitor):
    """journald drops what comes too fast, silently; none of ours. A default that is stricter than
    the installed one shows with few entries that it is the unit's own limit that counts."""
    claiming.write('/etc/systemd/journald.conf.d/strict.conf',
                   '[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=10\n')
    claiming.systemctl('restart', 'systemd-journald')
    burst(sim, monitor)

    entries = claiming.journal(f'_SYSTEMD_UNIT={UNIT}', 'ZPCI_RECOVERY=recovered')
    assert {entry['ZPCI_ADDRESS'] for entry in entries} == set(sim.list())
    entries = claiming.journal(f'MESSAGE_ID={ERROR_ID}')
    assert [int(entry['ZPCI_SEQUENCE']) for entry in entries] == list(range(1, FUNCTIONS + 1))

# SPDX-License-Identifier: LGPL-2.1-or-later
"""journald stands still, goes away, comes back: errors are drained, recovered and signalled all the same, and
the journal has them in order, or says how many are missing."""
import re

import pytest

from bystander import FAST, TO_JOURNAL, told
from published import MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']
RECOVERY = 'MESSAGE_ID=' + MESSAGE_IDS['RECOVERY']
LOST = 'MESSAGE_ID=' + MESSAGE_IDS['LOST']

FUNCTIONS = 20
ROUNDS = 30


def claim(sim, daemon, count, *arguments):
    """`count` claimed functions; returns their addresses."""
    sim.add_many(count, **FAST)
    daemon.start('--policy=claim', *arguments, **TO_JOURNAL)
    for address in sim.list():
        sim.wait(address, 'held=1,err_armed=1')
    return sim.list()


def storm(sim, addresses, rounds):
    """An error of each function in each round, with a recovery behind each."""
    for number in range(rounds):
        for address in addresses:
            sim.wait(address, f'frozen=0,pending=0,resets={number}')
            assert sim.error(address, pec=2, faddr=number)['result'] == 'queued'
    for address in addresses:
        sim.wait(address, f'frozen=0,pending=0,resets={rounds}')


def sequences(entries):
    return [int(entry['ZPCI_SEQUENCE']) for entry in entries]


def test_journald_stands_still(sim, daemon, journald, monitor):
    addresses = claim(sim, daemon, FUNCTIONS)
    count = FUNCTIONS * ROUNDS
    journald.freeze()
    storm(sim, addresses, ROUNDS)
    signals = monitor.wait('ErrorReported', count=count)
    assert [signal.args[5] for signal in signals] == list(range(1, count + 1))
    monitor.wait('RecoveryChanged', count=2 * count)

    journald.thaw()
    entries = journald.wait(ERROR, count=count)
    assert sequences(entries) == list(range(1, count + 1))
    assert [entry['ZPCI_ADDRESS'] for entry in entries] == [signal.args[0] for signal in signals]
    entries = journald.wait(RECOVERY, count=2 * count)
    for address in addresses:
        mine = [entry['ZPCI_RECOVERY'] for entry in entries if entry['ZPCI_ADDRESS'] == address]
        assert mine == ['in-progress', 'recovered'] * ROUNDS
    assert len(journald.entries(ERROR)) == count
    assert journald.entries(LOST) == []


def test_messages_of_its_own(sim, daemon, journald, published):
    """What the daemon says of itself waits too; for what there is no room the number is there."""
    claim(sim, daemon, 1)
    told(journald, f'{A} (FID 0x00000010, PCHID 0x0104): claimed')
    count = 300
    journald.freeze()
    sim.add_many(count, **FAST)
    published.monitor.wait('InterfacesAdded', count=count)
    for address in sim.list():
        sim.wait(address, 'err_armed=1')
    published.monitor.wait('PropertiesChanged', count=count, where=lambda s: s.args[1].get('State') == 'claimed')
    sim.remove(sim.list()[-1])
    published.monitor.wait('InterfacesRemoved')
    journald.thaw()

    told(journald, 'of the daemon about itself are missing here')
    last = sim.list()[-1]
    sim.remove(last)
    told(journald, 'gone: ', f'ZPCI_ADDRESS={last}')
    entries = [entry['MESSAGE'] for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord')]
    missing = [int(message.split()[0]) for message in entries if 'of the daemon about itself' in message]
    there = [message for message in entries if re.search(': (appeared,|claimed|gone:)', message)]
    # Of each that it came and was claimed; of two that they went.
    assert len(there) + sum(missing) == 2 * (count + 1) + 2


def test_journald_restarted(sim, daemon, journald, published):
    """Its socket is another one then; what it did not take while it was away comes when it is back."""
    claim(sim, daemon, 1)
    sim.error(A, pec=2)
    published.errors(1)

    journald.kill()
    sim.wait(A, 'frozen=0')
    sim.error(A, pec=3)
    published.monitor.wait('ErrorReported', count=2)
    journald.start()
    assert [error.pec for error in published.errors(2)] == [2, 3]
    sim.wait(A, 'frozen=0')
    sim.error(A, pec=4)
    assert [error.pec for error in published.errors(3)] == [2, 3, 4]


def test_journald_starts_late(sim, daemon, journald, published):
    journald.kill()
    sim.add(A, **FAST)
    daemon.start('--policy=claim', **TO_JOURNAL)
    sim.wait(A, 'err_armed=1')
    sim.error(A, pec=2)
    published.monitor.wait('ErrorReported')
    journald.start()
    published.errors(1)
    told(journald, 'appeared, bound to vfio-pci')


def killed_with_entries(sim, daemon, journald, published, count):
    """journald is killed when it has taken `count` errors and what follows from them, but written none."""
    claim(sim, daemon, 1)
    sim.error(A, pec=2)
    published.errors(1)
    sim.wait(A, 'frozen=0')
    journald.freeze()
    for number in range(1, 1 + count):
        sim.wait(A, f'frozen=0,pending=0,resets={number}')
        sim.error(A, pec=2)
    published.monitor.wait('RecoveryChanged', count=2 * (1 + count))
    journald.kill()


def identities(entries):
    return [(entry['ZPCI_STREAM_ID'], int(entry['ZPCI_POSITION'])) for entry in entries]


def check_sent_again(journald, count):
    """Errors 1 to `count` and their recoveries are there, each once."""
    journald.wait(ERROR, count=count)
    journald.wait(RECOVERY, count=2 * count)
    entries = journald.entries(ERROR, '+', RECOVERY)
    assert sorted(sequences(journald.entries(ERROR))) == list(range(1, count + 1))
    stream, = {stream for stream, _ in identities(entries)}
    assert sorted(identities(entries)) == [(stream, position) for position in range(1, 3 * count + 1)]


def test_journald_killed(sim, daemon, journald, published):
    """What journald had taken and not written is written by the next one. (With a service manager that keeps
    its sockets this is one entry at most, without it all that waited in the socket.)"""
    killed_with_entries(sim, daemon, journald, published, 10)
    journald.start()
    told(journald, 'entries that journald had taken are not in the journal')
    check_sent_again(journald, 11)
    assert journald.entries(LOST) == []


def test_journald_and_daemon_killed(sim, daemon, journald, published):
    """The next run knows what its former one does not know to be stored."""
    killed_with_entries(sim, daemon, journald, published, 10)
    daemon.kill()
    journald.start()
    daemon.start('--policy=claim', **TO_JOURNAL)
    told(journald, 'entries that journald had taken are not in the journal')
    check_sent_again(journald, 11)


def flood(sim, count):
    """More than `count` records of one function, without any recovery in between; returns how many."""
    sim.set(A, endless=1)
    sim.error(A, pec=2, force=1)
    sim.wait(A, f'read>={count}')
    sim.set(A, endless=0)
    # Behind all of them one that is told apart. (The next one is a sign that these are drained.)
    sim.error(A, pec=3, force=1)
    return sim.wait(A, 'pending=0')['read']


def wait_sequence(monitor, sequence):
    """Waits for what comes last, without looking at all that came before each time."""
    def last():
        return monitor.signals and (monitor.signals[-1].member, monitor.signals[-1].args[5:6])
    monitor.wait_until(lambda: last() == ('ErrorReported', [sequence]), f'error {sequence}')


def check_journal(journald, count):
    """Errors 1 to `count`, or in their places announcements of how many are not there. Returns how many."""
    journald.wait(ERROR, f'ZPCI_SEQUENCE={count}')
    last = gaps = 0
    for entry in journald.entries(ERROR, '+', LOST):
        if 'ZPCI_LOST' in entry:
            last += int(entry['ZPCI_LOST'])
            gaps += int(entry['ZPCI_LOST'])
            assert 'journald did not take' in entry['MESSAGE']
        else:
            last += 1
            assert int(entry['ZPCI_SEQUENCE']) == last
    assert last == count
    return gaps


def test_overrun_of_the_ring(sim, daemon, journald, bus, monitor, configure):
    """With journald and then also the bus standing still: drains go on, and what was overwritten before it was
    taken is announced where it would have been, with its number."""
    configure('[Errord]\nSettleSec=0\nRecords=64\nRecovery=none\n')
    claim(sim, daemon, 1)
    journald.freeze()
    count = flood(sim, 2000)
    wait_sequence(monitor, count)
    seen = [signal.args[5] for signal in monitor.named('ErrorReported')]
    assert seen == list(range(1, count + 1))
    journald.thaw()
    assert check_journal(journald, count) > 0
    monitor.signals.clear()

    journald.freeze()
    bus.freeze()
    count = flood(sim, 20000)
    bus.thaw()
    journald.thaw()
    wait_sequence(monitor, count)
    seen += [signal.args[5] for signal in monitor.named('ErrorReported')]
    assert seen == sorted(set(seen)) and seen[-1] == count
    # A hole in the sequence announces itself; the daemon says how many are missing, too.
    assert len(seen) < count
    told(journald, 'ring entries were overwritten before the system bus took them')
    said = [int(entry['MESSAGE'].split()[0]) for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord')
            if 'before the system bus took them' in entry['MESSAGE']]
    assert sum(said) == count - len(seen)
    assert check_journal(journald, count) > 0


def test_end_while_journald_stands_still(sim, daemon, journald, monitor):
    """A stop does not hang; what could not be written is said where somebody may read it."""
    claim(sim, daemon, 1)
    journald.freeze()
    for number in range(100):
        sim.wait(A, f'frozen=0,pending=0,resets={number}')
        sim.error(A, pec=2)
    monitor.wait('ErrorReported', count=100)
    assert daemon.stop() == 0
    journald.thaw()
    entries = sequences(journald.entries(ERROR))
    assert entries == list(range(1, len(entries) + 1))

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Storms: hundreds of functions fail at once and again and again. Every error is accounted for, and whoever wants
something of the daemon meanwhile gets it at once."""
import re
import threading
import time
from collections import Counter

import dbus.bus
import pytest

from bystander import FAST, TO_JOURNAL, told
from deadline import Deadline, scaled
from monitor import MANAGER, NAME, PROPERTIES
from published import MANAGER_INTERFACE, MESSAGE_IDS

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']
LOST = 'MESSAGE_ID=' + MESSAGE_IDS['LOST']
GROWTH_KB = 16 * 1024


@pytest.fixture
def size(wrapped):
    return 64 if wrapped else 512


@pytest.fixture
def seconds(request):
    return request.config.getoption('--storm-seconds')


class Thread(threading.Thread):
    """Does something over and over until the end of a storm; what it raises, join() raises."""

    def __init__(self, until, work):
        super().__init__()
        self.until = until
        self.work = work
        self.error = None
        self.start()

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.work()
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def join(self, timeout=None):
        super().join(timeout)
        if self.error:
            raise self.error


class Caller:
    """Calls a method over and over on a connection of its own, into which no signals come."""

    def __init__(self, bus):
        self.connection = dbus.bus.BusConnection(bus.address)
        self.slowest = 0
        self.count = 0

    def __call__(self):
        begin = time.monotonic()
        self.connection.call_blocking(NAME, MANAGER, PROPERTIES, 'Get', 'ss', (MANAGER_INTERFACE, 'LastSequence'))
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.count += 1

    def check(self):
        self.connection.close()
        assert self.count > 0
        assert self.slowest < scaled(5)


class Size:
    """Of the daemon's own memory, which a storm does not make grow. (What it reads of the journal is mapped.)"""

    def __init__(self, daemon, wrapped):
        self.daemon = daemon
        self.wrapped = wrapped
        self.before = self.now()

    def now(self):
        with open(f'/proc/{self.daemon.pid}/status', encoding='ascii') as status:
            return int(re.search(r'RssAnon:\s+(\d+) kB', status.read())[1])

    def check(self):
        if not self.wrapped:
            assert self.now() - self.before < GROWTH_KB


def claim(sim, daemon, count):
    sim.add_many(count, **FAST)
    daemon.start('--policy=claim', **TO_JOURNAL)
    addresses = sim.list()
    for address in addresses:
        sim.wait(address, 'held=1,err_armed=1')
    return addresses


def pipelined(connection, commands):
    """The answers to many commands; a few of them are under way at a time."""
    for begin in range(0, len(commands), 50):
        some = commands[begin:begin + 50]
        for command in some:
            connection.send(*command)
        for command in some:
            yield connection.receive(command)


def plug(sim, addresses):
    """Hot-unplugs and -plugs; every second one is unbound before, which is answered at once."""
    connection = sim.connect()
    slowest = 0

    def work():
        nonlocal slowest
        for number, address in enumerate(addresses):
            if number % 2:
                slowest = max(slowest, connection.command('unbind', address)['ms'])
            connection.command('remove', address)
        for address in addresses:
            fid = int(address[:4], 16) + 0x1000
            connection.command('add', address, f'fid={fid}', *(f'{key}={value}' for key, value in FAST.items()))
        assert slowest < scaled(1000)
    return work


def fail(sim, addresses, numbers):
    """One round of errors; each has a number of its own, by which it is found again."""
    connection = sim.connect()

    def work():
        commands = [('error', address, 'pec=2', f'faddr={number:#x}')
                    for number, address in enumerate(addresses, len(numbers))]
        for address, answer in zip(addresses, pipelined(connection, commands)):
            numbers.append((address, answer.get('result')))
    return work


def catch_up(monitor, journald, sequence):
    """Waits for the error of this sequence number everywhere, without looking at all before it each time."""
    def last():
        for signal in reversed(monitor.signals):
            if signal.member == 'ErrorReported':
                return signal.args[5] >= sequence
        return False
    monitor.wait_until(last, f'error {sequence}', 60)
    journald.wait(ERROR, f'ZPCI_SEQUENCE={sequence}', seconds=60)


def last_sequence(monitor):
    # The answer comes behind all signals.
    return monitor.call(MANAGER, PROPERTIES, 'Get', 'ss', MANAGER_INTERFACE, 'LastSequence', seconds=120)


def accounted(journald):
    """How many positions the journal has, or says that it has not."""
    positions = set()
    for entry in journald.entries('SYSLOG_IDENTIFIER=zpci-errord'):
        if 'ZPCI_POSITION' not in entry:
            continue
        last = int(entry['ZPCI_POSITION'])
        gap = int(entry['ZPCI_LOST']) if 'ZPCI_LOST' in entry and 'ZPCI_ADDRESS' not in entry else 1
        positions.update(range(last - gap + 1, last + 1))
    return positions


def test_functions_fail(sim, daemon, journald, bus, monitor, size, seconds, wrapped):
    """Each fails as soon as it was recovered, while others come and go, udev and the kernel log lose events, and
    eventfds are written with nothing behind it. Each error is published once, and none is called lost."""
    addresses = claim(sim, daemon, size)
    steady, plugged = addresses[size // 4:], addresses[:size // 4]
    memory, caller, numbers = Size(daemon, wrapped), Caller(bus), []
    end = time.monotonic() + seconds
    disturbance = sim.connect()

    def disturb():
        for address in steady[::16]:
            disturbance.command('signal', address, 'err', 3)
        disturbance.command('monitor-overrun')
        disturbance.command('kmsg-overrun')

    threads = [Thread(end, work) for work in (caller, disturb, plug(sim, plugged), fail(sim, steady, numbers))]
    monitor.wait_until(lambda: time.monotonic() >= end, 'the end of the storm', 2 * seconds + 10)
    for thread in threads:
        thread.join()
    for address in steady:
        sim.wait(address, 'pending=0,frozen=0', 60)
    caller.check()
    memory.check()

    queued = Counter((address, number) for number, (address, result) in enumerate(numbers) if result == 'queued')
    assert len(queued) > len(steady)
    count = last_sequence(monitor)
    catch_up(monitor, journald, count)
    errors = [signal.args for signal in monitor.named('ErrorReported')]
    assert [error[5] for error in errors] == list(range(1, count + 1))
    told_of = Counter((error[0], error[7].get('FailingAddress')) for error in errors)
    assert told_of == queued
    assert monitor.named('RecordsLost') == []

    # A journald that is slower than that has less, and says how much less.
    positions = accounted(journald)
    assert positions == set(range(1, max(positions) + 1))
    entries = {entry['ZPCI_POSITION']: entry for entry in journald.entries(ERROR)}
    assert not Counter((entry['ZPCI_ADDRESS'], int(entry['ZPCI_FAILING_ADDRESS'], 16))
                       for entry in entries.values()) - queued
    assert [entry for entry in journald.entries(LOST) if 'ZPCI_ADDRESS' in entry] == []

    # Fair: no function waits for the others.
    shares = Counter(address for address, _ in queued)
    assert min(shares[address] for address in steady) * 10 >= max(shares.values())


def test_always_one_more(sim, daemon, journald, bus, monitor, configure, size, seconds, wrapped):
    """Kernels that always have one more record, and signal it all the time: more than anybody could publish. What
    was drained is published, rather than overwritten by more of it."""
    configure('[Errord]\nSettleSec=0\nRecovery=none\nRecords=1024\n')
    addresses = claim(sim, daemon, size // 8)
    for address in addresses:
        sim.set(address, endless=1)
        sim.error(address, pec=2, force=1)
    memory, caller = Size(daemon, wrapped), Caller(bus)
    before = [sim.state(address)['read'] for address in addresses]
    end = time.monotonic() + seconds / 3
    connection = sim.connect()

    def signal():
        for _ in pipelined(connection, [('signal', address, 'err', 1) for address in addresses]):
            pass

    threads = [Thread(end, caller), Thread(end, signal)]
    monitor.wait_until(lambda: time.monotonic() >= end, 'the end of the storm', 2 * seconds + 10)
    for thread in threads:
        thread.join()
    shares = [sim.state(address)['read'] - read for address, read in zip(addresses, before)]
    assert min(shares) * 4 >= max(shares)
    caller.check()
    assert sim.unbind(addresses[0])['ms'] < scaled(1000)
    for address in addresses[1:]:
        sim.set(address, endless=0)
    memory.check()

    # Behind all of them one of each that is told apart. (That it is drained is a sign that these are.)
    for address in addresses[1:]:
        sim.error(address, pec=3, force=1)
        sim.wait(address, 'pending=0', 60)
    count = last_sequence(monitor)
    catch_up(monitor, journald, count)
    seen = [signal.args[5] for signal in monitor.named('ErrorReported')]
    assert seen == sorted(set(seen))
    assert len(seen) > count / 4
    if len(seen) < count:
        told(journald, 'ring entries were overwritten before the system bus took them')

    # Losses of the kernel's queue are in the ring too, so that positions go on where errors end.
    deadline = Deadline(60, lambda: 'all positions in the journal')
    while True:
        positions = accounted(journald)
        if positions == set(range(1, max(positions) + 1)):
            break
        deadline.left()

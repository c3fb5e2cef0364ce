# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors of functions that the daemon does not hold, from what the kernel shows everybody."""
import random

import pytest

from published import MESSAGE_IDS, path
from sim import Sim, SimError

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
MARKER = '00ff:00:00.0'
MARKER_FID = 0xff

FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}


class Marker:
    """A function whose measurement-block events tell that what the kernel said before was published: they
    wait as long for a richer account as any line of the kernel log, and it is read in order."""

    def __init__(self, sim, published):
        self.sim = sim
        self.published = published
        self.count = 0
        sim.add(MARKER, fid=MARKER_FID, **FAST)
        sim.property(MARKER, 'ZPCI_ERRORD_POLICY', 'observe')

    def wait(self):
        self.count += 1
        self.sim.error(MARKER, pec=0x2a)
        return self.published.errors(self.count, MARKER_FID)


@pytest.fixture
def marker(sim, published):
    return Marker(sim, published)


def sources(errors):
    return [(error.pec, error.details['Source']) for error in errors]


def test_held_by_another(sim, daemon, published, marker):
    """PEC and FID from the kernel log; the recovery is the holder's."""
    sim.add(A, fid=0x10, pchid=0x104, **FAST)
    sim.hold(A)
    daemon.start()
    sim.error(A, pec=4)
    error, = published.errors(1, 0x10)
    assert (error.address, error.pec, error.name, error.severity) == (A, 4, 'TPROTE', 'recoverable')
    assert error.details == {'Source': 'kmsg', 'StreamId': error.details['StreamId'],
                             'FunctionHandle': sim.state(A)['fh']}
    assert published.recoveries(0x10, 1) == ['left-to-holder']
    assert published.get(0x10, 'Recovery') == 'left-to-holder'
    assert published.get(0x10, 'Records') == 1
    entry, = published.journald.entries('ZPCI_ADDRESS=' + A, 'MESSAGE_ID=' + MESSAGE_IDS['ERROR'])
    assert entry['MESSAGE'] == (f'{A} (FID 0x00000010, PCHID 0x0104): TPROTE (PEC 0x0004): write denied by '
                                'the protection bit of the translation anchor')

    # Permanent errors send no uevent, unknown ones are as any other, and two are two.
    sim.error(A, pec=0x7777, force=1)
    sim.error(A, pec=0x7777, force=1)
    sim.error(A, pec=0x3b, force=1)
    assert sources(published.errors(4, 0x10)) == [(4, 'kmsg')] + [(0x7777, 'kmsg')] * 2 + [(0x3b, 'kmsg')]
    marker.wait()
    assert len(published.errors(4, 0x10)) == 4
    state = sim.state(A)
    assert (state['read'], state['resets'], state['opens'], state['pending']) == (0, 0, 1, 4)
    assert published.recoveries(0x10, 1) == ['left-to-holder']
    assert len(published.monitor.named('RecoveryChanged')) == 1


def test_recovered_by_the_kernel(sim, daemon, published, marker):
    """What nobody holds the kernel recovers, or not."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, recovery='failed', **FAST)
    daemon.start()
    sim.error(A, pec=2)
    sim.error(B, pec=3)
    assert published.recoveries(0x10, 1) == ['recovered']
    assert published.recoveries(0x20, 1) == ['failed']
    assert sources(published.errors(1, 0x10)) == [(2, 'kmsg')]
    assert sources(published.errors(1, 0x20)) == [(3, 'kmsg')]
    marker.wait()
    assert len(published.errors(1, 0x10)) == len(published.errors(1, 0x20)) == 1
    # The error goes before its recovery.
    assert [s.member for s in published.monitor.named('ErrorReported', 'RecoveryChanged')
            if s.path == path(0x10)] == ['ErrorReported', 'RecoveryChanged']
    assert published.get(0x10, 'Recovery') == 'recovered'
    assert published.get(0x20, 'Recovery') == 'failed'


def test_no_second_record(sim, daemon, published, marker):
    """Of a claimed function the kernel log and uevents say nothing new, whichever comes first."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, path='cdev', uapi='v13', **FAST)
    daemon.start('--policy=claim')
    for address in A, B:
        sim.wait(address, 'err_armed=1')
    for n in range(1, 6):
        for address in A, B:
            sim.error(address, pec=2)
            sim.wait(address, f'resets>={n},frozen=0,pending=0')
    daemon.freeze()
    for _ in range(3):
        sim.error(A, pec=2, force=1)
    daemon.thaw()
    published.errors(13)
    marker.wait()
    assert sources(published.errors(8, 0x10)) == [(2, 'vfio')] * 8
    assert sources(published.errors(5, 0x20)) == [(2, 'vfio')] * 5
    assert published.all_lost() == []


def test_dropped_by_the_queue(sim, daemon, published, marker):
    """A fifth record finds no room, but its line is there."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    daemon.freeze()
    for pec in range(1, 6):
        sim.error(A, pec=pec, force=1)
    daemon.thaw()
    assert sources(published.errors(5, 0x10)) == [(pec, 'vfio') for pec in range(1, 5)] + [(5, 'kmsg')]
    assert published.lost(0x10) == [1]
    marker.wait()
    assert len(published.errors(5, 0x10)) == 5
    assert published.recoveries(0x10, 2) == ['in-progress', 'recovered']
    assert len([s for s in published.monitor.named('RecoveryChanged')]) == 2


def test_measurement_block(sim, daemon, published):
    """Informational, from the kernel log only, also of what we hold; no recovery follows."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    sim.property(B, 'ZPCI_ERRORD_POLICY', 'observe')
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    names = {0x2a: 'FMBA', 0x2b: 'FMBUP', 0x2c: 'FMBPRO'}
    for address in A, B:
        for pec in names:
            assert sim.error(address, pec=pec)['result'] == 'logged'
    for fid in 0x10, 0x20:
        errors = published.errors(3, fid)
        assert sources(errors) == [(pec, 'kmsg') for pec in names]
        assert [error.name for error in errors] == list(names.values())
        assert {error.severity for error in errors} == {'informational'}
        assert published.get(fid, 'Recovery') == 'none'
    assert sim.state(A)['resets'] == 0
    assert published.monitor.named('RecoveryChanged') == []


def test_forged(sim, daemon, published, marker):
    """Lines that look like the kernel's are nobody's errors."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    line = f'zpci: {A}: Event 0x2 reports an error for PCI function 0x10'
    for priority in 8 + 3, 16 + 3, 3 + (1 << 10 - 1):
        sim.kmsg(priority, line)
    for text in (line + 'g', line + ' .', 'x' + line, line.replace('0x2', '0x10002'),
                 line.replace('0x2', '0x'), line.replace('0x10', '0x100000010'),
                 line.replace('0x10', '0x11'), line.replace(A, '0001:00:00'), line.replace('Event', 'event'),
                 line + '\\nzpci: nothing', f'vfio-pci {A}: Event 0x2 reports an error for PCI function 0x10'):
        sim.kmsg(3, text)
    marker.wait()
    assert published.errors(1, MARKER_FID)
    assert len(published.monitor.named('ErrorReported')) == 1
    # The real one.
    sim.kmsg(3, line)
    assert sources(published.errors(1, 0x10)) == [(2, 'kmsg')]


def test_overrun(sim, daemon, published, marker):
    """The kernel log went on without us: said with the number of lines, and what is there is taken in."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    sim.hold(A)
    sim.error(A, pec=1)
    published.errors(1, 0x10)
    daemon.freeze()
    connection = sim.connect()
    for _ in range(10000):  # more than the log keeps
        connection.command('kmsg', 6, 'noise')
    connection.close()
    sim.error(A, pec=2, force=1)
    daemon.thaw()
    assert sources(published.errors(2, 0x10)) == [(1, 'kmsg'), (2, 'kmsg')]
    said = [line for line in daemon.stderr.splitlines() if 'The kernel log was overwritten' in line]
    assert len(said) == 1 and ' lines are lost' in said[0], said
    marker.wait()


class TestWithoutKernelLog:
    @pytest.fixture
    def sim(self, build):
        with Sim(build, kmsg=False) as sim:
            yield sim

    def test_uevents(self, sim, daemon, published):
        """No CAP_SYSLOG, or no /dev/kmsg: an error is known, its code is not, and that is said."""
        sim.add(A, fid=0x10, pchid=0x104, **FAST)
        sim.add(B, fid=0x20, **FAST)
        sim.property(B, 'ZPCI_ERRORD_POLICY', 'claim')
        daemon.start()
        assert 'Cannot read the kernel log (/dev/kmsg; needs CAP_SYSLOG)' in daemon.stderr
        assert 'without a code, from uevents' in daemon.stderr
        sim.hold(A)
        sim.wait(B, 'err_armed=1')
        sim.error(A, pec=4)
        sim.error(B, pec=5)
        error, = published.errors(1, 0x10)
        assert (error.pec, error.name, error.severity) == (0, 'UNKNOWN', 'unknown')
        assert error.details['Source'] == 'uevent'
        entry, = published.journald.entries(f'ZPCI_ADDRESS={A}', 'ZPCI_PEC=0x0000')
        assert entry['MESSAGE'] == f'{A} (FID 0x00000010, PCHID 0x0104): error reported, code unknown'
        assert published.recoveries(0x10, 1) == ['left-to-holder']

        # What is held is as complete as ever.
        assert sources(published.errors(1, 0x20)) == [(5, 'vfio')]
        assert published.recoveries(0x20, 2) == ['in-progress', 'recovered']

        # The kernel's own recovery tells that there was an error.
        sim.unhold(A)
        sim.error(A, pec=6)
        assert sources(published.errors(2, 0x10)) == [(0, 'uevent')] * 2
        assert published.recoveries(0x10, 2) == ['left-to-holder', 'recovered']


class Chaos:
    """Binds, unbinds, holds, and lets fail, in an order that a seed decides. Each error has a code of its
    own, so that each record can be counted."""

    def __init__(self, sim, daemon, published, seed):
        self.sim = sim
        self.daemon = daemon
        self.published = published
        self.random = random.Random(seed)
        self.bound = {A: 0x10, B: 0x20}
        self.codes = {0x10: [], 0x20: []}
        self.next = 0x1000

    def error(self, address):
        if address not in self.bound:
            return
        self.next += 1
        if self.sim.error(address, pec=self.next)['result'] != 'frozen':
            self.codes[self.bound[address]].append(self.next)

    def errors_undrained(self, address):
        self.daemon.freeze()
        for _ in range(self.random.randint(1, 6)):
            self.error(address)
        self.daemon.thaw()

    def unbind(self, address):
        """And binds again, or on the next occasion."""
        if address in self.bound:
            assert self.sim.unbind(address)['ms'] < 2000
            fid = self.bound.pop(address)
            self.published.wait_objects(MARKER_FID, *self.bound.values())
            if self.random.random() < 0.3:
                return
            self.bound[address] = fid
        else:
            self.bound[address] = {A: 0x10, B: 0x20}[address]
        self.sim.bind(address)
        self.published.wait_objects(MARKER_FID, *self.bound.values())

    def hold(self, address):
        """Succeeds between an unbind and our next claim only."""
        try:
            if self.sim.state(address)['hold']:
                self.sim.unhold(address)
            else:
                self.sim.hold(address, obeys=True)
        except SimError as error:
            assert error.code in ('EBUSY', 'EINVAL', 'EAGAIN', 'ENODEV'), error

    def settle(self, address):
        if address in self.bound and not self.sim.state(address)['hold']:
            self.sim.wait(address, 'err_armed=1,frozen=0', timeout=20)

    def run(self, steps):
        actions = [self.error] * 5 + [self.errors_undrained, self.unbind, self.unbind, self.hold, self.settle]
        for _ in range(steps):
            action, address = self.random.choice(actions), self.random.choice((A, B))
            print(action.__name__, address, f'{self.next + 1:x}')  # told where it fails
            action(address)


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_chaos(sim, daemon, published, marker, seed):
    """Around opening and closing no error is lost and none is told twice."""
    for address, fid, way in ((A, 0x10, 'group'), (B, 0x20, 'cdev')):
        sim.add(address, fid=fid, path=way, open_ms=20, reset_ms=10, close_ms=10, eagain_ms=5)
    daemon.start('--policy=claim')
    chaos = Chaos(sim, daemon, published, seed)
    chaos.run(60)
    marker.wait()
    marker.wait()
    published.monitor.flush()
    for fid, codes in chaos.codes.items():
        told = [(s.args[2], s.args[7]['Source']) for s in published.monitor.named('ErrorReported')
                if s.args[1] == fid]
        assert sorted(pec for pec, _ in told) == codes, f'seed {seed}, function {fid:08x}: {told}'
    sequences = [s.args[5] for s in published.monitor.named('ErrorReported')]
    assert sequences == list(range(1, len(sequences) + 1))


def test_line_before_the_function(sim, daemon, published, marker):
    """The kernel log may be ahead of udev: the line comes before the daemon has heard of the function."""
    daemon.start()
    sim.kmsg(3, f'zpci: {A}: Event 0x2 reports an error for PCI function 0x10')
    sim.kmsg(3, f'zpci: {B}: Event 0x2 reports an error for PCI function 0x20')  # a host driver's
    sim.add(A, fid=0x10, **FAST)
    assert sources(published.errors(1, 0x10)) == [(2, 'kmsg')]
    marker.wait()
    assert [s.args[1] for s in published.monitor.named('ErrorReported')] == [0x10, MARKER_FID]

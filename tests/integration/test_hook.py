# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's hook: a guest gets its functions, and whatever is wrong, it may start at once.

Each call of `hook` asserts that it ends within two seconds, with exit status 0 and nothing on standard output."""
import os
import signal

import pytest

from bystander import FAST
from deadline import Deadline
from hook import domain
from standin import StandIn

one_bus = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

# The functions of the domain "hostdev", and two that only its guest has under these addresses.
A, B = '0001:00:00.0', '00a2:00:00.0'
GUEST_VIEWS = '0000:00:01.0', '0003:00:01.0'
SAYS = 'SYSLOG_IDENTIFIER=zpci-errord-hook'


def add_all(sim, *addresses):
    """FIDs 0x10, 0x20 …"""
    for number, address in enumerate(addresses, 1):
        sim.add(address, fid=number * 0x10, **FAST)


def is_held(sim, address):
    return sim.state(address)['held'] == 1


def line(journald):
    """The one line that the hook said."""
    entry, = journald.wait(SAYS)
    assert journald.entries(SAYS) == [entry]
    return entry


def listed(value):
    """A field that an entry may have several times."""
    return value if isinstance(value, list) else [value]


def test_life_of_a_guest(sim, daemon, published, journald, hook):
    """Closed and said when the hook ends, before the guest starts; taken back after its end."""
    add_all(sim, A, B, *GUEST_VIEWS)
    daemon.start('--policy=claim')
    for fid in 0x10, 0x20, 0x30, 0x40:
        published.wait_state(fid, 'claimed')

    for operation in 'prepare', 'start':
        assert hook('ledger', operation, 'begin', domain('hostdev')) == ''
        assert not is_held(sim, A) and not is_held(sim, B)
        for fid in 0x10, 0x20:
            assert published.state(fid) == ('observed', 'released')
            assert published.get(fid, 'Holder') == 'ledger'
    for address in GUEST_VIEWS:
        assert is_held(sim, address)
    sim.hold(A)  # QEMU
    assert hook('ledger', 'started', 'begin', domain('hostdev')) == ''
    sim.unhold(A)

    # QEMU has gone, and libvirt may still bind and unbind: that is not yet the moment.
    assert hook('ledger', 'stopped', 'end', domain('hostdev')) == ''
    for fid in 0x10, 0x20:
        assert published.state(fid) == ('observed', 'released')
        assert published.get(fid, 'Holder') == ''
    assert hook('ledger', 'release', 'end', domain('hostdev'), 'shutdown') == ''
    for address, fid in (A, 0x10), (B, 0x20):
        sim.wait(address, 'held=1')
        published.wait_state(fid, 'claimed')
        assert published.get(fid, 'Holder') == ''
    assert journald.entries(SAYS) == []


@one_bus
@pytest.mark.parametrize('name, given, kept', [
    ('interface', ['0002:00:02.1', '0002:00:03.0'], ['0007:00:01.0']),
    ('nvme', ['0001:00:00.0', '0006:00:00.0'], ['0009:00:01.0']),
    ('none', [], ['0001:00:00.0']),
])
def test_shapes(sim, daemon, published, journald, hook, name, given, kept):
    add_all(sim, *given, *kept)
    daemon.start('--policy=claim')
    for number in range(1, len(given + kept) + 1):
        published.wait_state(number * 0x10, 'claimed')
    hook('guest', 'prepare', 'begin', domain(name))
    assert [is_held(sim, address) for address in given + kept] == [False] * len(given) + [True] * len(kept)
    assert journald.entries(SAYS) == []


@one_bus
def test_only_observed(sim, daemon, published, journald, hook):
    """What the daemon does not hold stays so, before and after; what it does not know is no trouble."""
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, driver='nvme')
    daemon.start()
    published.wait_state(0x10, 'observed', 'policy')
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    assert published.state(0x10)[0] == 'observed'
    hook('ledger', 'release', 'end', domain('hostdev'))
    published.wait_state(0x10, 'observed', 'policy')
    assert sim.state(A)['opens'] == 0
    assert journald.entries(SAYS) == []


@one_bus
def test_bound_meanwhile(sim, daemon, configure, published, journald, hook):
    """managed='yes': libvirt binds the function between the two operations, and QEMU may take its time."""
    configure('[Errord]\nSettleSec=1h\n')
    sim.add(A, fid=0x10, driver='nvme', **FAST)
    daemon.start('--policy=claim')
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    sim.unbind(A)
    sim.bind(A)
    published.wait_state(0x10, 'observed', 'settling')
    hook('ledger', 'start', 'begin', domain('hostdev'))
    assert published.state(0x10) == ('observed', 'released')
    assert journald.entries(SAYS) == []


@one_bus
def test_start_that_fails(sim, daemon, published, hook):
    """libvirt then stops the guest that never was."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    assert not is_held(sim, A)
    hook('ledger', 'stopped', 'end', domain('hostdev'))
    hook('ledger', 'release', 'end', domain('hostdev'), 'failed')
    published.wait_state(0x10, 'claimed')


@one_bus
def test_other_operations(sim, daemon, published, journald, hook):
    """Migration: what the hook printed would be the new XML. The others are not for us."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    for operation, suboperation in [
            ('migrate', 'begin'), ('restore', 'begin'), ('started', 'begin'), ('reconnect', 'begin'),
            ('attach', 'begin'), ('prepare', 'end'), ('prepare', '-'), ('release', 'begin'), ('', ''), ('new', '-')]:
        assert hook('ledger', operation, suboperation, domain('hostdev')) == ''
        assert hook('ledger', operation, suboperation, b'no XML') == ''
    assert sim.state(A)['closes'] == 0 and is_held(sim, A)
    assert journald.entries(SAYS) == []


@one_bus
@pytest.mark.parametrize('guest, holder', [
    ('x' * 126 + 'ä' + 'y', 'x' * 126 + 'ä'),
    ('x' * 127 + 'ä' + 'y', 'x' * 127),
    ('a\nMESSAGE=forged\x1b[2J', 'a?MESSAGE=forged?[2J'),
    (b'\xff\xc3', '??'),
    ('--help', '--help'),
], ids=['fits', 'too-long', 'control', 'no-utf8', 'option'])
def test_names_of_guests(sim, daemon, published, hook, guest, holder):
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    hook(guest, 'prepare', 'begin', domain('hostdev'))
    assert published.state(0x10) == ('observed', 'released')
    assert published.get(0x10, 'Holder') == holder


@one_bus
def test_no_daemon(journald, hook):
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    entry = line(journald)
    assert 'does not run' in entry['MESSAGE'] and 'ledger' in entry['MESSAGE']
    assert listed(entry['ZPCI_ADDRESS']) == [A, B]
    assert entry['ZPCI_HOLDER'] == 'ledger'
    assert entry['PRIORITY'] == '5'
    # Once for each start of a guest, and not for those that are given nothing.
    hook('ledger', 'start', 'begin', domain('hostdev'))
    hook('ledger', 'release', 'end', domain('hostdev'))
    hook('plain', 'prepare', 'begin', domain('none'))
    assert line(journald) == entry


@one_bus
def test_no_bus(bus, journald, hook):
    bus.stop()
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    entry = line(journald)
    assert 'system bus' in entry['MESSAGE'] and 'ledger' in entry['MESSAGE']
    assert entry['PRIORITY'] == '4'


def test_bus_stopped(bus, monitor, journald, hook):
    """It takes connections, and says nothing."""
    bus.freeze()  # which runs, since there is a monitor
    try:
        hook('ledger', 'prepare', 'begin', domain('hostdev'))
    finally:
        bus.thaw()
    entry = line(journald)
    assert 'in time' in entry['MESSAGE']
    assert listed(entry['ZPCI_ADDRESS']) == [A, B]


def test_daemon_stopped(sim, daemon, published, journald, hook):
    add_all(sim, A, B)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    daemon.freeze()
    try:
        for operation, suboperation, what in ('prepare', 'begin', 'let go of'), ('release', 'end', 'take back'):
            hook('ledger', operation, suboperation, domain('hostdev'))
            entry, = journald.wait(SAYS, where=lambda entry: what in entry['MESSAGE'])
            assert 'in time' in entry['MESSAGE']
            assert listed(entry['ZPCI_ADDRESS']) == [A, B]
    finally:
        daemon.thaw()
    assert len(journald.entries(SAYS)) == 2


@one_bus
def test_daemon_refuses(bus, journald, hook):
    """Each function by itself, with what the daemon said."""
    daemon = StandIn(bus)
    try:
        assert hook('ledger', 'prepare', 'begin', domain('hostdev')) == ''
        assert journald.entries(SAYS) == []
        for command, why in ('keep', 'mine'), ('refuse', 'not now'):
            daemon.tell(command)
            hook('ledger', 'prepare', 'begin', domain('hostdev'))
            entries = journald.wait(SAYS, count=2, where=lambda entry: why in entry['MESSAGE'])
            assert [entry['ZPCI_ADDRESS'] for entry in entries] == [A, B]
            for entry in entries:
                assert entry['ZPCI_ADDRESS'] in entry['MESSAGE'] and 'ledger' in entry['MESSAGE']
                assert (entry['ZPCI_HOLDER'], entry['PRIORITY']) == ('ledger', '4')
    finally:
        daemon.close()
    assert len(journald.entries(SAYS)) == 4


@one_bus
@pytest.mark.parametrize('xml, why', [
    (b'', 'not well-formed'),
    (domain('hostdev')[:-20], 'not well-formed'),
    (b'<!DOCTYPE domain [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<domain>&a;</domain>', 'not well-formed'),
    (b'<network/>', 'not of a domain'),
    (b'<domain>' + b' ' * (16 << 20) + b'</domain>', 'too long'),
], ids=['empty', 'cut-off', 'document-type', 'network', 'long'])
def test_bad_xml(journald, hook, xml, why):
    hook('ledger', 'prepare', 'begin', xml)
    entry = line(journald)
    assert why in entry['MESSAGE'] and 'ledger' in entry['MESSAGE']
    assert entry['ZPCI_HOLDER'] == 'ledger'


@one_bus
def test_bad_address(sim, daemon, published, journald, hook):
    """One device that makes no sense does not keep the others from the guest."""
    sim.add(B, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    hook('ledger', 'prepare', 'begin', domain('hostdev').replace(b"domain='0x0001'", b"domain='-1'"))
    assert not is_held(sim, B)
    assert 'passed over' in line(journald)['MESSAGE']


@one_bus
def test_input_without_end(journald, hook):
    running = hook.start('ledger', 'prepare', 'begin', '-')
    running.write(domain('hostdev'))
    running.give_up()
    assert 'did not end in time' in line(journald)['MESSAGE']


@one_bus
def test_journald_stopped(journald, hook):
    """It has the line as soon as it goes on."""
    journald.freeze()
    try:
        hook('ledger', 'prepare', 'begin', domain('hostdev'))
    finally:
        journald.thaw()
    assert 'does not run' in line(journald)['MESSAGE']


@one_bus
def test_no_journald(journald, hook):
    """libvirt has what is said then, in its own log at the level debug."""
    journald.kill()
    stderr = hook('ledger', 'prepare', 'begin', domain('hostdev'))
    assert 'does not run' in stderr


@one_bus
def test_worker_ends_badly(journald, hook):
    """Whatever a library does to the process that does the work."""
    running = hook.start('ledger', 'prepare', 'begin', '-')
    os.kill(running.worker(), signal.SIGSEGV)
    running.end()
    assert 'signal 11' in line(journald)['MESSAGE']


@one_bus
def test_worker_hangs(journald, hook):
    running = hook.start('ledger', 'prepare', 'begin', '-')
    worker = running.worker()
    pidfd = os.pidfd_open(worker)
    os.kill(worker, signal.SIGSTOP)
    running.end()
    assert 'given up' in line(journald)['MESSAGE']
    Deadline(10, 'the end of the worker').readable(pidfd)
    os.close(pidfd)


@one_bus
def test_no_standard_error(bus, journald, hook):
    """A closed pipe must not end it."""
    bus.stop()
    journald.kill()
    running = hook.start('ledger', 'prepare', 'begin', '-')
    running.process.stderr.close()
    running.process.stderr = open(os.devnull, 'rb')
    running.write(domain('hostdev'))
    running.end()


@one_bus
def test_by_hand(bus, hook):
    """Its help is the one thing that it prints; nothing is a failure."""
    def run(*arguments):
        running = hook.start(*arguments)
        out, err = running.process.communicate()
        assert running.process.returncode == 0
        return out.decode(), err.decode()

    for option in '--help', '-h':
        out, err = run(option)
        assert 'libvirt' in out and 'journalctl -t zpci-errord-hook' in out and err == ''
    assert run('--version')[0].startswith('zpci-errord-hook ')
    for arguments in [], ['guest'], ['guest', 'prepare'], ['guest', 'prepare', 'begin'], ['--wrong']:
        out, err = run(*arguments)
        assert out == '' and '--help' in err

# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus interface as a subscriber finds it, on both buses."""
import grp
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import dbus
import pytest

from monitor import MANAGER, NAME, PROPERTIES, Monitor
from published import FUNCTION, MANAGER_INTERFACE, path
from service import Service
from user import Errand

DOCUMENTED = Path(__file__).parents[2] / 'dbus'
LOG_CONTROL = '/org/freedesktop/LogControl1', 'org.freedesktop.LogControl1'
INVALID_ARGS = 'org.freedesktop.DBus.Error.InvalidArgs'
NO_FUNCTION = NAME + '.Error.NoSuchFunction'
UNKNOWN_OBJECT = 'org.freedesktop.DBus.Error.UnknownObject'
DENIED = 'org.freedesktop.DBus.Error.AccessDenied'

A = '0001:00:00.0'
B = '0002:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

NOBODY = 65534


def error_of(call, *arguments):
    """The error that a call has to give: (name, message)."""
    with pytest.raises(dbus.DBusException) as caught:
        call(*arguments)
    return caught.value.get_dbus_name(), caught.value.get_dbus_message()


def interface(xml, name):
    """An interface of an introspection document, as a value that can be compared."""
    def content(element):
        return (element.tag, sorted(element.attrib.items()),
                [content(child) for child in element if child.tag == 'arg'],
                sorted(content(child) for child in element if child.tag == 'annotation'))
    found = ElementTree.fromstring(xml).findall(f'interface[@name="{name}"]')
    assert len(found) == 1
    return sorted(content(child) for child in found[0])


def test_introspection(sim, daemon, published):
    """What is documented is what there is."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    published.wait_objects(0x10)
    for where, name in (MANAGER, MANAGER_INTERFACE), (path(0x10), FUNCTION):
        built = published.monitor.call(where, 'org.freedesktop.DBus.Introspectable', 'Introspect')
        assert interface(built, name) == interface((DOCUMENTED / f'{name}.xml').read_text(), name)


def test_find(sim, daemon, published):
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0xabcdef01, **FAST)
    daemon.start()
    published.wait_objects(0x10, 0xabcdef01)

    def by_address(address):
        return published.monitor.call(MANAGER, MANAGER_INTERFACE, 'GetFunctionByAddress', 's', address)

    def by_fid(fid):
        return published.monitor.call(MANAGER, MANAGER_INTERFACE, 'GetFunctionByFid', 'u', fid)

    assert by_address(A) == by_fid(0x10) == path(0x10)
    assert by_address(B) == by_fid(0xabcdef01) == path(0xabcdef01)

    name, message = error_of(by_address, '0003:00:00.0')
    assert name == NO_FUNCTION
    assert f'There are: {A} (FID 0x00000010), {B} (FID 0xabcdef01).' in message
    assert error_of(by_fid, 0x11)[0] == NO_FUNCTION
    assert error_of(by_address, '0001:00:00')[0] == INVALID_ARGS


def test_properties(sim, daemon, published):
    sim.add(A, fid=0x10, fh=0x80020000, uid=7, pchid=0x1c4, pfgid=5, vfn=3, pft=0x0b, **FAST)
    daemon.start()
    published.wait_objects(0x10)
    expected = {
        'Address': A, 'Fid': 0x10, 'Uid': 7, 'Pchid': 0x1c4, 'Pfgid': 5, 'Vfn': 3, 'Pft': 0x0b, 'PftName': 'NVMe',
        'State': 'observed', 'StateReason': 'policy', 'Holder': '', 'ErrorInterface': 'none', 'Recovery': 'none',
        'Driver': 'vfio-pci', 'FunctionHandle': 0x80020000,
        'Records': 0, 'Lost': 0, 'LastPec': 0, 'LastErrorUSec': 0,
    }
    assert published.monitor.get_all(path(0x10), FUNCTION) == expected
    assert published.monitor.objects()[path(0x10)][FUNCTION] == expected

    manager = published.monitor.get_all(MANAGER, MANAGER_INTERFACE)
    assert len(bytes.fromhex(manager.pop('StreamId'))) == 16
    assert manager.pop('Version')
    assert manager.pop('Witness') in ('not-started', 'not-built')
    assert manager == {'LastSequence': 0, 'Lost': 0}


def test_objects_come_and_go(sim, daemon, published):
    daemon.start()
    sim.add(A, fid=0x10, **FAST)
    [added] = published.monitor.wait('InterfacesAdded')
    assert added.path == MANAGER
    assert added.args[0] == path(0x10)
    assert added.args[1][FUNCTION]['Address'] == A

    sim.unbind(A)
    [removed] = published.monitor.wait('InterfacesRemoved')
    assert removed.path == MANAGER
    assert removed.args[0] == path(0x10)
    assert FUNCTION in removed.args[1]
    assert published.objects() == []
    assert published.comings_and_goings() == [('Added', 0x10), ('Removed', 0x10)]


def changes(monitor, fid):
    """All values that properties of a function were told to have, in order."""
    return [item for signal in monitor.named('PropertiesChanged')
            if signal.path == path(fid) for item in signal.args[1].items()]


def test_error(sim, daemon, published):
    """All that a record says, and what changes with it."""
    sim.add(A, fid=0x10, fh=0x80020000, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    sim.error(A, pec=2, faddr=0x12346002, ett=0xb, mvn=0xabc, dmaas=0xde, q=1, rw=1)
    [error] = published.errors(1)
    assert (error.address, error.fid, error.pec, error.name, error.severity, error.sequence) == \
        (A, 0x10, 2, 'OORANGE', 'recoverable', 1)
    raw = error.details.pop('Raw')
    assert len(raw) == 32 and raw.endswith(bytes([0, 2]))
    assert error.details == {
        'Source': 'vfio', 'StreamId': published.monitor.get(MANAGER, MANAGER_INTERFACE, 'StreamId'),
        'FunctionHandle': 0x80020000, 'FailingAddress': 0x12346002, 'ExpectedTableType': 0xb, 'MsiVector': 0xabc,
        'DmaAddressSpace': 0xde, 'Qualifier': True, 'ReadWrite': True,
    }
    published.wait_property(0x10, 'Recovery', 'recovered')
    shown = published.monitor.get_all(path(0x10), FUNCTION)
    assert (shown['Records'], shown['Lost'], shown['LastPec']) == (1, 0, 2)
    assert shown['LastErrorUSec'] == error.realtime_usec

    published.monitor.flush()
    told = changes(published.monitor, 0x10)
    assert ('State', 'claimed') in told
    assert ('ErrorInterface', 'ccdf') in told
    assert [value for name, value in told if name == 'Recovery'] == ['in-progress', 'recovered']
    assert not {name for name, _ in told} & {'Records', 'Lost', 'LastPec', 'LastErrorUSec'}


def test_packed(sim, daemon, published):
    sim.add(A, fid=0x10, uapi='v13', **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    sim.error(A, pec=0x3a)
    [error] = published.errors(1)
    assert (error.pec, error.name) == (0x3a, 'SERVAC')
    assert error.details['Pending'] == 0
    assert 'Raw' in error.details and 'FailingAddress' not in error.details


def test_gap(sim, daemon, published, bus):
    """A subscriber that comes late gets what it missed, once."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    for resets in range(1, 6):
        sim.wait(A, 'held=1,err_armed=1,frozen=0,locked=0')
        sim.error(A, pec=resets, faddr=resets << 12)
        sim.wait(A, f'resets>={resets},frozen=0')
    signals = published.errors(5)

    stream, oldest, last, records = published.records()
    assert (oldest, last) == (1, 5)
    assert records == signals
    assert published.records(after=3, stream=stream)[3] == signals[3:]
    assert published.records(after=1, stream=stream, most=2)[3] == signals[1:3]
    assert published.records(after=5, stream=stream)[3] == []
    # Of another stream: all there is, and the name of this one.
    assert published.records(after=3, stream='0' * 32) == (stream, 1, 5, signals)
    assert error_of(published.records, 0, 'yesterday')[0] == INVALID_ARGS


def test_arg0(sim, daemon, published, bus):
    """A match rule on the address."""
    other = Monitor(bus.address, rule=f",arg0='{B}'")
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start('--policy=claim')
    for address in A, B:
        sim.wait(address, 'held=1,err_armed=1')
        sim.error(address, pec=2)
    published.errors(2)
    other.wait('ErrorReported')
    other.flush()
    assert {signal.args[0] for signal in other.signals} == {B}
    assert len(other.named('ErrorReported')) == 1
    other.close()


def test_log_control(daemon, published):
    daemon.start()

    def get(prop):
        return published.monitor.get(*LOG_CONTROL, prop)

    def put(prop, value):
        published.monitor.call(LOG_CONTROL[0], PROPERTIES, 'Set', 'ssv', LOG_CONTROL[1], prop, value)

    assert get('SyslogIdentifier') == 'zpci-errord'
    assert get('LogLevel') == 'info'
    put('LogLevel', 'debug')
    assert get('LogLevel') == 'debug'
    put('LogTarget', 'console')
    assert get('LogTarget') == 'console'
    for prop in 'LogLevel', 'LogTarget':
        name, message = error_of(put, prop, 'loud')
        assert name == INVALID_ARGS and message.startswith(prop)


def attempt(call, *arguments):
    """None, or the name of the error."""
    try:
        call(*arguments)
    except dbus.DBusException as exception:
        return exception.get_dbus_name()


def visit(address, subscribed):
    """What somebody is allowed: the errors of calls, and the members of signals until the daemon left."""
    monitor = Monitor(address)
    gone = []
    monitor.connection.add_signal_receiver(
        lambda *_: gone.append(True), 'NameOwnerChanged', 'org.freedesktop.DBus', arg0=NAME)
    errors = (
        attempt(monitor.call, MANAGER, MANAGER_INTERFACE, 'GetRecords', 'stu', '', 0, 0),
        attempt(monitor.get, path(0x10), FUNCTION, 'State'),
        attempt(monitor.call, LOG_CONTROL[0], PROPERTIES, 'Set', 'ssv', LOG_CONTROL[1], 'LogLevel', 'info'),
        # A call need not name an interface; the daemon then finds nothing, but nobody else gets that far.
        attempt(monitor.call, LOG_CONTROL[0], None, 'Set', 'ssv', LOG_CONTROL[1], 'LogLevel', 'info'),
    )
    os.write(subscribed, b'\n')
    monitor.wait_until(lambda: gone, 'the daemon to leave', seconds=30)
    return errors, {signal.member for signal in monitor.signals}


@pytest.mark.parametrize('group, errors, member', [
    ('root', (None, None, None, UNKNOWN_OBJECT), True),
    ('adm', (None, None, DENIED, DENIED), True),
    ('systemd-journal', (None, None, DENIED, DENIED), True),
    ('nogroup', (DENIED, DENIED, DENIED, DENIED), False),
])
def test_access(sim, daemon, published, bus, group, errors, member):
    """Who may read the journal may read this; nobody else gets a signal. Only root changes anything."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    reader, subscribed = os.pipe()

    uid = 0 if group == 'root' else NOBODY
    with Errand(uid, uid, [grp.getgrnam(group).gr_gid], lambda: visit(bus.address, subscribed)) as errand:
        os.close(subscribed)
        assert os.read(reader, 1), errand.result()
        os.close(reader)
        sim.error(A, pec=2)
        sim.wait(A, 'pending=0,resets>=1,frozen=0')
        daemon.stop()
        answer, signals = errand.result()
    assert answer == errors
    if member:
        assert signals >= {'ErrorReported', 'RecoveryChanged', 'PropertiesChanged'}
    else:
        assert signals == set()


def test_second_daemon(sim, daemon, published, tmp_path):
    """It says why it ends, and the first one is not disturbed."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    opens = sim.state(A)['opens']

    (tmp_path / 'second').mkdir()
    second = Service(daemon.command, tmp_path / 'second')
    try:
        second.start('--policy=claim', ready=False)
        assert second.wait_exit() == 1
        assert f'Another daemon owns {NAME} on the system bus' in second.stderr
    finally:
        second.close()

    assert sim.state(A)['opens'] == opens
    sim.error(A, pec=2)
    published.errors(1)


def make_errors(sim, first, count):
    """Errors of A with consecutive PECs, each of them drained and recovered."""
    for pec in range(first, first + count):
        sim.wait(A, 'held=1,err_armed=1,frozen=0,locked=0')
        resets = sim.state(A)['resets']
        sim.error(A, pec=pec)
        sim.wait(A, f'pending=0,resets>={resets + 1},frozen=0')


def test_bus_hangs(sim, daemon, published, bus):
    """Draining and recovery go on meanwhile; the signals come when the bus is back."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    bus.freeze()
    try:
        make_errors(sim, 1, 5)
    finally:
        bus.thaw()
    assert [error.pec for error in published.errors(5)] == [1, 2, 3, 4, 5]


def sequences(monitor):
    return [signal.args[5] for signal in monitor.named('ErrorReported')]


def test_bus_restarts(sim, daemon, published, bus):
    """The daemon goes on without a bus, comes back to it by itself, and nothing is missing."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    make_errors(sim, 1, 1)
    published.errors(1)

    bus.stop()
    make_errors(sim, 2, 3)
    bus.start()
    monitor = Monitor(bus.address)
    try:
        monitor.wait('ErrorReported', where=lambda signal: signal.args[5] == 4, seconds=20)
        assert sequences(monitor)[-3:] == [2, 3, 4]
        assert path(0x10) in monitor.objects()
        assert [signal.args[0] for signal in monitor.named('InterfacesAdded')] == [path(0x10)]
    finally:
        monitor.close()
    assert daemon.stderr.count('error records go to the journal') == 1


def test_no_bus_at_start(sim, daemon, journald, bus):
    """Without a bus the journal has it all; a bus that comes later gets it too."""
    bus.stop()
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    make_errors(sim, 1, 2)
    journald.wait('ZPCI_FID=0x00000010', 'ZPCI_SEQUENCE=2')
    assert 'Cannot connect to the system bus, is dbus.service running?' in daemon.stderr

    bus.start()
    monitor = Monitor(bus.address)
    try:
        monitor.wait('ErrorReported', count=2, seconds=20)
        assert sequences(monitor) == [1, 2]
    finally:
        monitor.close()

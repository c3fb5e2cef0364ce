# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records: what they say, on the bus and in the journal, and that none is missing."""
import sys

import pytest

from monitor import MANAGER
from published import MANAGER_INTERFACE, MESSAGE_IDS

one_bus = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'

FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

# What reaches VFIO, with the beginning of what is publicly said of it.
CODES = {
    0x0001: ('INVALAS', 'DMA to an address space with no translation registered'),
    0x0002: ('OORANGE', 'DMA address outside the registered range'),
    0x0003: ('INVALTF', 'invalid I/O translation anchor format'),
    0x0004: ('TPROTE', 'write denied by the protection bit of the translation anchor'),
    0x0005: ('APROTE', 'write denied by the protection bit of a translation table entry'),
    0x0006: ('KEYE', None),
    0x0007: ('INVALTE', 'invalid translation table entry'),
    0x0008: ('INVALTL', 'invalid translation table length'),
    0x0009: ('TT', 'translation table type mismatch'),
    0x000a: ('INVALMS', None),
    0x000b: ('SERR', None),
    0x0010: ('NOMSI', None),
    0x0011: ('INVALBV', None),
    0x0012: ('AIBV', None),
    0x0013: ('AIRERR', 'adapter interruption indicator address cannot be mapped'),
    0x0030: ('CCONF', None),
    0x003a: ('SERVAC', 'service action'),
    # Nobody has told what these are.
    0x0014: ('UNKNOWN', None),
    0x00ff: ('UNKNOWN', None),
    0xffff: ('UNKNOWN', None),
}
PERMANENT = {
    0x003b: ('PERMERR', 'permanent error'),
    0x0040: ('UNKNOWN', 'service action or error recovery failed'),
}


def recovered_error(sim, address, **fields):
    """An error, and its recovery: before that a function reports no other."""
    resets = sim.state(address)['resets']
    assert sim.error(address, **fields)['result'] == 'queued'
    sim.wait(address, f'pending=0,frozen=0,resets>={resets + 1}')


def check_message(entry, code, name, meaning):
    assert f': {name} (PEC 0x{code:04x})' in entry['MESSAGE']
    if meaning:
        assert f'(PEC 0x{code:04x}): {meaning}' in entry['MESSAGE']


@one_bus
def test_codes(sim, daemon, published):
    sim.add(A, fid=0x10, pchid=0x104, **FAST)
    for code in PERMANENT:
        sim.add(f'00{code:02x}:00:00.0', fid=code, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    for code in CODES:
        recovered_error(sim, A, pec=code)
    for code in PERMANENT:
        sim.wait(f'00{code:02x}:00:00.0', 'err_armed=1')
        sim.error(f'00{code:02x}:00:00.0', pec=code)

    # The comparison of the channels includes the names of the fields, PRIORITY and severity.
    errors = published.errors(len(CODES), 0x10)
    entries = published.journald.entries('ZPCI_FID=0x00000010', 'MESSAGE_ID=' + MESSAGE_IDS['ERROR'])
    for (code, (name, meaning)), error, entry in zip(CODES.items(), errors, entries):
        assert (error.pec, error.name, error.severity) == (code, name, 'recoverable')
        check_message(entry, code, name, meaning)
    for code, (name, meaning) in PERMANENT.items():
        error, = published.errors(1, code)
        assert (error.pec, error.severity) == (code, 'permanent')
        entry, = published.journald.entries(f'ZPCI_PEC=0x{code:04x}')
        check_message(entry, code, error.name, meaning)
        assert name == error.name or name == 'UNKNOWN'

    assert entries[1]['MESSAGE'] == (
        f'{A} (FID 0x00000010, PCHID 0x0104): OORANGE (PEC 0x0002): DMA address outside the '
        'registered range, at 0x12346002')
    assert published.get(0x10, 'Records') == len(CODES)
    assert published.get(0x10, 'LastPec') == 0xffff
    assert published.get(0x10, 'LastErrorUSec') == errors[-1].realtime_usec


@one_bus
def test_fields(sim, daemon, published):
    """Every field of the record; what has no public meaning is there raw."""
    sim.add(A, fid=0xdeadbeef, pchid=0x104, uid=0xabc, fh=0x80020005, errlen=48, **FAST)
    sim.add(B, fid=0x10, path='cdev', **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.wait(B, 'err_armed=1')

    recovered_error(sim, A, pec=5, ett=9, mvn=0xabc, dmaas=0x5a, q=1, rw=0, faddr=0xfedcba9876543210)
    recovered_error(sim, A, pec=5, ett=15, mvn=0, dmaas=0xff, q=0, rw=1, faddr=0)
    # All reserved bits, and a function handle that is not what it was at the opening.
    record = 'ffffffff' '80020001' 'deadbeef' 'a123' '45fe' '0123456789abcdef' 'eeeeeeee' 'dddd' '0013'
    recovered_error(sim, A, raw=record)
    # The measured one.
    measured = '00000000' '80020000' '00000010' '00000000' '0000000012346002' '00000000' '0000' '0002'
    recovered_error(sim, B, raw=measured)

    def of(error):
        return [error.details[name] for name in (
            'ExpectedTableType', 'MsiVector', 'DmaAddressSpace', 'Qualifier', 'ReadWrite',
            'FailingAddress', 'FunctionHandle')]
    first, second, third = published.errors(3, 0xdeadbeef)
    assert of(first) == [9, 0xabc, 0x5a, True, False, 0xfedcba9876543210, 0x80020005]
    assert of(second) == [15, 0, 0xff, False, True, 0, 0x80020005]
    assert of(third) == [0xa, 0x123, 0x45, True, False, 0x0123456789abcdef, 0x80020001]
    assert third.details['Raw'] == bytes.fromhex(record) + bytes(range(0x20, 0x30))
    assert 'Pending' not in third.details and 'Dropped' not in third.details
    assert third.name == 'AIRERR'

    last, = published.errors(1, 0x10)
    assert last.details['Raw'] == bytes.fromhex(measured)
    assert of(last) == [0, 0, 0, False, False, 0x12346002, 0x80020000]

    # What users type.
    for match, count in ((f'ZPCI_ADDRESS={A}', 3), ('ZPCI_FID=0x00000010', 1), ('ZPCI_FID=0xdeadbeef', 3),
                         ('ZPCI_PEC=0x0005', 2), ('ZPCI_PEC_NAME=OORANGE', 1), ('ZPCI_UID=0xabc', 3),
                         ('ZPCI_PCHID=0x0104', 3), ('ZPCI_SOURCE=vfio', 4), ('ZPCI_PEC=5', 0),
                         (f'ZPCI_RECORD={measured}', 1), (f'DEVICE=+pci:{A}', 3)):
        assert len(published.journald.entries(match, 'MESSAGE_ID=' + MESSAGE_IDS['ERROR'])) == count, match


@one_bus
def test_packed(sim, daemon, published):
    """The packed interface: how many are still to come."""
    sim.add(A, fid=0x10, uapi='v13', **FAST)
    sim.add(B, fid=0x20, uapi='v13-rev2', fh=0x80020007, **FAST)
    daemon.start('--policy=claim')
    for address in A, B:
        sim.wait(address, 'err_armed=1')
    daemon.freeze()
    for address in A, B:
        for pec in 1, 2, 3:
            sim.error(address, pec=pec, force=1)
    daemon.thaw()

    errors = published.errors(3, 0x10)
    assert [(error.pec, error.details['Pending']) for error in errors] == [(1, 2), (2, 1), (3, 0)]
    for error in errors:
        assert error.details['Raw'] == \
            bytes([1, error.details['Pending']]) + error.pec.to_bytes(2, sys.byteorder)
    errors = published.errors(3, 0x20)
    assert [(error.pec, error.details['Pending']) for error in errors] == [(1, 2), (2, 1), (3, 0)]
    for error in errors:
        assert error.details['Raw'][4:] == bytes.fromhex('80020007' '00000020' 'a5a5a5a5')
    assert daemon.stderr.count('unknown revision') == 1
    assert published.all_lost() == []


def test_sequence(sim, daemon, published):
    """Many functions at once: one sequence without holes, the same on the bus, in the journal and in the
    ring."""
    addresses = [f'{n:04x}:00:00.0' for n in range(1, 25)]
    for n, address in enumerate(addresses):
        sim.add(address, fid=0x100 + n, uapi=['ccdf', 'v13'][n % 2], **FAST)
    daemon.start('--policy=claim')
    for address in addresses:
        sim.wait(address, 'err_armed=1')

    daemon.freeze()
    for address in addresses:
        for pec in range(1, 5):
            sim.error(address, pec=pec, force=1)
    daemon.thaw()
    for address in addresses:
        sim.wait(address, 'pending=0,frozen=0,resets>=1')
        sim.error(address, pec=5)

    errors = published.errors(5 * len(addresses))
    assert [error.sequence for error in errors] == list(range(1, 5 * len(addresses) + 1))
    for n in range(len(addresses)):
        assert [error.pec for error in errors if error.fid == 0x100 + n] == [1, 2, 3, 4, 5]
    assert published.all_lost() == []
    assert published.monitor.get(MANAGER, MANAGER_INTERFACE, 'LastSequence') == len(errors)

    # The ring has them for those who were away, in parts if they like.
    stream = published.monitor.get(MANAGER, MANAGER_INTERFACE, 'StreamId')
    assert {error.details['StreamId'] for error in errors} == {stream}
    assert published.records() == (stream, 1, len(errors), errors)
    assert published.records(after=7, most=10, stream=stream)[3] == errors[7:17]
    assert published.records(after=len(errors))[3] == []


@one_bus
@pytest.mark.parametrize('uapi', ['ccdf', 'v13'])
def test_overflow(sim, daemon, published, uapi):
    """Seven errors that nobody drains: the kernel keeps four, and the others are known to be lost."""
    sim.add(A, fid=0x10, uapi=uapi, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.wait(B, 'err_armed=1')

    daemon.freeze()
    results = [sim.error(A, pec=pec, force=1)['result'] for pec in range(1, 8)]
    assert results == ['queued'] * 4 + ['dropped'] * 3
    assert sim.state(A)['signals'] == 7
    daemon.thaw()

    assert published.lost(0x10) == [3]
    # The kernel log still tells the code of each.
    errors = published.errors(7, 0x10)
    assert [(error.pec, error.details['Source']) for error in errors] == \
        [(pec, 'vfio') for pec in range(1, 5)] + [(pec, 'kmsg') for pec in range(5, 8)]
    assert [error.sequence for error in errors] == list(range(1, 8))
    entry, = published.journald.entries('MESSAGE_ID=' + MESSAGE_IDS['LOST'])
    assert (entry['PRIORITY'], entry['ZPCI_ADDRESS']) == ('4', A)
    assert '3 errors were lost' in entry['MESSAGE']

    # It goes on, and counts.
    sim.wait(A, 'frozen=0')
    daemon.freeze()
    for pec in range(1, 6):
        sim.error(A, pec=pec, force=1)
    daemon.thaw()
    assert published.lost(0x10, 2) == [3, 1]
    assert published.get(0x10, 'Lost') == 4
    assert published.get(0x20, 'Lost') == 0
    assert published.monitor.get(MANAGER, MANAGER_INTERFACE, 'Lost') == 4


@one_bus
def test_empty_wakeups(sim, daemon, published):
    """Signals without a record behind them are no losses."""
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    sim.signal(A, count=1000)
    recovered_error(sim, A, pec=2)
    for _ in range(20):
        sim.signal(A)
    recovered_error(sim, A, pec=3)
    daemon.freeze()
    sim.signal(A, count=3)
    sim.error(A, pec=4)
    sim.signal(A, count=3)
    daemon.thaw()
    errors = published.errors(3)
    assert [error.pec for error in errors] == [2, 3, 4]
    recovered = published.recoveries(0x10, 6)
    assert recovered == ['in-progress', 'recovered'] * 3
    assert published.all_lost() == []
    assert published.get(0x10, 'Lost') == 0

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the daemon stand on: the guest, its functions, and errors that are real."""

import re

import pytest

import guest as vm
from daemon import OBSERVED

# A DMA below the aperture, and one inside it that is not mapped: where the fault helper has them fail.
FAULTS = {2: 0x12346002, 4: 0x100401002}


def record(number, handle, pec, address):
    """The CCDF error record of a fault, field by field."""
    return b''.join([bytes(4), handle.to_bytes(4, 'big'), vm.fid(number).to_bytes(4, 'big'), bytes(4),
                     address.to_bytes(8, 'big'), bytes(6), pec.to_bytes(2, 'big')])


def test_kernel_hands_out_records(guest):
    """The uAPI is in Linux from 7.3 on."""
    version = re.match(r'(\d+)\.(\d+)', guest.run('uname -r').stdout)
    assert tuple(map(int, version.groups())) >= (7, 3)


def test_functions_are_there(guest):
    for number in range(1, vm.FUNCTIONS + 1):
        fid = guest.run(f'cat /sys/bus/pci/devices/{vm.address(number)}/function_id').stdout
        assert int(fid, 16) == vm.fid(number)


@pytest.mark.parametrize('pec', FAULTS)
def test_fault_makes_a_record(functions, fault, handle, pec):
    """One real record, read by the holder of the function."""
    before = handle(OBSERVED)
    printed = fault('hold', OBSERVED, f'--inject={pec}', '--drain')
    assert printed['signalled'] == ['1']
    assert printed['record'] == [record(OBSERVED, before, pec, FAULTS[pec]).hex()]


def test_queue_is_four_deep(functions, fault):
    """What the daemon's account of lost records rests on: the eventfd counts what the queue drops."""
    printed = fault('hold', OBSERVED, '--inject=2', '--count=7', '--drain')
    assert printed['signalled'] == ['7']
    assert len(printed['record']) == 4
    assert fault('read-config', OBSERVED) == {'vendor': ['1af4 device 1044 queues 1']}

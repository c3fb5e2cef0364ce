# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errord on a real kernel: errors, their loss, recovery, and letting go."""

import json
import re

import pytest

import guest as vm
from books import ERROR_ID, LOST_ID, kernel_records
from daemon import ALSO_CLAIMED, CLAIMED, OBSERVED, PLUGGED
from walk import SECOND


def inject(fault, daemon, number, pec, *options):
    """Makes errors on a function that the daemon holds. Returns the addresses at which the DMA failed."""
    made = fault('inject', number, f'--pid={daemon.pid}', f'--pec={pec}', *options)['error']
    return [int(line.split()[-1], 16) for line in made]


@pytest.mark.parametrize('pec, name', [(2, 'OORANGE'), (4, 'TPROTE')])
def test_record_reaches_bus_and_journal(guest, daemon, fault, handle, pec, name):
    """Signal and journal entry carry the 32 bytes that the kernel saw, and say what is in them."""
    before = handle(CLAIMED)
    failing, = inject(fault, daemon, CLAIMED, pec)
    (address, fid, code, code_name, severity, sequence, _, details), = daemon.wait_signals(CLAIMED, 'ErrorReported')
    raw = kernel_records(guest, CLAIMED)[-1]

    assert (address, fid, code, code_name, severity) == (vm.address(CLAIMED), vm.fid(CLAIMED), pec, name, 'recoverable')
    assert details['Raw'] == raw and len(raw) == 32
    assert details['Source'] == 'vfio'
    assert details['FunctionHandle'] == before
    assert details['FailingAddress'] == failing

    entry = daemon.wait_entry(CLAIMED, ZPCI_SEQUENCE=str(sequence))
    found = guest.run(f'journalctl --no-pager -o json ZPCI_ADDRESS={address} ZPCI_SEQUENCE={sequence}').stdout
    assert json.loads(found)['__CURSOR'] == entry['__CURSOR']
    assert entry['MESSAGE_ID'] == ERROR_ID
    assert entry['MESSAGE'].startswith(f'{address} (FID {fid:#010x}')
    assert bytes.fromhex(entry['ZPCI_RECORD']) == raw
    assert int(entry['ZPCI_FID'], 16) == fid
    assert entry['ZPCI_PEC'] == f'{pec:#06x}'
    assert int(entry['ZPCI_FAILING_ADDRESS'], 16) == failing
    daemon.wait_recovered(CLAIMED)


def test_seven_faults_give_seven_records(daemon, fault):
    """The daemon drains and resets in time for the next one, again and again."""
    sequences = []
    for _ in range(7):
        daemon.signals.forget()
        inject(fault, daemon, CLAIMED, 2)
        sequences.append(daemon.wait_signals(CLAIMED, 'ErrorReported')[0][5])
        daemon.wait_recovered(CLAIMED)
    assert len(set(sequences)) == 7
    assert sequences == sorted(sequences)
    assert daemon.get(CLAIMED, 'State') == 'claimed'
    assert daemon.get(CLAIMED, 'Lost') == 0


def overflow(guest, daemon, fault):
    """Seven errors that nobody drains. Returns where they failed, and what the kernel kept of them."""
    guest.run(f'kill -STOP {daemon.pid}')
    try:
        failing = inject(fault, daemon, ALSO_CLAIMED, 2, '--count=7', '--reset-between')
    finally:
        guest.run(f'kill -CONT {daemon.pid}')

    records = daemon.wait_signals(ALSO_CLAIMED, 'ErrorReported', 4, lambda *a: a[7].get('Source') == 'vfio')
    assert [record[7]['FailingAddress'] for record in records] == failing[:4]
    return failing, records


def test_overflow_is_witnessed(guest, daemon, fault):
    """The kernel keeps four of seven; the witness saw the other three, so none is lost."""
    lost_before = daemon.get(ALSO_CLAIMED, 'Lost')
    failing, kept = overflow(guest, daemon, fault)
    rest = daemon.wait_signals(ALSO_CLAIMED, 'ErrorReported', 3, lambda *a: a[7].get('Source') == 'witness')
    assert [record[7]['FailingAddress'] for record in rest] == failing[4:]
    assert [record[7]['Dropped'] for record in rest] == [True] * 3
    assert [record[5] for record in rest] == [kept[-1][5] + n for n in (1, 2, 3)]
    daemon.wait_recovered(ALSO_CLAIMED)
    assert daemon.get(ALSO_CLAIMED, 'Lost') == lost_before
    assert not daemon.signals.all(lambda message: message.get('member') == 'RecordsLost')


def test_overflow_is_announced(guest, daemon, fault, without_witness):
    """Without the witness, that three are missing is said on both channels."""
    assert daemon.witness() == 'off'
    lost_before = daemon.get(ALSO_CLAIMED, 'Lost')
    overflow(guest, daemon, fault)
    (_, _, count), = daemon.wait_signals(ALSO_CLAIMED, 'RecordsLost')
    assert count == 3
    # Of the lost ones the kernel log has the code.
    rest = daemon.wait_signals(ALSO_CLAIMED, 'ErrorReported', 3, lambda *a: a[7].get('Source') == 'kmsg')
    assert [record[2] for record in rest] == [2, 2, 2]
    assert daemon.wait_entry(ALSO_CLAIMED, MESSAGE_ID=LOST_ID)['ZPCI_LOST'] == '3'
    daemon.wait_recovered(ALSO_CLAIMED)
    assert daemon.get(ALSO_CLAIMED, 'Lost') == lost_before + 3


def test_function_is_usable_after_recovery(daemon, fault):
    inject(fault, daemon, CLAIMED, 4)
    daemon.wait_recovered(CLAIMED)
    assert fault('read-config', CLAIMED, f'--pid={daemon.pid}') == {'vendor': ['1af4 device 1044 queues 1']}


@pytest.mark.parametrize('after_error', [False, True])
def test_unbind_is_not_held_up(guest, daemon, hand, fault, after_error):
    """The daemon lets go at once, also of a function that has just failed; the object goes, and comes back."""
    if after_error:
        hand.do('inject', daemon.pid, vm.address(CLAIMED), 2, 1)
    took = hand.unbind(CLAIMED)
    assert took < SECOND
    print(f'unbind: {took / 1000:.0f} ms')
    if after_error:
        daemon.wait_signals(CLAIMED, 'ErrorReported', 1, lambda *a: a[7].get('Source') == 'vfio')
    daemon.wait_gone(CLAIMED)
    daemon.signals.forget()
    guest.bind(CLAIMED)
    daemon.wait_state(CLAIMED, 'claimed')
    assert fault('read-config', CLAIMED, f'--pid={daemon.pid}')['vendor']


def test_hot_unplug_removes_the_object(guest, daemon):
    guest.plug(PLUGGED)
    guest.bind(PLUGGED)
    daemon.wait_state(PLUGGED, 'claimed')
    guest.unplug(PLUGGED)
    daemon.wait_gone(PLUGGED)


def test_function_of_another_process_is_observed(guest, daemon, fault):
    """What another process holds is published in full, and left alone."""
    address = vm.address(OBSERVED)
    holder = guest.start_background(f'exec {vm.FAULT} hold --address={address} --wait --drain')
    holder.wait_line('^holding')
    fault('inject', OBSERVED, f'--pid={holder.pid}', '--pec=2')
    holder.wait_line('^record')

    (_, fid, pec, name, _, sequence, _, details), = daemon.wait_signals(OBSERVED, 'ErrorReported')
    assert (fid, pec, name) == (vm.fid(OBSERVED), 2, 'OORANGE')
    assert details['Source'] == 'witness'
    assert details['Raw'] == kernel_records(guest, OBSERVED)[-1]
    assert daemon.wait_entry(OBSERVED, ZPCI_SEQUENCE=str(sequence))['ZPCI_PEC'] == '0x0002'
    assert daemon.get(OBSERVED, 'State') == 'observed'
    assert holder.stop().returncode == 0


def test_each_error_is_told_once(guest, daemon):
    """After all that went before: as many records of each function as the kernel has logged errors."""
    lines = guest.run('dmesg').stdout
    for number in (CLAIMED, ALSO_CLAIMED, OBSERVED):
        logged = len(re.findall(daemon.kernel_line(number), lines)) - daemon.logged_before[number]
        told = guest.run(f'journalctl --no-pager -o cat MESSAGE_ID={ERROR_ID} ZPCI_ADDRESS={vm.address(number)}').stdout
        assert len(told.splitlines()) == logged > 0

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel saw of the functions that the daemon holds, held against what the bus and the journal have of it."""

import collections
import re

import guest as vm
from daemon import ALSO_CLAIMED, CLAIMED, plain

ERROR_ID = '4518901db7e24c839a23d2f97d6f0741'
LOST_ID = '3f123115aa4a48c79355ba18e274bd80'

QUEUE = 4  # records that the kernel keeps for a function

TRACE = '/sys/kernel/debug/s390dbf/pci_error'
MOUNT = 'mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug\n'


def kernel_records(guest, number):
    """The error records of a function, as the kernel wrote them into its own trace."""
    trace = guest.run(f'{MOUNT}cat {TRACE}/hex_ascii').stdout
    # 16 bytes a line; an error is a line with a title and two with the record.
    lines = [bytes.fromhex(match[1]) for match in re.finditer(r'  ((?:[0-9a-f]{2} ){16})\|', trace)]
    records = [lines[i + 1] + lines[i + 2] for i in range(len(lines) - 2) if lines[i].startswith(b'error CCDF')]
    return [record for record in records if record[8:12] == vm.fid(number).to_bytes(4, 'big')]


def failing(record):
    return int.from_bytes(record[16:24], 'big')


class Books:
    """Opened when all is at rest. From then on the errors of CLAIMED and ALSO_CLAIMED are entered."""

    NUMBERS = (CLAIMED, ALSO_CLAIMED)

    def __init__(self, guest, daemon):
        self.guest, self.daemon = guest, daemon
        guest.run(f'{MOUNT}echo 64 >{TRACE}/pages')
        self.before = {number: len(kernel_records(guest, number)) for number in self.NUMBERS}
        self.kept = {number: [] for number in self.NUMBERS}  # the addresses at which the DMA failed
        self.dropped = {number: [] for number in self.NUMBERS}
        daemon.signals.forget()
        daemon.journal.forget()

    def enter(self, number, addresses):
        """Errors that came while nothing was drained."""
        self.kept[number] += addresses[:QUEUE]
        self.dropped[number] += addresses[QUEUE:]

    def _expected(self):
        return sum(map(len, [*self.kept.values(), *self.dropped.values()]))

    @staticmethod
    def _collect(told):
        """Of each error, by stream and sequence, its function, source and record; who says it twice says the same."""
        errors = {}
        for identity, error in told:
            assert errors.setdefault(identity, error) == error, f'two errors are {identity}'
        return errors

    def on_the_bus(self):
        """By the signals that came so far."""
        def told():
            for message in self.daemon.signals.all(lambda message: message.get('member') == 'ErrorReported'):
                _, fid, _, _, _, sequence, _, details = map(plain, message['payload']['data'])
                yield (details['StreamId'], sequence), (fid, details['Source'], details.get('Raw'))
        return self._collect(told())

    def in_the_journal(self):
        def told():
            for entry in self.daemon.journal.all(lambda entry: entry.get('MESSAGE_ID') == ERROR_ID):
                raw = bytes.fromhex(entry['ZPCI_RECORD']) if 'ZPCI_RECORD' in entry else None
                identity = entry['ZPCI_STREAM_ID'], int(entry['ZPCI_SEQUENCE'])
                yield identity, (int(entry['ZPCI_FID'], 16), entry['ZPCI_SOURCE'], raw)
        return self._collect(told())

    def _losses(self):
        """What the journal announces, by FID; an announcement that is repeated has the same position."""
        entries = self.daemon.journal.all(lambda entry: entry.get('MESSAGE_ID') == LOST_ID)
        found = {entry['ZPCI_POSITION']: (int(entry['ZPCI_FID'], 16), int(entry['ZPCI_LOST'])) for entry in entries}
        losses = collections.Counter()
        for fid, count in found.values():
            losses[fid] += count
        return losses

    def wait(self, more=0):
        """Until the journal and the bus have as many errors as are entered, and `more` of other functions."""
        wanted = self._expected() + more
        for stream, told in (self.daemon.signals, self.on_the_bus), (self.daemon.journal, self.in_the_journal):
            stream.command.wait_until(lambda told=told: len(told()) >= wanted,
                                      lambda told=told: f'{wanted} errors; there are {told()}')

    def check(self):
        """Nothing is lost, nothing told twice, nothing invented; what the kernel dropped is told by the witness."""
        errors = self.in_the_journal()
        bus = self.on_the_bus()
        assert bus == errors, (f'otherwise on the bus: {bus.items() - errors.items()}, '
                               f'in the journal: {errors.items() - bus.items()}')
        stream, = {stream for stream, _ in errors}
        numbers = sorted(sequence for _, sequence in errors)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), 'there are holes'

        losses = self._losses()
        for number in self.NUMBERS:
            seen = kernel_records(self.guest, number)[self.before[number]:]
            assert sorted(map(failing, seen)) == sorted(self.kept[number] + self.dropped[number])
            told = [errors[stream, sequence] for sequence in numbers if errors[stream, sequence][0] == vm.fid(number)]
            kept = [record for record in seen if failing(record) in self.kept[number]]
            assert [raw for _, source, raw in told if source == 'vfio'] == kept
            dropped = [record for record in seen if failing(record) in self.dropped[number]]
            assert [raw for _, source, raw in told if source == 'witness'] == dropped
            assert len(told) == len(seen)
            assert losses[vm.fid(number)] == 0

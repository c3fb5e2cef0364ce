# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two witnesses of what the daemon publishes, who do not know of each other: a subscriber on the bus, and the journal.

Each has `errors`, of (stream, sequence) the key of an error that the books have (see books.py), `told`, all that was
said of it, and its own complaints: holes, repetitions that say something else, losses. All of it grows while they run;
`changed` is notified then."""
import json
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path

from deadline import Deadline

PROGRAM = Path(__file__).with_name('subscriber.py')
ERROR = '4518901db7e24c839a23d2f97d6f0741'
LOST = '3f123115aa4a48c79355ba18e274bd80'
RECOVERY = '9ebe2948bde74ed0a60ab0a677d2866b'


class Witness:
    """Listens to a program that prints JSON objects."""

    def __init__(self, command):
        self.changed = threading.Condition()
        self.errors = {}
        self.told = {}
        self.complaints = []
        self.repeated = 0
        self._closing = False
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self._process.stdout:
            with self.changed:
                try:
                    self.take(json.loads(line))
                except Exception as error:  # pylint: disable=broad-except
                    self.complaints.append(f'{type(self).__name__} cannot use {line!r}: {error!r}')
                self.changed.notify_all()
        with self.changed:
            if not self._closing:
                self.complaints.append(f'{type(self).__name__} ended: {self._process.wait()}')

    def wait(self, condition, what, seconds=30):
        """Waits until condition() is true."""
        deadline = Deadline(seconds, what)
        with self.changed:
            while not condition():
                self.changed.wait(deadline.left())

    def streams(self):
        """In the order of their first record."""
        return list(dict.fromkeys(stream for stream, _ in self.errors))

    def holes(self):
        """Sequence numbers that are missing between 1 and the last of their stream."""
        numbers = defaultdict(set)
        for stream, sequence in self.errors:
            numbers[stream].add(sequence)
        return [(stream, number) for stream, have in numbers.items()
                for number in range(1, max(have)) if number not in have]

    def like(self, accounts):
        """What was said of the last errors that have FID and PEC of one of these accounts."""
        wanted = {(fid, pec) for fid, _, pec, _ in accounts}
        return [(identity, self.told[identity]) for identity, (fid, _, pec, _) in self.errors.items()
                if (fid, pec) in wanted][-20:]

    def close(self):
        self._closing = True
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()


def key(fid, source, pec, address):
    """What tells errors apart: all sources know the code, only the device knows the address."""
    return fid, source, pec, address if source == 'vfio' else None


class Subscriber(Witness):
    """What came over the bus."""

    def __init__(self, address):
        self.losses = Counter()  # of (fid, count): the announcements have no number of their own
        self.fillings = 0
        self.connections = 0
        self._caught_up = False
        self._last = {}
        super().__init__([sys.executable, '-B', str(PROGRAM), address])

    def take(self, told):
        what = told['what']
        if what == 'record':
            self._record(told)
        elif what == 'signal' and told['member'] == 'RecordsLost':
            self.losses[told['args'][1], told['args'][2]] += 1
        elif what in ('connected', 'disconnected'):
            self._caught_up = False
            self.connections += what == 'connected'
        elif what == 'filled':
            self._caught_up = True
            self.fillings += 1
            self._last[told['stream']] = max(self._last.get(told['stream'], 0), told['last'])
        elif what == 'gap':
            self.complaints.append(f'GetRecords() has a gap: {told}')

    def _record(self, told):
        stream, sequence, fields = told['stream'], told['sequence'], told['fields']
        address, fid, pec, *_, details = fields
        identity = stream, sequence
        if identity in self.told:
            self.repeated += told['source'] == 'signal'
            if self.told[identity] != fields:
                self.complaints.append(f'two records are {identity}: {self.told[identity]} and {fields}')
            return
        if told['source'] == 'signal':
            last = self._last.get(stream, 0)
            if self._caught_up and sequence > last + 1:
                self.complaints.append(f'the bus goes from {last} to {sequence} in {stream}')
            self._last[stream] = max(last, sequence)
        self.told[identity] = fields
        self.errors[identity] = key(fid, details['Source'], pec, details.get('FailingAddress'))


class Journal(Witness):
    """What the journal has."""

    def __init__(self, container):
        self.positions = {}       # of (stream, position), all that was written
        self.losses = Counter()   # as those of the bus
        matches = [f'MESSAGE_ID={kind}' for kind in (ERROR, LOST, RECOVERY)]
        super().__init__(container.command(
            'journalctl', '--follow', '--no-tail', '--all', '--output=json', *matches))

    def take(self, entry):
        stream, position = entry['ZPCI_STREAM_ID'], int(entry['ZPCI_POSITION'])
        content = {name: value for name, value in entry.items() if not name.startswith(('_', 'SYSLOG_PID'))}
        identity = stream, position
        if identity in self.positions:
            self.repeated += 1
            if self.positions[identity] != content:
                self.complaints.append(f'two entries are {identity}: {self.positions[identity]} and {content}')
            return
        self.positions[identity] = content
        if entry['MESSAGE_ID'] == ERROR:
            self._error(stream, entry)
        elif entry['MESSAGE_ID'] == LOST and 'ZPCI_ADDRESS' in entry:
            self.losses[int(entry['ZPCI_FID'], 16), int(entry['ZPCI_LOST'])] += 1
        elif entry['MESSAGE_ID'] == LOST:
            self.complaints.append(f'entries are missing in the journal: {entry["MESSAGE"]}')

    def _error(self, stream, entry):
        identity = stream, int(entry['ZPCI_SEQUENCE'])
        if identity in self.errors:
            self.complaints.append(f'two positions have {identity}')
        self.told[identity] = {name: value for name, value in entry.items() if name.startswith(('ZPCI_', '_SOURCE_'))}
        address = entry.get('ZPCI_FAILING_ADDRESS')
        self.errors[identity] = key(
            int(entry['ZPCI_FID'], 16), entry['ZPCI_SOURCE'], int(entry['ZPCI_PEC'], 16),
            None if address is None else int(address, 16))

    def holes(self):
        numbers = defaultdict(set)
        for stream, position in self.positions:
            numbers[stream].add(position)
        return super().holes() + [
            (stream, 'position', number) for stream, have in numbers.items()
            for number in range(1, max(have)) if number not in have]

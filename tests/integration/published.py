# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon publishes of PCI functions, the bus held against the journal."""
import re
from dataclasses import dataclass
from pathlib import Path

from monitor import MANAGER

MANAGER_INTERFACE = 'org.zpci.Errord1.Manager'
FUNCTION = 'org.zpci.Errord1.Function'

NAMES = Path(__file__).parents[2] / 'common' / 'names.h'
MESSAGE_IDS = dict(re.findall(r'ERRORD_MESSAGE_(\w+)_ID +"([0-9a-f]{32})"', NAMES.read_text()))

PRIORITIES = {'permanent': '2', 'recoverable': '3', 'unknown': '3', 'informational': '5'}


def path(fid):
    return f'/org/zpci/Errord1/function/{fid:08x}'


@dataclass
class Error:
    address: str
    fid: int
    pec: int
    name: str
    severity: str
    sequence: int
    realtime_usec: int
    details: dict

    def check_entry(self, entry):
        """The journal says the same."""
        expected = {
            'MESSAGE_ID': MESSAGE_IDS['ERROR'],
            'PRIORITY': PRIORITIES[self.severity],
            'SYSLOG_IDENTIFIER': 'zpci-errord',
            'DEVICE': f'+pci:{self.address}',
            'DOCUMENTATION': 'man:zpci-errord(8)',
            'ZPCI_ADDRESS': self.address,
            'ZPCI_FID': f'0x{self.fid:08x}',
            'ZPCI_PEC': f'0x{self.pec:04x}',
            'ZPCI_PEC_NAME': self.name,
            'ZPCI_SEVERITY': self.severity,
            'ZPCI_SEQUENCE': str(self.sequence),
            'ZPCI_SOURCE': self.details['Source'],
            'ZPCI_STREAM_ID': self.details['StreamId'],
        }
        optional = {
            'ZPCI_FH': ('FunctionHandle', '0x{:08x}'.format),
            'ZPCI_FAILING_ADDRESS': ('FailingAddress', '0x{:x}'.format),
            'ZPCI_DMAAS': ('DmaAddressSpace', '0x{:02x}'.format),
            'ZPCI_MVN': ('MsiVector', str),
            'ZPCI_RECORD': ('Raw', bytes.hex),
        }
        for field, (detail, form) in optional.items():
            expected[field] = form(self.details[detail]) if detail in self.details else None
        assert {field: entry.get(field) for field in expected} == expected
        assert entry['MESSAGE'].startswith(f'{self.address} (FID 0x{self.fid:08x}, PCHID 0x')


class Published:
    def __init__(self, monitor, journald):
        self.monitor = monitor
        self.journald = journald

    def get(self, fid, prop):
        return self.monitor.get(path(fid), FUNCTION, prop)

    def wait_property(self, fid, prop, value, seconds=10):
        self.monitor.wait_property(path(fid), FUNCTION, prop, value, seconds)

    def wait_state(self, fid, state, reason='', seconds=10):
        """Waits until a function has this state; its object may come, go and come again until then."""
        def reached():
            function = self.monitor.objects().get(path(fid), {}).get(FUNCTION, {})
            return (function.get('State'), function.get('StateReason')) == (state, reason)
        self.monitor.wait_until(reached, f'{state}/{reason} of {path(fid)}', seconds)

    def state(self, fid):
        return self.get(fid, 'State'), self.get(fid, 'StateReason')

    def objects(self):
        """The paths of all functions."""
        return [path for path, interfaces in self.monitor.objects().items() if FUNCTION in interfaces]

    def wait_objects(self, *fids):
        self.monitor.wait_until(lambda: sorted(self.objects()) == sorted(map(path, fids)),
                                lambda: f'exactly {fids}, not {self.objects()}')

    def comings_and_goings(self):
        """What objects came and went so far: [('Added', FID), ('Removed', FID), ...]."""
        self.monitor.flush()
        return [(signal.member[len('Interfaces'):], int(signal.args[0][-8:], 16))
                for signal in self.monitor.named('InterfacesAdded', 'InterfacesRemoved')
                if signal.args[0].startswith('/org/zpci/Errord1/function/')]

    def errors(self, count, fid=None, seconds=10):
        """The errors (of one function), once the bus and the journal have `count` each: they say the
        same, and there are no more so far."""
        matches = ['MESSAGE_ID=' + MESSAGE_IDS['ERROR']] + ([] if fid is None else [f'ZPCI_FID=0x{fid:08x}'])

        def of_function(signal):
            return fid is None or signal.args[1] == fid
        self.monitor.wait('ErrorReported', count=count, where=of_function, seconds=seconds)
        self.journald.wait(*matches, count=count, seconds=seconds)
        self.monitor.flush()
        signals = [signal for signal in self.monitor.named('ErrorReported') if of_function(signal)]
        errors = [Error(*signal.args) for signal in signals]
        entries = self.journald.entries(*matches)
        assert (len(errors), len(entries)) == (count, count), errors

        for signal, error, entry in zip(signals, errors, entries):
            assert (signal.path, signal.interface) == (path(error.fid), FUNCTION)
            error.check_entry(entry)
        return errors

    def records(self, after=0, stream='', most=0):
        """What GetRecords says: (stream, oldest, last, errors)."""
        stream, oldest, last, records = self.monitor.call(
            MANAGER, MANAGER_INTERFACE, 'GetRecords', 'stu', stream, after, most)
        return stream, oldest, last, [Error(*record) for record in records]

    def _told(self, member, kind, fid, count, form):
        signals = self.monitor.wait(member, count=count, where=lambda s: s.args[1] == fid)
        entries = self.journald.wait('MESSAGE_ID=' + MESSAGE_IDS[kind], f'ZPCI_FID=0x{fid:08x}', count=count)
        for signal, entry in zip(signals, entries):
            assert signal.path == path(fid)
            assert entry['ZPCI_ADDRESS'] == signal.args[0]
            assert form(entry) == signal.args[2]
        return [signal.args[2] for signal in signals]

    def recoveries(self, fid, count):
        """The first `count` changes of the recovery of a function, from both channels."""
        return self._told('RecoveryChanged', 'RECOVERY', fid, count, lambda entry: entry['ZPCI_RECOVERY'])

    def lost(self, fid, count=1):
        """The numbers of errors that the first `count` announcements of a function say are lost."""
        return self._told('RecordsLost', 'LOST', fid, count, lambda entry: int(entry['ZPCI_LOST']))

    def all_lost(self):
        return [signal.args for signal in self.monitor.named('RecordsLost')]

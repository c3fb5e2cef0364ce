# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errord in the guest: installed as a package would, watched as a user would."""

import json
import re
import time

import guest as vm

# By policy: the first two are the daemon's, the third it may only observe; the fourth is plugged in by a test.
CLAIMED, ALSO_CLAIMED, OBSERVED, PLUGGED = 1, 2, 3, 4

UNIT = 'zpci-errord.service'
NAME = 'org.zpci.Errord1'
FUNCTION = NAME + '.Function'

CONFIGURE = '''
mkdir -p /etc/zpci-errord.conf.d
printf '[Errord]\\nSettleSec=0\\nRecoveryLimit=off\\n' >/etc/zpci-errord.conf.d/vm.conf
cat >/etc/udev/rules.d/60-vm.rules <<END
SUBSYSTEM=="pci", ATTR{{function_id}}!="{observed:#010x}", ENV{{ZPCI_ERRORD_POLICY}}="claim"
END
udevadm control --reload
'''.format(observed=vm.fid(OBSERVED))


def path(number):
    return f'/org/zpci/Errord1/function/{vm.fid(number):08x}'


def plain(value):
    """What busctl's JSON says without its types: a variant is an object of type and data."""
    if isinstance(value, dict):
        if set(value) == {'type', 'data'}:
            return bytes(value['data']) if value['type'] == 'ay' else plain(value['data'])
        return {key: plain(item) for key, item in value.items()}
    return value


class Stream:
    """The JSON objects, one a line, that a command prints as things happen."""

    def __init__(self, guest, text):
        self.command = guest.start_background(text)
        self._parsed = []
        self._from = 0

    def _entries(self):
        self._parsed += [json.loads(line) if line.startswith('{') else {}
                         for line in self.command.lines[len(self._parsed):]]
        return self._parsed[self._from:]

    def forget(self):
        """What has happened so far is of no interest."""
        self.command.take_in()
        self._from = len(self.command.lines)

    def wait(self, wanted, what, count=1, timeout=30):
        """The first `count` entries for which `wanted` holds."""
        def enough():
            found = [entry for entry in self._entries() if entry and wanted(entry)]
            return found[:count] if len(found) >= count else None
        return self.command.wait_until(enough, what, timeout)

    def all(self, wanted):
        """Those that came so far."""
        self.command.take_in()
        return [entry for entry in self._entries() if entry and wanted(entry)]


class Daemon:
    def __init__(self, guest):
        self.guest = guest
        self.signals = self._monitor()
        self.follow_journal()
        lines = guest.run('dmesg').stdout
        self.logged_before = {n: len(re.findall(self.kernel_line(n), lines)) for n in range(1, PLUGGED + 1)}
        guest.run('systemctl start zpci-errord', timeout=60)
        self.find_pid()

    def follow_journal(self):
        addresses = ' '.join(f'ZPCI_ADDRESS={vm.address(n)}' for n in range(1, PLUGGED + 1))
        self.journal = Stream(self.guest, f'journalctl --follow --no-tail -o json {addresses}')

    def find_pid(self):
        """After somebody else was started in its place."""
        self.pid = int(self.guest.run(f'systemctl show -P MainPID {UNIT}').stdout)

    def restart(self):
        """Starts the daemon anew, and waits until it has what it had."""
        states = {n: self.get(n, 'State', check=False) for n in range(1, PLUGGED)}
        self.guest.run('systemctl restart zpci-errord', timeout=60)
        self.find_pid()
        for number, state in states.items():
            if state:
                self.wait_state(number, state)

    def witness(self):
        """What the daemon says of the witness."""
        answer = self.guest.run(f'busctl --json=short get-property {NAME} /org/zpci/Errord1 {NAME}.Manager Witness')
        return json.loads(answer.stdout)['data']

    @staticmethod
    def kernel_line(number):
        """What the kernel logs of each error."""
        return f'zpci: {vm.address(number)}: Event 0x[0-9a-f]+ reports an error'

    def _monitor(self):
        """Starts a monitor of the daemon's signals. It does not say when it listens: a signal of our own shows it."""
        rules = [f"type='signal',sender='{NAME}'", "type='signal',interface='org.zpci.Vm'"]
        stream = Stream(self.guest, 'busctl monitor --json=short ' + ' '.join(f'--match "{rule}"' for rule in rules))
        while not stream.all(lambda message: message['member'] == 'Ready'):
            self.guest.run('busctl emit /org/zpci/Vm org.zpci.Vm Ready')
        return stream

    def get(self, number, name, check=True):
        """A property of a function; without `check` it is None where there is no such object."""
        answer = self.guest.run(f'busctl --json=short get-property {NAME} {path(number)} {FUNCTION} {name}',
                                check=check)
        return plain(json.loads(answer.stdout)['data']) if answer.returncode == 0 else None

    def wait_signals(self, number, member, count=1, where=lambda *arguments: True):
        """The arguments of the next signals of this name for this function."""
        def wanted(message):
            return (message.get('member') == member and message['payload']['data'][0] == vm.address(number)
                    and where(*map(plain, message['payload']['data'])))
        found = self.signals.wait(wanted, f'{count} {member} of {vm.address(number)}', count)
        return [[plain(argument) for argument in message['payload']['data']] for message in found]

    def wait_state(self, number, state):
        """Until the function is there and in this state."""
        def told(message):
            kind, data = message.get('member'), message.get('payload', {}).get('data')
            if kind == 'PropertiesChanged' and message['path'] == path(number):
                return plain(data[1]).get('State') == state
            return (kind == 'InterfacesAdded' and data[0] == path(number)
                    and plain(data[1][FUNCTION]).get('State') == state)
        if self.get(number, 'State', check=False) != state:
            self.signals.wait(told, f'{vm.address(number)} to be {state}')

    def wait_signalled(self, condition, what, timeout=30):
        """Until condition() is true; asked anew after each signal. Returns what it gave."""
        deadline = time.monotonic() + timeout
        while True:
            self.signals.command.take_in()
            seen = len(self.signals.command.lines)
            if result := condition():
                return result
            self.signals.command.wait_until(lambda: len(self.signals.command.lines) > seen, what,
                                            deadline - time.monotonic())

    def wait_seen(self, player, number, wanted, timeout=30):
        """Until a player sees the function in one of these pairs of state and reason; None is no object. Returns all
        that it sees: state, reason, recovery, holder."""
        now = None

        def seen():
            nonlocal now
            answer = player.attempt('state', path(number))
            assert answer.ok or answer.name == 'org.freedesktop.DBus.Error.UnknownObject', answer
            now = tuple(answer.words[:2]) if answer.ok else None
            return (answer.words,) if now in wanted else None
        words, = self.wait_signalled(seen, lambda: f'{vm.address(number)} to be one of {wanted}; it is {now}', timeout)
        return words

    def wait_gone(self, number):
        """Until the function's object is removed."""
        self.signals.wait(lambda message: message.get('member') == 'InterfacesRemoved'
                          and message['payload']['data'][0] == path(number), f'{path(number)} to go')

    def wait_recovered(self, number, count=1):
        self.wait_signals(number, 'RecoveryChanged', count, lambda _address, _fid, recovery: recovery == 'recovered')

    def wait_entry(self, number, **fields):
        """The next journal entry of this function with these fields."""
        def wanted(entry):
            return entry['ZPCI_ADDRESS'] == vm.address(number) and all(entry.get(k) == v for k, v in fields.items())
        return self.journal.wait(wanted, f'a journal entry of {vm.address(number)} with {fields}')[0]

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done to the daemon and to all around it, by chance. Only what the promises cover: errors are made where the
device is known to be open and kept, or is not the daemon's at all."""
import os
import signal
import time
from collections import Counter

from books import FAST, Books, Function
from container import UNIT
from monitor import MANAGER, NAME, Monitor

FUNCTIONS = [
    ('0001:00:00.0', {'path': 'group'}),
    ('0002:00:00.0', {'path': 'cdev'}),
    ('0003:00:00.0', {'path': 'both'}),
    ('0004:00:00.0', {'path': 'group', 'reset_ms': 20, 'eagain_ms': 10}),
    ('0005:00:00.0', {'path': 'cdev', 'uapi': 'v13'}),
    ('0006:00:00.0', {'path': 'group', 'uapi': 'v13-enomsg'}),
]
HELD_WITH_ONE_CODE = ('0007:00:00.0', {'path': 'cdev'})
WATCHED = [('0008:00:00.0', {}), ('0009:00:00.0', {})]  # the second is held by somebody else
WATCHED_WITH_ONE_CODE = ('000a:00:00.0', {})

OBSERVE = '[Function {}]\nPolicy=observe\n'
CONFIG_FILE = 'etc/zpci-errord.conf'
CONFIG = '''[Errord]
Policy=claim
SettleSec=0
RecoveryLimit=off
Records=32768
''' + ''.join(OBSERVE.format(address) for address, _ in [*WATCHED, WATCHED_WITH_ONE_CODE])

# Lifting the limit of starts, and making a thousand of them a matter of minutes.
UNIT_LIMIT = 'StartLimitIntervalSec=0'
SERVICE_PACE = 'RestartSec=10ms'

# What stands still, or ends: the unit and its program.
STANDING = {
    'journald': ('systemd-journald.service', 'systemd-journald'),
    'dbus-daemon': ('dbus.service', 'dbus-daemon'),
    'dbus-broker': ('dbus-broker.service', 'dbus-broker-launch'),
}


class Faults:
    def __init__(self, machine, sim, bus, random, again):
        """again: how to have the same once more."""
        self.machine, self.sim, self.bus, self.random, self.again = machine, sim, bus, random, again
        self.kills = self.early = 0  # of the daemon; of what was to become it
        self.steps = []
        self.done = Counter()  # all other faults
        self.daemon = machine.processes(UNIT, 'zpci-errord')
        self.services = {name: machine.processes(*STANDING[name]) for name in ('journald', bus)}
        self.standing = set()
        self.leaving = {}   # of a function the connection that waits for its end
        self.observed = set()
        self.errors = sim.connect()
        self.books = Books([])
        self.root = f'/proc/{machine.pid}/root'
        self.bus_broken = False   # since it was last looked at
        self.unheard = Counter()  # announcements that it took with it up to then

    # How it begins and ends.

    def set_up(self):
        machine, sim = self.machine, self.sim
        machine.write(f'/{CONFIG_FILE}', CONFIG)
        machine.run('mkdir', '-p', '/run/zpci-errord.conf.d')
        machine.drop_in('limit', UNIT_LIMIT, 'Unit')
        machine.drop_in('pace', SERVICE_PACE)
        one_code, watched = [HELD_WITH_ONE_CODE, WATCHED_WITH_ONE_CODE], [*WATCHED, WATCHED_WITH_ONE_CODE]
        for number, which in enumerate([*FUNCTIONS, HELD_WITH_ONE_CODE, *watched]):
            address, settings = which
            function = Function(address, 0x10 + number, {**FAST, **settings},
                                numbered=which not in one_code, watched=which in watched)
            sim.add(address, fid=function.fid, **function.settings)
            self.books.functions.append(function)
        sim.hold(WATCHED[1][0])
        self.start()

    def start(self):
        self.machine.systemctl('start', UNIT)
        for function in self.books.functions:
            function.present = False
        self.welcome()

    def close(self):
        for processes in (self.daemon, *self.services.values()):
            processes.signal(signal.SIGCONT)
            processes.close()

    def evidence(self):
        """The last steps, and what the daemon had to warn of but for the errors."""
        warnings = self.machine.run(
            'journalctl', '--identifier=zpci-errord', '--priority=warning', '--lines=50', '--output=short-monotonic',
            '--no-pager', '--grep=^(?!.*(PEC 0x|lost:|recover))', check=False).stdout
        return '\n'.join([*self.steps[-400:], warnings, self.again])

    def note(self, text, fault=None):
        """fault: as what it counts."""
        self.steps.append(f'{time.monotonic():.3f} {text}')
        if fault:
            self.done[fault] += 1

    # Errors.

    def targets(self, count=1):
        present = [function for function in self.books.functions if function.present]
        return [self.random.choice(present) for _ in range(count)]

    def begin_errors(self, functions, force=True):
        """Sends them; they are made while this goes on."""
        begun = []
        for function in functions:
            fields = function.next_error()
            self.errors.send('error', function.address, *(f'{name}={value}' for name, value in fields.items()),
                             f'force={int(force)}')
            begun.append((function, fields))
        return begun

    def end_errors(self, begun):
        for function, fields in begun:
            self.books.enter(function, fields, self.errors.receive('error')['result'])
        if begun:
            made = Counter(function.address[:4] for function, _ in begun)
            last = {function.address[:4]: function.count for function, _ in begun}
            self.note('errors: ' + ', '.join(f'{address}#{last[address]} ({times})' for address, times in made.items()))

    def make_errors(self, functions, force=True):
        self.end_errors(self.begin_errors(functions, force))

    def some(self):
        self.make_errors(self.targets(self.random.randint(1, 3)), force=self.random.random() < 0.8)

    def burst(self):
        self.make_errors(self.targets() * self.random.randint(4, 12))

    def storm(self):
        """More than a socket takes whose reader stands still. Of what the daemon does not hold: nothing is dropped."""
        function = self.random.choice([function for function in self.books.functions if function.watched])
        for _ in range(self.random.randint(6, 8)):
            self.make_errors([function] * 50)
        self.done['storms'] += 1

    # The daemon.

    def pause(self, most):
        """Not in order to wait: the instant of a fault is what is left to chance."""
        time.sleep(self.random.uniform(0, most))

    def kill(self):
        if self.random.random() < 0.95:  # otherwise it may not even be the daemon yet
            self.daemon.wait(opens=f'{self.root}/{CONFIG_FILE}', seconds=30)
        begun = self.begin_errors(self.targets(self.random.randint(0, 6)))
        self.pause(0.004)
        pid = self.daemon.main
        early = self.daemon.program(pid) != 'zpci-errord'
        if pid:
            os.kill(pid, signal.SIGKILL)
            self.kills += not early
            self.early += early
            self.note(f'killed {pid}' + (', which was not the daemon yet' if early else ''))
        self.end_errors(begun)
        if self.random.random() < 0.4:
            self.make_errors(self.targets(self.random.randint(1, 3)) if self.random.random() < 0.7
                             else self.targets() * self.random.randint(4, 8))
        self.daemon.wait(pid, seconds=30)
        self.pause(0.15)

    def restart(self):
        pid = self.daemon.main
        begun = self.begin_errors(self.targets(self.random.randint(0, 4)))
        self.machine.systemctl('--no-block', 'restart', UNIT)
        self.note('restart', 'restarts')
        self.end_errors(begun)
        self.make_errors(self.targets(self.random.randint(0, 4)))
        self.daemon.wait(pid, seconds=30)
        self.pause(0.1)

    def reload(self):
        self.machine.systemctl('--no-block', 'reload', UNIT, check=False)
        self.note('reload', 'reloads')

    # What it talks to.

    def stand(self, name):
        """Stops it, or lets it go on."""
        if name in self.standing:
            self.services[name].signal(signal.SIGCONT)
            self.standing.discard(name)
            self.note(f'{name} goes on')
        else:
            self.services[name].signal(signal.SIGSTOP)
            self.standing.add(name)
            self.note(f'{name} stands still', f'stalls of {name}')

    def stand_journald(self):
        self.stand('journald')

    def stand_bus(self):
        self.stand(self.bus)

    def end_service(self, name):
        if name in self.standing:
            return
        if self.random.random() < 0.5:
            self.services[name].signal(signal.SIGKILL)
            self.note(f'killed {name}', f'kills of {name}')
            self.machine.systemctl('--no-block', 'start', STANDING[name][0])
        else:
            self.machine.systemctl('--no-block', 'restart', STANDING[name][0])
            self.note(f'restart of {name}', f'restarts of {name}')
        self.services[name].wait(seconds=30)
        self.some()
        # Until it is ready: the daemon is not started before the bus is, so that must not stand still before.
        self.machine.systemctl('start', STANDING[name][0])

    def end_journald(self):
        self.end_service('journald')

    def end_bus(self):
        if 'journald' in self.standing:  # to which what starts the bus has something to say
            self.stand_journald()
        self.bus_broken = True
        self.end_service(self.bus)

    # The functions.

    def unplug(self):
        candidates = [f for f in self.books.functions if f.present and not f.watched]
        if len(candidates) < 4:
            return
        function = self.random.choice(candidates)
        function.present = False
        how = self.random.choice(['unbind', 'remove'])
        connection = self.sim.connect()
        connection.send(how, function.address)
        self.leaving[function.address] = function, how, connection
        self.note(f'{how} {function.address}', {'unbind': 'unbound', 'remove': 'removed'}[how])

    def plug_all(self):
        for function, how, connection in self.leaving.values():
            connection.receive(f'{how} {function.address}')
            connection.close()
            if how == 'unbind':
                self.sim.bind(function.address)
            else:
                self.sim.add(function.address, fid=function.fid, **function.settings)
            self.note(f'plugged {function.address} again')
        self.leaving = {}

    def observe(self):
        """Has the daemon let one go by configuration."""
        candidates = [f for f in self.books.functions if f.present and not f.watched]
        if len(candidates) < 4:
            return
        function = self.random.choice(candidates)
        function.present = False
        self.observed.add(function.address)
        self.configure()
        self.note(f'{function.address} is let go by configuration', 'let go')
        self.reload()

    def configure(self):
        with open(f'{self.root}/run/zpci-errord.conf.d/torture.conf', 'w', encoding='ascii') as config:
            config.write(''.join(map(OBSERVE.format, sorted(self.observed))))

    def step(self):
        weights = {
            self.kill: 50, self.some: 8, self.burst: 8, self.storm: 1, self.restart: 5, self.reload: 3, self.stand_journald: 8,
            self.stand_bus: 6, self.end_journald: 2, self.end_bus: 2, self.unplug: 3, self.observe: 2}
        self.random.choices(list(weights), list(weights.values()))[0]()

    # Peace.

    def settle(self):
        """Ends all that is out of order, and makes every function present."""
        self.note('peace')
        for name in list(self.standing):
            self.stand(name)
        if self.observed:
            self.observed = set()
            self.configure()
            # A reload of what is just being started is none: it may have read its configuration before. And one that is
            # still queued makes the start its own, and fails if the daemon was killed: so there are two.
            self.machine.systemctl('start', UNIT, check=False)
            self.machine.systemctl('start', UNIT)
            self.machine.systemctl('reload', UNIT)
        self.plug_all()
        self.welcome()
        for function in self.books.functions:
            if not function.watched:
                self.sim.wait(function.address, 'pending=0,frozen=0', 20)

    def welcome(self):
        """Waits until the daemon has what it is to have."""
        monitor = Monitor(self.machine.bus_address)
        try:
            monitor.wait_owner(seconds=20)
            for function in self.books.functions:
                monitor.wait_property(
                    f'{MANAGER}/function/{function.fid:08x}', f'{NAME}.Function', 'State',
                    'observed' if function.watched else 'claimed', 20)
                if not function.present:
                    function.opens = self.sim.state(function.address)['opens']
                function.present = True
        finally:
            monitor.close()

    def reopened(self):
        """What was closed and opened again though nobody asked for it."""
        return {function.address: opens - function.opens for function in self.books.functions
                if (opens := self.sim.state(function.address)['opens']) != function.opens}

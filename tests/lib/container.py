# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed daemon under a real systemd as PID 1, on a copy of this machine in memory."""
import json
import os
import select
import subprocess
import tempfile
from pathlib import Path

from deadline import Deadline, scaled
from processes import Processes
from service import Notify

UNIT = 'zpci-errord.service'
INIT = Path(__file__).with_name('container-init')

# First into the cgroup, then out of sight of all others; gone with whoever started it.
ENTER = '''
echo $$ > "$1/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --uts --ipc \
        --cgroup --net --kill-child=KILL "${@:2}"
'''


def cgroup2():
    """Where the unified hierarchy is, on machines that have only this one and on hybrid ones."""
    for line in Path('/proc/self/mounts').read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == 'cgroup2':
            return Path(where)
    raise RuntimeError('no cgroup2 file system is mounted')


class Container:
    """Has a systemd of its own, with journald and D-Bus; udevd does not run."""

    def __init__(self, build, binds=()):
        """binds: directories of this machine to be there too, under their paths."""
        self._temporary = tempfile.TemporaryDirectory(prefix='zpci-errord-container-')
        self.directory = Path(self._temporary.name)
        for name in ('host', 'layers'):
            (self.directory / name).mkdir()
        self._console = self.directory / 'console'
        self._cgroup = cgroup2() / self.directory.name
        self._arguments = [str(self.directory), str(build), *map(str, binds)]
        self._outer = self._notify = self.pid = None

    @property
    def console(self):
        return self._console.read_text(errors='replace')

    def start(self):
        """Returns when the boot is finished."""
        self._notify = Notify(self.directory / 'host' / 'notify')
        self._cgroup.mkdir()
        with open(self._console, 'ab') as console:
            self._outer = subprocess.Popen(
                ['bash', '-euc', ENTER, 'bash', str(self._cgroup), str(INIT), *self._arguments],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        pidfd = os.pidfd_open(self._outer.pid)
        try:
            booted = self._notify.wait('READY', '1', seconds=60, pidfd=pidfd)
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.console}') from None
        finally:
            os.close(pidfd)
        if booted is None:
            raise AssertionError(f'the container does not start\n{self.console}')
        children = Path(f'/proc/{self._outer.pid}/task/{self._outer.pid}/children')
        self.pid = int(children.read_text())
        return self

    def evidence(self):
        """What to read when a test failed."""
        return self.run('journalctl', '--no-pager', '-n', '100', '-o', 'short-monotonic',
                        check=False).stdout

    def close(self):
        if self._outer:
            self._outer.kill()
            self._outer.wait()
            self._wait_empty()
            for directory, _, _ in os.walk(self._cgroup, topdown=False):
                os.rmdir(directory)
            self._notify.close()
        self._temporary.cleanup()

    def _wait_empty(self):
        """Until the last process is gone: the kernel kills them after their init, on its own."""
        deadline = Deadline(10, lambda: f'the end of all processes in {self._cgroup}')
        with open(self._cgroup / 'cgroup.events') as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while 'populated 0' not in events.read():
                poll.poll(deadline.left() * 1000)
                events.seek(0)

    @property
    def bus_address(self):
        """The container's system bus, for clients outside."""
        return f'unix:path=/proc/{self.pid}/root/run/dbus/system_bus_socket'

    def command(self, *argv):
        """The command line that runs argv inside, as root, outside of every unit."""
        # nsenter waits for a child of its own, which has to go when it is killed.
        return ['nsenter', f'--target={self.pid}', '--all', '--root', '--wdns=/',
                'setpriv', '--pdeathsig', 'KILL', *argv]

    def run(self, *argv, check=True, seconds=30, **options):
        """Runs a command to its end; returns a CompletedProcess with text in stdout and stderr."""
        done = subprocess.run(
            self.command(*argv), text=True, timeout=scaled(seconds),
            **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE,
               **options})
        assert not check or done.returncode == 0, \
            f'{" ".join(argv)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}'
        return done

    def systemctl(self, *arguments, check=True):
        return self.run('systemctl', '--no-pager', *arguments, check=check).stdout.rstrip('\n')

    def show(self, unit, *properties):
        """Properties of a unit; one value, or a list of several."""
        lines = self.systemctl('show', unit, *(f'--property={name}' for name in properties))
        values = dict(line.split('=', 1) for line in lines.splitlines())
        return values[properties[0]] if len(properties) == 1 else [values[p] for p in properties]

    def journal(self, *matches):
        """The entries, each a dict of fields, that match and were sent before this call."""
        self.run('journalctl', '--sync')
        lines = self.run('journalctl', '--all', '--output=json', *matches).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith('{')]

    def wait_journal(self, *matches, count=1, seconds=10):
        """The first `count` matching entries; waits for them."""
        found = []
        deadline = Deadline(seconds, lambda: f'{count} entries {" ".join(matches)}; have {found}')
        follow = subprocess.Popen(
            self.command('journalctl', '--follow', '--no-tail', '--all', '--output=json', *matches),
            stdout=subprocess.PIPE)
        try:
            while len(found) < count:
                deadline.readable(follow.stdout)
                found.append(json.loads(follow.stdout.readline()))
        finally:
            follow.kill()
            follow.communicate()
        return found

    def processes(self, unit, program):
        """What runs in a system service."""
        return Processes(self._cgroup / 'system.slice' / unit, program)

    def busctl(self, *arguments, check=True):
        """The `data` of busctl's JSON answer; None for an empty one."""
        answer = self.run('busctl', '--json=short', *arguments, check=check).stdout
        return json.loads(answer)['data'] if answer.strip() else None

    def choose_bus(self, kind):
        """Which implementation the system bus is; before anybody has used it."""
        self.run('rm', '-f', '/etc/systemd/system/dbus.service')
        if kind == 'dbus-broker':
            self.systemctl('enable', kind)
        self.systemctl('daemon-reload')

    def write(self, path, text):
        """Makes a file inside."""
        self.run('install', '-D', '-m', '644', '/dev/stdin', path, stdin=None, input=text)

    def drop_in(self, name, settings, section='Service'):
        """Adds to a section of the daemon's unit."""
        self.write(f'/etc/systemd/system/{UNIT}.d/{name}.conf', f'[{section}]\n{settings}\n')
        self.systemctl('daemon-reload')

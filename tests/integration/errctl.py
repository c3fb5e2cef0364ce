# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line tool as people and scripts run it."""
import json
import os
import pty
import select
import signal
import subprocess
import termios
from datetime import datetime, timezone

from deadline import Deadline, scaled

PROGRAM = 'zpci-errctl'


def when(usec):
    """How the tool prints a time, in UTC."""
    return datetime.fromtimestamp(usec // 1000000, timezone.utc).strftime('%Y-%m-%d %H:%M:%S')


class Errctl:
    """errctl('list') is what `zpci-errctl list` printed, errctl.json('list') what that says."""

    def __init__(self, program, bus, wrapper=()):
        self._program = [*wrapper, str(program)]
        self._bus = bus
        self.environment = {'LC_ALL': 'C.UTF-8', 'TZ': 'UTC', **bus.environment}
        self._followers = []

    def command(self, *arguments, wrapper=(), **environment):
        # In the namespace after env: the variables are not for nsenter.
        variables = [f'{key}={value}' for key, value in {**self.environment, **environment}.items()]
        return self._bus.namespace.command('env', *variables, *wrapper, *self._program, *arguments)

    def run(self, *arguments, status=0, **environment):
        """(standard output, standard error) of a run that has to end with this status."""
        done = subprocess.run(self.command(*arguments, **environment), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=scaled(30))
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr

    def __call__(self, *arguments, **environment):
        out, err = self.run(*arguments, **environment)
        assert err == ''
        return out

    def json(self, *arguments):
        """What pretty and short JSON say, which is the same."""
        short = json.loads(self(*arguments, '--json=short'))
        assert short == json.loads(self(*arguments, '--json=pretty'))
        return short

    def error(self, *arguments, status=1, **environment):
        """The message of a run that fails and prints nothing."""
        out, err = self.run(*arguments, status=status, **environment)
        assert out == ''
        return err

    def on_terminal(self, *arguments, columns=120, **environment):
        """What a terminal gets to see."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (25, columns))
        with subprocess.Popen(self.command(*arguments, TERM='xterm', **environment),
                              stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as process:
            os.close(theirs)
            deadline = Deadline(30, f'the end of {arguments}')
            text = b''
            while True:
                deadline.readable(ours)
                try:
                    part = os.read(ours, 4096)
                except OSError:  # EIO: nobody has the other end any more
                    part = b''
                if not part:
                    break
                text += part
            assert process.wait() == 0, process.stderr.read()
        os.close(ours)
        return text.decode().replace('\r\n', '\n')

    def spawn(self, *arguments, stdin=subprocess.DEVNULL, wrapper=(), **environment):
        """Runs it while the test goes on."""
        follower = Follower(self.command(*arguments, wrapper=wrapper, **environment), stdin)
        self._followers.append(follower)
        return follower

    def follow(self, *arguments, **environment):
        """Runs `monitor` and waits until it follows: what comes now it has to print."""
        follower = self.spawn(*arguments, **environment)
        follower.wait_notice('Waiting for errors')
        return follower

    def close(self):
        for follower in self._followers:
            follower.close()


class Follower:
    """A command that goes on, like `monitor`: its lines, and what it says on standard error."""

    def __init__(self, command, stdin):
        self.process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        self._read = {self.process.stdout: b'', self.process.stderr: b''}

    def _text(self, stream):
        return self._read[stream].decode()

    @property
    def lines(self):
        return self._text(self.process.stdout).split('\n')[:-1]

    @property
    def notices(self):
        return self._text(self.process.stderr)

    def _wait_until(self, condition, what):
        deadline = Deadline(20, lambda: f'{what}; have {self.lines}, {self.notices}')
        while not condition():
            deadline.readable(*self._read)
            for stream in select.select(list(self._read), [], [], 0)[0]:
                part = os.read(stream.fileno(), 65536)
                assert part, f'it ended with {self.process.wait()}: {self.notices}'
                self._read[stream] += part

    def wait_text(self, text):
        """Waits until it printed this."""
        self._wait_until(lambda: text in self._text(self.process.stdout), f'"{text}" of {PROGRAM}')

    def wait_notice(self, text):
        self._wait_until(lambda: text in self.notices, f'"{text}" of {PROGRAM}')

    def wait(self, count):
        """All lines, as soon as there are that many; there must not be more."""
        self._wait_until(lambda: len(self.lines) >= count, f'{count} lines of {PROGRAM}')
        assert len(self.lines) == count, self.lines
        return self.lines

    def events(self, count):
        """The same of --json=short."""
        return [json.loads(line) for line in self.wait(count)]

    def errors(self, count):
        """The records alone, as soon as there are that many."""
        def found():
            return [event for event in map(json.loads, self.lines) if event['event'] == 'error']
        self._wait_until(lambda: len(found()) >= count, f'{count} records of {PROGRAM}')
        assert len(found()) == count, found()
        return found()

    def tell(self, *lines):
        """Types them on its standard input, a pipe."""
        self.process.stdin.write(''.join(f'{line}\n' for line in lines).encode())

    def wait_exit(self):
        """Its exit status, negative for the signal that ended it, once nobody can print anything for it any more."""
        deadline = Deadline(20, lambda: f'the end of {PROGRAM}; have {self.lines}, {self.notices}')
        streams = list(self._read)
        while streams:
            deadline.readable(*streams)
            for stream in select.select(streams, [], [], 0)[0]:
                part = os.read(stream.fileno(), 65536)
                self._read[stream] += part
                if not part:
                    streams.remove(stream)
        return self.process.wait(scaled(20))

    def freeze(self):
        """Stops it as SIGSTOP does, and returns when it stands."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.process.kill()
        self.process.communicate()

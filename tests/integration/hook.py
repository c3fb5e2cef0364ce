# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's hook, run as libvirt runs it."""
import os
import subprocess
import time
from pathlib import Path

DOMAINS = Path(__file__).parents[1] / 'libvirt'
LIMIT = 2  # seconds; not scaled, because the hook's own time is not


def domain(name):
    """The XML of a domain of tests/libvirt."""
    return (DOMAINS / f'{name}.xml').read_bytes()


class Hook:
    """hook('guest', 'prepare', 'begin', domain('nvme')) returns what it wrote to standard error."""

    def __init__(self, program, bus):
        self._program = str(program)
        self._bus = bus

    def start(self, *arguments, **options):
        variables = [f'{key}={value}' for key, value in self._bus.environment.items()]
        return Running(self._bus.namespace.command(
            'env', 'LC_ALL=C.UTF-8', *variables, self._program, *arguments), **options)

    def __call__(self, guest, operation, suboperation, xml=b'', extra='-'):
        running = self.start(guest, operation, suboperation, extra)
        # libvirt takes no offence either at a hook that does not read.
        running.write(xml)
        return running.end()


class Running:
    """One run, whose standard input is open until end()."""

    def __init__(self, command, **options):
        self._since = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def write(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def worker(self):
        """Its child, once that has read some of standard input."""
        self.write(b' ' * 256 * 1024)  # more than the pipe holds
        pid = self.process.pid
        return int(Path(f'/proc/{pid}/task/{pid}/children').read_text().split()[0])

    def _finish(self, close):
        # Standard output and error end with the last process that has them, as libvirt sees it.
        if close:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        out, err = self.process.stdout.read(), self.process.stderr.read()
        status = self.process.wait()
        took = time.monotonic() - self._since
        if not close:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.process.stdout.close()
        self.process.stderr.close()
        assert (status, out) == (0, b''), err
        assert took < LIMIT, f'it took {took:g} s: {err}'
        return err.decode()

    def end(self):
        """Standard error, after the end of standard input. It has to end well, in time, without any output."""
        return self._finish(True)

    def give_up(self):
        """The same while standard input stays open."""
        return self._finish(False)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a service manager is to a daemon: readiness, status, the file descriptor store, restarts."""
import array
import os
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path

import listen
from deadline import Deadline, scaled

MAX_FDS = 253  # SCM_MAX_FD


def is_readable(fd):
    """select(2) knows only a thousand."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class Notify:
    """The other end of sd_notify(3). Reads in a thread, because senders do not wait for us."""

    def __init__(self, path):
        self.path = str(path)
        self.messages = []  # each a dict, in order
        self.store = []     # (FDNAME, fd, whether FDPOLL= lets us drop it)
        self._changed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        space = socket.CMSG_SPACE(MAX_FDS * array.array('i').itemsize)
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(65536, space, socket.MSG_CMSG_CLOEXEC)
            with self._reading:
                pass
            fds = array.array('i')
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content)
            if data == b'CLOSE=1':
                return
            self._take(dict(line.split('=', 1) for line in data.decode().splitlines()), list(fds))

    def _take(self, message, fds):
        name = message.get('FDNAME', 'stored')
        if message.get('FDSTORE') == '1':
            self.store += [(name, fd, message.get('FDPOLL') != '0') for fd in fds]
            fds = []
        elif message.get('FDSTOREREMOVE') == '1':
            fds += [fd for other, fd, _ in self.store if other == name]
            self.store = [entry for entry in self.store if entry[0] != name]
        for fd in fds:  # of BARRIER=1, too: closing it is the answer
            os.close(fd)
        self.messages.append(message)
        os.eventfd_write(self._changed, 1)

    def wait(self, key, value, since=0, seconds=10, pidfd=None):
        """The number of messages up to and with the first KEY=VALUE after `since` of them; None
        when the process ended before it sent that."""
        deadline = Deadline(seconds, lambda: f'{key}={value}; came so far: {self.messages[since:]}')
        while True:
            ended = pidfd is not None and is_readable(pidfd)
            if ended:
                self._sync()
            for number, message in enumerate(self.messages[since:], since + 1):
                if message.get(key) == value:
                    return number
            if ended:
                return None
            deadline.readable(self._changed, *([] if pidfd is None else [pidfd]))
            self._clear()

    def _clear(self):
        try:
            os.eventfd_read(self._changed)
        except BlockingIOError:
            pass

    def freeze(self):
        """Reads no more, but for one message: as PID 1 does while it reloads."""
        self._reading.acquire()

    def thaw(self):
        self._reading.release()

    def _send(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as poke:
            poke.sendto(data, self.path)

    def _sync(self):
        """Returns when all that was sent before has been taken in."""
        count = len(self.messages)
        self._send(b'X_TEST_SYNC=%d' % count)
        self.wait('X_TEST_SYNC', str(count), count)

    def fds(self):
        """What the store has for the next start: (name, fd). As systemd does, forgets what hung up."""
        self._sync()
        poll = select.poll()
        for _, fd, droppable in self.store:
            if droppable:
                poll.register(fd, 0)
        dead = {fd for fd, _ in poll.poll(0)}
        for fd in dead:
            os.close(fd)
        self.store = [entry for entry in self.store if entry[1] not in dead]
        return [(name, fd) for name, fd, _ in self.store]

    def forget(self):
        """Empties the store, as a stop of the service does."""
        for _, fd, _ in self.store:
            os.close(fd)
        self.store = []

    def close(self):
        self._send(b'CLOSE=1')
        self._thread.join()
        self._socket.close()
        os.close(self._changed)
        self.forget()
        os.unlink(self.path)


class Service:
    """One program that speaks sd_notify(3), from start to start."""

    def __init__(self, command, directory, environment=None):
        """command: the program and what its arguments follow; `environment` is added to ours."""
        directory = Path(directory)
        self.command = list(command)
        self.environment = dict(environment or {})
        self.notify = Notify(directory / f'notify-{self.name}')
        self.process = None
        self._stderr = directory / f'{self.name}.stderr'
        self._seen = 0

    @property
    def name(self):
        return os.path.basename(self.command[-1])

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        """All that the program wrote to standard error in all its runs."""
        return self._stderr.read_text(errors='replace') if self._stderr.exists() else ''

    def evidence(self):
        """What to read when a test failed."""
        return self.stderr

    def start(self, *arguments, ready=True, **environment):
        """Starts it, with what the store has, and waits for READY=1. After kill(): a restart."""
        assert not self.running(), f'{self.name} runs already'
        fds = self.notify.fds()
        command = [*self.command, *arguments]
        if fds:
            command = listen.command(fds, command)
        self._seen = len(self.notify.messages)
        with open(self._stderr, 'ab') as stderr:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                pass_fds=[fd for _, fd in fds],
                env={**os.environ, **self.environment, **environment,
                     'NOTIFY_SOCKET': self.notify.path})
        if ready:
            self.wait_notify('READY', '1')
        return self

    def wait_notify(self, key, value, seconds=10):
        """Waits for KEY=VALUE, sent since the last start or the last call."""
        pidfd = os.pidfd_open(self.pid)
        try:
            seen = self.notify.wait(key, value, self._seen, seconds, pidfd)
        except AssertionError as error:
            raise AssertionError(f'{self.name}: {error}\n{self.stderr}') from None
        finally:
            os.close(pidfd)
        if seen is None:
            raise AssertionError(
                f'{self.name}: exit status {self.wait_exit()}, not {key}={value}\n{self.stderr}')
        self._seen = seen

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, seconds=10):
        """The exit status; negative for the signal that ended it."""
        try:
            return self.process.wait(scaled(seconds))
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGABRT)
            raise AssertionError(
                f'waited {scaled(seconds):g} s for {self.name} to exit\n{self.stderr}') from None

    def stop(self, seconds=10):
        """A clean stop, which empties the store; returns the exit status."""
        self.process.terminate()
        status = self.wait_exit(seconds)
        self.notify.forget()
        return status

    def kill(self, number=signal.SIGKILL):
        """An unclean end: the store stays for the next start()."""
        self.process.send_signal(number)
        self.thaw()  # what is stopped takes SIGKILL only
        self.process.wait()

    def freeze(self):
        """Stops it as SIGSTOP does, and returns when it stands."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.running():
            self.thaw()
            self.kill()
        self.notify.close()

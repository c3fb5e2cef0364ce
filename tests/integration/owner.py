# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owner of a function, a VMM or a user-space driver: a process of its own that has the function's device open, and
on the bus may hand a duplicate of it to the daemon.

`Owner` is the test's end; the rest runs in its process, as with `client`, whose functions it can be told to run too."""
import ctypes
import os

import client
from client import *  # noqa: F403  what the process can be told to do

NAME, MANAGER, INTERFACE = 'org.zpci.Errord1', '/org/zpci/Errord1', 'org.zpci.Errord1.Manager'
ANSWER_SECONDS = 100  # the tests have deadlines of their own


class Refused(Exception):
    """The daemon's answer is an error; `name` without what all names of the daemon begin with."""

    def __init__(self, name, message):
        super().__init__(f'{name}: {message}')
        self.name = name.removeprefix('org.zpci.Errord1.Error.')
        self.message = message


class Owner(client.Client):
    """Owner(sim, bus) is on the bus; take() opens a function."""
    PROGRAM = __file__
    FUNCTIONS = globals()

    def __init__(self, sim, bus, **popen):
        self.device = self.request = self.notify = self.others = None
        super().__init__(sim, {**bus.environment, 'PYTHONPATH': os.path.dirname(client.__file__)}, **popen)
        self.name = self.call('join')

    def take(self, sim, address, way):
        """Opens the function's device, with an eventfd for the kernel's requests, as every owner should."""
        state = sim.state(address)
        self.device, *self.others = (self.call('open_group', address, state['group']) if way == 'group'
                                     else self.call('open_cdev', state['vfio_name']))
        self.request, self.notify = self.call('eventfd'), self.call('eventfd')
        self.call('arm', self.device, client.REQ, self.request)
        return self

    def begin_attach(self, device=None, **options):
        """Without waiting for the answer, which answer() gives. Numbers among the options are file descriptors."""
        self.send('attach', self.device if device is None else device, options)

    def begin_detach(self, path):
        self.send('detach', path)

    def answer(self):
        answer = self.receive()
        if 'error' in answer:
            raise Refused(answer['error'], answer['message'])
        return answer['result']

    def attach(self, **options):
        """What Attach() answers, of the open device with both eventfds unless `options` say otherwise; or Refused."""
        self.begin_attach(**{'Request': self.request, 'Notify': self.notify, **options})
        return self.answer()

    def detach(self, path):
        self.begin_detach(path)
        return self.answer()

    def refusal(self, *args, **options):
        """The name of the error that Attach() answers."""
        try:
            self.begin_attach(*args, **options)
            return f'none, but {self.answer()}'
        except Refused as refused:
            return refused.name

    def begin_to_obey(self):
        """Closes the device when the kernel asks for it; receive() then says so."""
        self.send('close_when_requested', self.request, self.device, *self.others)

    def let_go(self):
        """Closes the device."""
        self.call('close', self.device, *self.others)


# What runs in its process.

connection = None


def join():
    """On the bus; once more for another name there."""
    import dbus.bus
    global connection
    if connection:
        connection.close()
    connection = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])
    connection.set_exit_on_disconnect(False)
    return connection.get_unique_name()


def leave():
    global connection
    connection.close()
    connection = None


def ask(method, signature, *args):
    import dbus
    try:
        return {'result': connection.call_blocking(NAME, MANAGER, INTERFACE, method, signature, args,
                                                   timeout=ANSWER_SECONDS)}
    except dbus.DBusException as error:
        return {'error': error.get_dbus_name(), 'message': error.get_dbus_message()}


def attach(device, options):
    import dbus.types
    values = {key: dbus.types.UnixFd(value) if isinstance(value, int) else value for key, value in options.items()}
    return ask('Attach', 'ha{sv}', dbus.types.UnixFd(device), dbus.Dictionary(values, signature='sv'))


def detach(path):
    return ask('Detach', 'o', path)


def close_when_requested(request, *fds):
    wait_readable(request, ANSWER_SECONDS)  # noqa: F405
    close(*fds)  # noqa: F405


def attach_and_leave(device, request, rounds):
    """Is gone from the bus before there is an answer, each time."""
    import dbus.lowlevel
    for _ in range(rounds):
        call = dbus.lowlevel.MethodCallMessage(NAME, MANAGER, INTERFACE, 'Attach')
        call.append(dbus.types.UnixFd(device), dbus.Dictionary({'Request': dbus.types.UnixFd(request)}, signature='sv'),
                    signature='ha{sv}')
        connection.send_message(call)
        connection.flush()
        join()


def steal(pid, fd):
    """A duplicate of what another process has open."""
    pidfd = os.pidfd_open(pid)
    try:
        stolen = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, fd, 0)  # pidfd_getfd
        if stolen < 0:
            raise OSError(ctypes.get_errno(), 'pidfd_getfd')
        return stolen
    finally:
        os.close(pidfd)


def full_eventfd():
    """One that makes a writer wait."""
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    os.eventfd_write(fd, 2**64 - 2)
    return fd


def open_memfd(name):
    return os.memfd_create(name)


def open_pipe():
    return os.pipe()[0]


def open_socket():
    return socket.socket(socket.AF_UNIX).detach()  # noqa: F405


def open_timer():
    return ctypes.CDLL(None).timerfd_create(1, 0o2000000)  # CLOCK_MONOTONIC, TFD_CLOEXEC


if __name__ == '__main__':
    client.main(globals())

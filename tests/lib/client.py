# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user of VFIO in a process of its own.

`Client` is the test's end; the rest runs in the child, under the preload libraries. A call names a function of the child
and returns what that returns; an OSError there is an OSError here."""
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU, GROUP_GET_STATUS, SET_CONTAINER, UNSET_CONTAINER, GET_DEVICE_FD, \
    GET_INFO, _, GET_IRQ_INFO, SET_IRQS, RESET = range(0x3b64, 0x3b70)
FEATURE, BIND_IOMMUFD = 0x3b75, 0x3b76
TYPE1V2 = 3
ERR, REQ = 3, 4
GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
DATA_NONE, DATA_BOOL, DATA_EVENTFD, TRIGGER = 1, 2, 4, 1 << 5


class Client:
    """client.open_group("0001:00:00.0", 0): runs open_group() in the child."""

    # A client that can do more has a program and functions of its own.
    PROGRAM = __file__
    FUNCTIONS = globals()

    def __init__(self, sim, environment=None, **popen):
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            ['/usr/bin/python3', '-B', self.PROGRAM, str(theirs.fileno())],
            env={**sim.env(), **(environment or {})}, pass_fds=[theirs.fileno()], **popen)
        self.pid = self._process.pid
        theirs.close()
        self._lines = self._socket.makefile('rw')
        self._socket.settimeout(60)
        self.ms = None  # what the last call took

    def __getattr__(self, name):
        if not callable(self.FUNCTIONS.get(name)):
            raise AttributeError(name)
        return lambda *args: self.call(name, *args)

    def call(self, name, *args):
        self.send(name, *args)
        return self.receive()

    def send(self, name, *args):
        self._lines.write(json.dumps([name, args]) + '\n')
        self._lines.flush()

    def receive(self):
        line = self._lines.readline()
        assert line, f'the client is gone: exit status {self._process.wait()}'
        answer = json.loads(line)
        self.ms = answer['ms']
        if 'errno' in answer:
            raise OSError(answer['errno'], os.strerror(answer['errno']))
        return answer['result']

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def freeze(self):
        """Stops it as SIGSTOP does, and returns when it stands. kill() ends it all the same."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._lines.close()
        self._socket.close()


# What runs in the child.

def open_node(path, flags=os.O_RDWR):
    return os.open(path, flags | os.O_CLOEXEC)


def open_container(group_fd):
    container = open_node('/dev/vfio/vfio')
    assert fcntl.ioctl(container, GET_API_VERSION) == 0
    assert fcntl.ioctl(container, CHECK_EXTENSION, TYPE1V2) == 1
    fcntl.ioctl(group_fd, SET_CONTAINER, struct.pack('i', container))
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
    return container


def group_status(fd):
    status = bytearray(struct.pack('II', 8, 0))
    fcntl.ioctl(fd, GROUP_GET_STATUS, status)
    return struct.unpack('II', status)[1]


def device_fd(group_fd, address):
    return fcntl.ioctl(group_fd, GET_DEVICE_FD, bytearray(address.encode() + b'\0'))


def open_group(address, number):
    group = open_node(f'/dev/vfio/{number}')
    assert group_status(group) == 1
    container = open_container(group)
    assert group_status(group) == 3
    return [device_fd(group, address), group, container]


def bind(device, iommu):
    fcntl.ioctl(device, BIND_IOMMUFD, bytearray(struct.pack('IIiI', 16, 0, iommu, 0)))


def open_cdev(name):
    device, iommu = open_node(f'/dev/vfio/devices/{name}'), open_node('/dev/iommu')
    try:
        bind(device, iommu)
    except OSError:
        close(device, iommu)
        raise
    return [device, iommu]


def close(*fds):
    for fd in fds:
        os.close(fd)


def dup(fd, at_least=0):
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, at_least)


def info(fd, size=256):
    data = bytearray(size)
    struct.pack_into('I', data, 0, size)
    fcntl.ioctl(fd, GET_INFO, data)
    return data.hex()


def feature(fd, flags, argsz=16, payload=0, size=32):
    """VFIO_DEVICE_FEATURE with any flags; returns the payload."""
    data = bytearray(struct.pack('IIQ', argsz, flags, payload) + bytes(size))
    fcntl.ioctl(fd, FEATURE, data)
    return data[8:].hex()


def get_record(fd, size=32):
    """One record by the interface of Linux 7.3."""
    record = (ctypes.c_char * size)()
    fcntl.ioctl(fd, FEATURE, bytearray(struct.pack('IIQ', 16, GET | 13, ctypes.addressof(record))))
    return record.raw.hex()


def drain(fd):
    records = []
    while True:
        try:
            records.append(get_record(fd))
        except OSError as error:
            if error.errno != 42:  # ENOMSG
                raise
            return records


def eventfd():
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def set_irqs(fd, flags, index, count, data='', argsz=None, start=0):
    data = bytes.fromhex(data)
    size = 20 + len(data) if argsz is None else argsz
    fcntl.ioctl(fd, SET_IRQS, struct.pack('IIIII', size, flags, index, start, count) + data)


def arm(fd, index, event):
    set_irqs(fd, DATA_EVENTFD | TRIGGER, index, 1, struct.pack('i', event).hex())


def irq_info(fd, index):
    data = bytearray(struct.pack('IIII', 16, 0, index, 0))
    fcntl.ioctl(fd, GET_IRQ_INFO, data)
    return struct.unpack('IIII', data)[3]


def wait_readable(fd, seconds=10):
    return bool(select.select([fd], [], [], seconds)[0])


def read_count(fd):
    """The count of an eventfd, 0 if it was not signalled."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def wait_count(fd, count, seconds=10):
    """Reads an eventfd until `count` of it came altogether; returns how many did in this time."""
    seen, end = 0, time.monotonic() + seconds
    while seen < count and wait_readable(fd, max(0, end - time.monotonic())):
        seen += read_count(fd)
    return seen


def reset(fd):
    fcntl.ioctl(fd, RESET)


def reset_until_done(fd):
    """Returns how often it answered EAGAIN."""
    again = 0
    while True:
        try:
            reset(fd)
            return again
        except BlockingIOError:
            again += 1
            select.select([], [], [], 0.001)


def reset_in_threads(fds):
    """Resets all of them at once; returns the milliseconds from the first to the last."""
    threads = [threading.Thread(target=reset_until_done, args=[fd]) for fd in fds]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - start) * 1000


def time_ioctls(fd, event, n):
    """Microseconds of one PROBE, of one read of an empty eventfd."""
    data = bytearray(struct.pack('IIQ', 16, GET | PROBE | 13, 0))
    start = time.perf_counter()
    for _ in range(n):
        fcntl.ioctl(fd, FEATURE, data)
    between = time.perf_counter()
    for _ in range(n):
        read_count(event)
    return [(between - start) * 1e6 / n, (time.perf_counter() - between) * 1e6 / n]


def send_fd(path, fd):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        socket.send_fds(sock, [b'x'], [fd])


def receive_fd(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        conn, _ = listener.accept()
        with conn:
            return socket.recv_fds(conn, 1, 1)[1][0]


def exec_holder(fd):
    """A program that inherits the fd, and knows nothing of it."""
    return subprocess.Popen(['sleep', '60'], pass_fds=[fd]).pid


def stop(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def stat_mode(path):
    return oct(os.stat(path).st_mode)


def fstat(fd):
    st = os.fstat(fd)
    return [oct(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)]


def statx(fd):
    """As fstat(), by the newer call: mode, major and minor number."""
    st = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statx(fd, b'', 0x1000 | 0x4000, 1, st):  # AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE
        raise OSError(ctypes.get_errno(), 'statx')
    return [oct(struct.unpack_from('H', st, 28)[0]), *struct.unpack_from('II', st, 128)]


def fd_name(fd):
    return os.readlink(f'/proc/self/fd/{fd}')


def fd_names(fd):
    """By all ways to it."""
    folder = os.open('/proc/self/fd', os.O_PATH | os.O_DIRECTORY)
    try:
        return [fd_name(fd), os.readlink(f'/proc/{os.getpid()}/fd/{fd}'), os.readlink(str(fd), dir_fd=folder)]
    finally:
        os.close(folder)


def fd_name_cut(fd, size):
    """What fits into a buffer."""
    name = ctypes.create_string_buffer(b'?' * 64)
    n = ctypes.CDLL(None).readlink(f'/proc/self/fd/{fd}'.encode(), name, size)
    return [n, name.value.decode()]


def link(path):
    return os.readlink(path)


def access(path):
    return [os.access(path, os.R_OK | os.W_OK), os.access(path, os.F_OK, effective_ids=True)]


def kmsg_read(fd):
    return os.read(fd, 8192).decode()


def kmsg_seek(fd, whence):
    return os.lseek(fd, 0, whence)


def watch_nodes(*paths):
    """A watch of opens and closes, as a daemon would set it up."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    for path in paths:
        assert libc.inotify_add_watch(fd, path.encode(), 0x20 | 0x8) > 0  # IN_OPEN, IN_CLOSE_WRITE
    return fd


def watch_read(fd):
    """The masks that came."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    return [struct.unpack_from('iI', data, at)[1] for at in range(0, len(data), 16)]


class Udev:
    """libudev, as the daemon uses it."""

    def __init__(self):
        self.lib = ctypes.CDLL('libudev.so.1', use_errno=True)
        for name in ('new', 'enumerate_new', 'enumerate_get_list_entry', 'list_entry_get_next', 'list_entry_get_name',
                     'device_new_from_syspath', 'device_get_property_value', 'device_get_sysattr_value',
                     'device_get_action', 'device_get_sysname', 'device_get_driver', 'device_get_devnode',
                     'device_get_subsystem', 'monitor_new_from_netlink', 'monitor_receive_device'):
            getattr(self.lib, f'udev_{name}').restype = ctypes.c_void_p
        self.udev = ctypes.c_void_p(self.lib.udev_new())
        self.monitor = None

    def call(self, name, *args):
        args = [arg.encode() if isinstance(arg, str) else ctypes.c_void_p(arg) if arg else None for arg in args]
        return getattr(self.lib, f'udev_{name}')(*args)

    def text(self, name, *args):
        value = self.call(name, *args)
        return ctypes.string_at(value).decode(errors='replace') if value else None

    def describe(self, device):
        return {
            'name': self.text('device_get_sysname', device), 'driver': self.text('device_get_driver', device),
            'subsystem': self.text('device_get_subsystem', device), 'node': self.text('device_get_devnode', device),
            'action': self.text('device_get_action', device),
            'fid': self.text('device_get_sysattr_value', device, 'function_id'),
            **{key: self.text('device_get_property_value', device, key)
               for key in ('ERROR_EVENT', 'DEVICE_ONLINE', 'PCI_SLOT_NAME', 'DRIVER', 'ZPCI_ERRORD_POLICY')}}


udev = None


def udev_enumerate(subsystem='pci'):
    global udev
    udev = udev or Udev()
    scan = udev.call('enumerate_new', udev.udev.value)
    udev.call('enumerate_add_match_subsystem', scan, subsystem)
    udev.call('enumerate_scan_devices', scan)
    entry, found = udev.call('enumerate_get_list_entry', scan), []
    while entry:
        device = udev.call('device_new_from_syspath', udev.udev.value, udev.text('list_entry_get_name', entry))
        found.append(udev.describe(device))
        udev.call('device_unref', device)
        entry = udev.call('list_entry_get_next', entry)
    udev.call('enumerate_unref', scan)
    return found


def udev_monitor():
    """Listens to PCI and vfio-dev; returns the fd."""
    global udev
    udev = udev or Udev()
    udev.monitor = udev.call('monitor_new_from_netlink', udev.udev.value, 'udev')
    for subsystem in ('pci', 'vfio-dev'):
        udev.call('monitor_filter_add_match_subsystem_devtype', udev.monitor, subsystem, None)
    assert udev.call('monitor_enable_receiving', udev.monitor) == 0
    return udev.call('monitor_get_fd', udev.monitor)


def udev_receive(fd, n=1):
    events = []
    while len(events) < n:
        if not wait_readable(fd):
            raise TimeoutError(f'{len(events)} of {n} uevents')
        ctypes.set_errno(0)
        device = udev.call('monitor_receive_device', udev.monitor)
        if device:
            events.append(udev.describe(device))
            udev.call('device_unref', device)
        elif ctypes.get_errno():
            raise OSError(ctypes.get_errno(), 'monitor')
    return events


def obey(lines, functions):
    for line in lines:
        name, args = json.loads(line)
        start = time.monotonic()
        try:
            answer = {'result': functions[name](*args)}
        except OSError as error:
            answer = {'errno': error.errno}
        answer['ms'] = (time.monotonic() - start) * 1000
        lines.write(json.dumps(answer) + '\n')
        lines.flush()


def main(functions):
    """The program: obeys what comes over the socket that it is given."""
    obey(socket.socket(fileno=int(sys.argv[1])).makefile('rw'), functions)


if __name__ == '__main__':
    main(globals())

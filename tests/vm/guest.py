# SPDX-License-Identifier: LGPL-2.1-or-later
"""The s390x guest of the vm suite: QEMU, commands run inside over a virtio port, PCI functions plugged in and out."""

import json
import pathlib
import queue
import re
import socket
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
FUNCTIONS = 3  # present from boot on; address DDDD:00:00.0 and FID 0x10.. follow from the number
FAULT = '/usr/lib/zpci-vm/fault'
VMM = '/usr/lib/zpci-vm/vmm'
# The second half turns off what hardens or watches a kernel, and costs a fifth of the time under emulation. Strict, because
# a flush of the whole DMA aperture, as the lazy mode does it for the drivers of the guest, can stop an emulated CPU for 20 s.
KERNEL_ARGUMENTS = ('console=ttysclp0 rdinit=/init quiet loglevel=4 systemd.show_status=no '
                    'audit=0 damon_stat.enabled=0 hardened_usercopy=off init_on_alloc=0 iommu.strict=1 ipv6.disable=1 lsm=landlock')
BOOT_SECONDS = 120  # on a machine that has other work; alone it takes a fifth of that


BIND = '''
set -e
modprobe -a vfio-pci vfio_iommu_type1
udevadm wait --timeout=20 /sys/bus/pci/devices/{0}
echo vfio-pci >/sys/bus/pci/devices/{0}/driver_override
[[ ! -e /sys/bus/pci/devices/{0}/driver ]] || echo {0} >/sys/bus/pci/devices/{0}/driver/unbind
echo {0} >/sys/bus/pci/drivers_probe
[[ $(readlink /sys/bus/pci/devices/{0}/driver) == */vfio-pci ]]
'''


class GuestError(Exception):
    """Something did not happen in the guest in time, or QEMU is gone. Says what, and what the console said last."""


def build(script, *options):
    """Runs build-image or cross-build; returns the path that it prints, if any."""
    done = subprocess.run([HERE / script, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f'{script} failed:\n{done.stderr[-2000:]}')
    return pathlib.Path(done.stdout.strip())


def address(number):
    """The PCI address of function `number`, counted from 1: the domain is the UID."""
    return f'{number:04x}:00:00.0'


def fid(number):
    return 0x0F + number


def decode(field):
    return '' if field == '-' else bytes.fromhex(field).decode(errors='replace')


class Command:
    """A command in the guest. Its lines and its end arrive as the guest sends them."""

    def __init__(self, guest, ident, text):
        self.guest, self.ident, self.text = guest, ident, text
        self.messages = queue.Queue()
        self.lines = []
        self.pid = None
        self.result = None

    def _next(self, deadline, what):
        try:
            kind, *rest = self.messages.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            what = what() if callable(what) else what
            raise self.guest.error(f'waited for {what} of `{self.text}`; it printed {self.lines[-10:]}') from None
        if kind == 'started':
            self.pid = int(rest[0])
        elif kind == 'line':
            self.lines.append(rest[0])
        elif kind == 'end':
            self.result = subprocess.CompletedProcess(self.text, int(rest[0]), decode(rest[1]), decode(rest[2]))
        elif kind == 'lost':
            raise self.guest.error(f'QEMU ended while `{self.text}` ran')
        return kind

    def wait_started(self, timeout=20):
        deadline = time.monotonic() + timeout
        while self.pid is None:
            self._next(deadline, 'the start')
        return self

    def take_in(self):
        """Takes in what has arrived so far."""
        while not self.messages.empty():
            self._next(time.monotonic(), 'what is there')

    def wait_until(self, condition, what, timeout=20):
        """Takes in what the command prints until condition() is true; returns what it gave. `what` is a text, or gives
        one."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            if self.result:
                raise self.guest.error(f'`{self.text}` ended without {what}: {self.lines} {self.result.stderr}')
            self._next(deadline, what)
        return result

    def wait_line(self, pattern, timeout=20):
        """The match of the first line that the regular expression is found in."""
        return self.wait_until(lambda: next(filter(None, (re.search(pattern, line) for line in self.lines)), None),
                               f'a line like {pattern!r}', timeout)

    def wait(self, timeout=20):
        deadline = time.monotonic() + timeout
        while not self.result:
            self._next(deadline, 'the end')
        return self.result

    def write(self, text):
        """Writes to the standard input of a command that runs in the background."""
        self.guest.send('input', self.ident, text)

    def stop(self, signal='TERM', timeout=20):
        """Ends the command with all its children."""
        if not self.result:
            self.wait_started()
            self.guest.run(f'kill -{signal} -- -{self.pid}', check=False)
            self.wait(timeout)
        return self.result


class Guest:
    """A running guest. Use as a context manager, or call `close`."""

    def __init__(self, image, layer, log, cpus=2, kernel=''):
        """kernel: what to add to the kernel's command line."""
        self.log = pathlib.Path(log)
        self.release = (image / 'kernel-release').read_text().strip()
        self._commands = {}
        self._count = 0
        self._ready = queue.Queue()
        self._agent, agent_end = socket.socketpair()
        self._qmp, qmp_end = socket.socketpair()
        started = time.monotonic()
        self._qemu = subprocess.Popen(self._arguments(image, layer, agent_end.fileno(), qmp_end.fileno(), cpus, kernel),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=self.log.with_suffix('.qemu').open('w'),
                                      pass_fds=[agent_end.fileno(), qmp_end.fileno()])
        agent_end.close()
        qmp_end.close()
        try:
            self._connect_qmp()
            threading.Thread(target=self._read_agent, daemon=True).start()
            try:
                if not self._ready.get(timeout=BOOT_SECONDS):
                    raise self.error('QEMU ended before the guest was up')
            except queue.Empty:
                raise self.error(f'waited {BOOT_SECONDS} s for the agent in the guest') from None
        except BaseException:
            self.close()
            raise
        self.boot_seconds = time.monotonic() - started

    def _arguments(self, image, layer, agent_fd, qmp_fd, cpus, kernel):
        arguments = [
            # Whatever ends this process ends the guest.
            'setpriv', '--pdeathsig', 'KILL', 'qemu-system-s390x',
            '-M', 's390-ccw-virtio', '-cpu', 'max', '-accel', 'tcg,thread=multi,tb-size=512',
            '-smp', str(cpus), '-m', '1G', '-display', 'none', '-nodefaults', '-no-reboot',
            '-kernel', str(image / 'vmlinuz'), '-initrd', str(image / 'initrd.img'),
            '-append', f'{KERNEL_ARGUMENTS} {kernel}',
            '-chardev', f'file,id=console,path={self.log}', '-device', 'sclpconsole,chardev=console',
            '-chardev', f'socket,id=qmp,fd={qmp_fd}', '-mon', 'chardev=qmp,mode=control',
            '-device', 'virtio-serial-ccw,id=serial',
            '-chardev', f'socket,id=agent,fd={agent_fd}',
            '-device', 'virtserialport,bus=serial.0,nr=1,chardev=agent,name=agent']
        for serial, file in (('base', image / 'root.ext4'), ('layer', layer)):
            arguments += ['-drive', f'if=none,id={serial},file={file},format=raw,read-only=on',
                          '-device', f'virtio-blk-ccw,drive={serial},serial={serial}']
        for n in range(1, FUNCTIONS + 1):
            arguments += ['-device', f'zpci,id=zpci{n},uid={n},fid={fid(n)},target=function{n}',
                          '-device', f'virtio-rng-pci,id=function{n},iommu_platform=on,disable-legacy=on']
        return arguments

    # The agent's port. A thread of its own reads it, so that any number of commands run at the same time.

    def _read_agent(self):
        for line in self._agent.makefile('r', encoding='utf-8', errors='replace', newline='\n'):
            kind, _, rest = line[:-1].partition(' ')
            if kind == 'ready':
                self._ready.put(True)
                continue
            ident, _, rest = rest.partition(' ')
            self._commands[ident].messages.put([kind, *([rest] if kind == 'line' else rest.split())])
        self._ready.put(False)
        for command in list(self._commands.values()):
            command.messages.put(['lost'])

    def send(self, verb, ident, text):
        """A message to the agent, about the command of that number."""
        try:
            self._agent.sendall(f'{verb} {ident} {text.encode().hex()}\n'.encode('ascii'))
        except OSError:
            raise self.error(f'QEMU is gone; `{text}` did not get there') from None

    def _send(self, verb, text):
        self._count += 1
        command = Command(self, str(self._count), text)
        self._commands[command.ident] = command
        self.send(verb, command.ident, text)
        return command

    def run(self, text, timeout=30, check=True):
        """Runs bash code in the guest. Returns a CompletedProcess; with `check`, a failure is an error."""
        command = self._send('run', text)
        try:
            result = command.wait(timeout)
        except GuestError:
            if command.pid and self._qemu.poll() is None:
                self._send('run', f'kill -KILL -- -{command.pid}')
            raise
        if check and result.returncode != 0:
            raise self.error(f'`{text}` ended with {result.returncode}: {result.stdout}{result.stderr}')
        return result

    def start_background(self, text):
        """Runs bash code in the guest, and returns the Command at once; its lines can be waited for."""
        return self._send('start', text).wait_started()

    # QMP

    def _connect_qmp(self):
        self._qmp_lines = self._qmp.makefile('r', encoding='utf-8')
        self._events = []
        self._qmp.settimeout(30)
        self._qmp_message()
        self.qmp('qmp_capabilities')

    def _qmp_message(self):
        try:
            line = self._qmp_lines.readline()
        except TimeoutError:
            raise self.error('waited 30 s for a message of QEMU') from None
        if not line:
            raise self.error('QEMU ended')
        return json.loads(line)

    def qmp(self, execute, **arguments):
        self._qmp.sendall(json.dumps({'execute': execute, 'arguments': arguments}).encode())
        while True:
            message = self._qmp_message()
            if 'return' in message:
                return message['return']
            if 'error' in message:
                raise self.error(f"QEMU: {execute}: {message['error']['desc']}")
            self._events.append(message)

    def plug(self, number):
        """Plugs in another virtio function, with the address and FID that follow from `number`."""
        self.qmp('device_add', driver='zpci', id=f'zpci{number}', uid=number, fid=fid(number),
                 target=f'function{number}')
        self.qmp('device_add', driver='virtio-rng-pci', id=f'function{number}', iommu_platform=True,
                 **{'disable-legacy': 'on'})

    def unplug(self, number):
        """Asks the guest to give the function up, and waits until QEMU has it back."""
        gone = f'function{number}'
        self._events.clear()
        self.qmp('device_del', id=gone)
        while True:
            for event in self._events:
                if event['event'] == 'DEVICE_DELETED' and event['data'].get('device') == gone:
                    return
            self._events = [self._qmp_message()]

    def bind(self, number):
        """Binds a function to vfio-pci, as soon as udev knows it."""
        self.run(BIND.format(address(number)))

    def starved(self):
        """For how long, in microseconds since boot, each of QEMU's threads has wanted a CPU that this machine had not. What
        takes long in the guest may be due to that."""
        waited = {}
        for task in pathlib.Path(f'/proc/{self._qemu.pid}/task').iterdir():
            try:
                waited[task.name] = int((task / 'schedstat').read_text().split()[1]) // 1000
            except (FileNotFoundError, ProcessLookupError):  # a thread that ended
                pass
        return waited

    # The end

    def error(self, what):
        return GuestError(f"{what}\nQEMU: {self._tail(self.log.with_suffix('.qemu'))}\n"
                          f'console: {self._tail(self.log)}')

    @staticmethod
    def _tail(path):
        return '\n'.join(path.read_text(errors='replace').splitlines()[-30:]) if path.exists() else ''

    def close(self):
        if self._qemu.poll() is None:
            self._qemu.kill()
        self._qemu.wait()
        self._agent.close()
        self._qmp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file on a file system of its own whose server, once the file is open, answers nothing but its being closed. Who asks
what kind of file it is, or sends it an ioctl, waits for good.

As a program: the server. It mounts the file system where nobody else sees it, speaks FUSE's protocol, and prints each
request that it leaves unanswered: its number, and the process that waits. Its end sets all of them free."""
import ctypes
import os
import stat
import struct
import subprocess
import sys

from deadline import Deadline

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = \
    1, 2, 3, 14, 18, 25, 26, 36, 38, 42
WITHOUT_ANSWER = {FORGET, INTERRUPT, BATCH_FORGET}
ROOT, FILE = 1, 2


class StuckFile:
    """`path` is the file for other processes of root."""

    def __init__(self, directory, name='file'):
        self._server = subprocess.Popen(
            ['/usr/bin/python3', '-B', __file__, str(directory)], stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': os.path.dirname(sys.modules['deadline'].__file__)})
        Deadline(20, 'the file system').readable(self._server.stdout)
        assert self._server.stdout.readline() == b'ready\n'
        os.set_blocking(self._server.stdout.fileno(), False)
        self.path = f'/proc/{self._server.pid}/root{directory}/{name}'

    def unanswered(self):
        """The requests that wait, but for those told before: [(number, process)]."""
        return [tuple(map(int, line.split())) for line in (self._server.stdout.read() or b'').splitlines()]

    def close(self):
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o666
    return struct.pack('=6Q10I', node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node):
    """What becomes of a request before the file is open: (errno, data)."""
    if opcode == INIT:
        return 0, struct.pack('=4I2H2I2H8I', 7, 31, 0, 0, 16, 12, 4096, 1, 1, 0, *[0] * 8)
    if opcode == LOOKUP:
        return 0, struct.pack('=4Q2I', FILE, 0, 0, 0, 0, 0) + attributes(FILE)
    if opcode == GETATTR:  # valid for no time: it is asked for again
        return 0, struct.pack('=QII', 0, 0, 0) + attributes(node)
    if opcode == OPEN:
        return 0, struct.pack('=QIi', 1, 0, 0)
    if opcode in (FLUSH, RELEASE, DESTROY):
        return 0, b''
    return 38, b''  # ENOSYS


def serve(fuse):
    opened = False
    while True:
        try:
            request = os.read(fuse, 1 << 17)
        except OSError:  # of a request that was taken back
            continue
        _, opcode, unique, node, _, _, pid = struct.unpack_from('=IIQQIII', request)
        if opcode in WITHOUT_ANSWER:
            continue
        if opened and opcode not in (FLUSH, RELEASE, DESTROY):
            print(opcode, pid, flush=True)
            continue
        errno, data = answer(opcode, node)
        opened = opened or opcode == OPEN
        os.write(fuse, struct.pack('=IiQ', 16 + len(data), -errno, unique) + data)


def main(directory):
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_private, ms_rec = 0x20000, 1 << 18, 1 << 14
    fuse = os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)
    options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0'.encode()
    if libc.unshare(clone_newns) or libc.mount(None, b'/', None, ms_private | ms_rec, None) or \
            libc.mount(b'stuck', directory.encode(), b'fuse', 0, options):
        raise OSError(ctypes.get_errno(), 'cannot mount a file system of FUSE')
    print('ready', flush=True)
    serve(fuse)


if __name__ == '__main__':
    main(sys.argv[1])

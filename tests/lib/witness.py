# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays the eBPF program that sees every error record: its ring buffer and its counters, for the simulated host."""
import mmap
import os
import struct
import time

RING_SIZE = 262144
BUSY, DISCARDED = 1 << 31, 1 << 30


class Witness:
    """witness.hand_to(daemon) before its start is what the loader does."""

    def __init__(self, sim, first=1000):
        """first: the number of the first account."""
        self._path = os.path.join(sim.directory, 'witness')
        with open(self._path, 'w+b') as file:
            os.chmod(self._path, 0o666)
            file.truncate(2 * mmap.PAGESIZE + RING_SIZE)
            self._ring = mmap.mmap(file.fileno(), 0)
        self.number = first - 1
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._counters = os.memfd_create('counters')
        os.ftruncate(self._counters, mmap.PAGESIZE)
        self._put_counters(0)

    def _put_counters(self, lost):
        os.pwrite(self._counters, struct.pack('=QQ', self.number, lost), 0)

    def hand_to(self, daemon):
        link, _ = self._pipe = os.pipe()
        for name, fd in (('witness-ring', self._wake), ('witness-counters', self._counters), ('witness-link', link)):
            daemon.notify.store.append((name, os.dup(fd), False))

    def _position(self, page):
        return struct.unpack_from('=Q', self._ring, page * mmap.PAGESIZE)[0]

    @property
    def released(self):
        """Whether the daemon needs none of what it was told any more."""
        return self._position(0) == self._position(1)

    def _write(self, position, data):
        for i, byte in enumerate(data):
            self._ring[2 * mmap.PAGESIZE + (position + i) % RING_SIZE] = byte

    def see(self, raw, header=None):
        """An error, with its record of 32 bytes; as an entry with another header, if one is given."""
        self.number += 1
        account = struct.pack('=QQ', self.number, time.clock_gettime_ns(time.CLOCK_MONOTONIC)) + raw
        end = self._position(1)
        assert end - self._position(0) + 8 + len(account) <= RING_SIZE, 'there is no room; say overrun()'
        self._write(end, struct.pack('=II', len(account) if header is None else header, 0) + account)
        struct.pack_into('=Q', self._ring, mmap.PAGESIZE, end + 8 + len(account))
        os.eventfd_write(self._wake, 1)

    def overrun(self, lost):
        """That many errors were seen for which there was no room."""
        self.number += lost
        self._put_counters(lost)

    def close(self):
        self._ring.close()
        for fd in (self._wake, self._counters, *getattr(self, '_pipe', ())):
            os.close(fd)


def refused(daemon, word):
    """What the loader leaves where the program could not be attached."""
    status = os.memfd_create('status')
    os.write(status, word.encode())
    daemon.notify.store.append(('witness-status', status, False))


def record(fh, fid, pec, address=0):
    """The platform's record of an error."""
    return struct.pack('>IIIIQIHH', 0, fh, fid, 0, address, 0, 0, pec)

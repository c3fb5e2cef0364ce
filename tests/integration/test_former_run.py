# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the service manager kept of a former run, right or wrong. Whatever it is: the daemon says so, begins
a new stream, and stores that for the next run."""
import fcntl
import os
import random
import re
import shlex
import stat
import struct
import sys
from pathlib import Path

import pytest

from bystander import ADDRESS, TO_JOURNAL, Bystander, told
from monitor import MANAGER
from published import MANAGER_INTERFACE

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

DAEMON = Path(__file__).parents[2] / 'daemon'
DAMAGED = 'cannot be read (they are damaged); a new stream begins'
NEWER = 'cannot be read (a newer version wrote them); a new stream begins'
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

# Where every version of an image has its version.
VERSION_OFFSET, VERSION_SIZE = 8, 4


def constant(header, name):
    """A number that a header of the daemon defines."""
    return int(re.search(rf'#define {name} +(\d+)', (DAEMON / header).read_text())[1])


@pytest.fixture
def bystander(sim, published):
    return Bystander(sim, published)


def memfd(content, seals=0):
    fd = os.memfd_create('image', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def read_only(content):
    fd = memfd(content)
    try:
        return os.open(f'/proc/self/fd/{fd}', os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def pipe():
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def changed(image, offset, value):
    return image[:offset] + value + image[offset + len(value):]


def version(number):
    return number.to_bytes(VERSION_SIZE, sys.byteorder)


def stored(daemon):
    return [(name, os.fstat(fd).st_ino) for name, fd in daemon.notify.fds()]


def stream(published):
    return published.monitor.get(MANAGER, MANAGER_INTERFACE, 'StreamId')


def restart(daemon):
    """As a service manager does after a crash."""
    if daemon.running():
        daemon.kill()
    daemon.start('--policy=claim', **TO_JOURNAL)


@pytest.fixture
def image(daemon, bystander):
    """What a run with a record in it left; the store is empty."""
    restart(daemon)
    bystander.check()
    daemon.kill()
    fd = dict(daemon.notify.fds())['ring']
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    daemon.notify.forget()
    return content


def test_images_that_cannot_be_used(image, sim, daemon, journald, published):
    generator = random.Random(2)
    here = constant('ring.h', 'RING_VERSION')
    page = constant('ring-image.h', 'RING_HEADER_SIZE')
    unusable = [
        ('nothing', memfd(b''), DAMAGED),
        ('a short text', memfd(b'ring'), DAMAGED),
        ('half an image', memfd(image[:len(image) // 2]), DAMAGED),
        ('an image without its last byte', memfd(image[:-1]), DAMAGED),
        ('the header alone', memfd(image[:page]), DAMAGED),
        ('an image and a byte', memfd(image + b'\0'), DAMAGED),
        ('zeros', memfd(bytes(len(image))), DAMAGED),
        ('noise', memfd(generator.randbytes(len(image))), DAMAGED),
        ('noise behind a good header', memfd(image[:page] + generator.randbytes(len(image) - page)), DAMAGED),
        ('no version', memfd(changed(image, VERSION_OFFSET, version(0))), DAMAGED),
        ('the next version', memfd(changed(image, VERSION_OFFSET, version(here + 1))), NEWER),
        ('the last version', memfd(changed(image, VERSION_OFFSET, b'\xff' * VERSION_SIZE)), NEWER),
        ('an image that nobody may write', read_only(image), DAMAGED),
        ('an image that is sealed', memfd(image, fcntl.F_SEAL_WRITE | SEALS), DAMAGED),
        ('a directory', os.open('/', os.O_RDONLY | os.O_CLOEXEC), DAMAGED),
        ('a device', os.open('/dev/zero', os.O_RDWR | os.O_CLOEXEC), DAMAGED),
        ('a pipe', pipe(), DAMAGED),
        ('an eventfd', os.eventfd(1), DAMAGED),
    ]

    streams = set()
    for number, (name, fd, message) in enumerate(unusable, 1):
        wrong = os.fstat(fd).st_ino
        daemon.notify.forget()
        daemon.notify.store = [('ring', fd, False)]
        restart(daemon)
        assert told(journald, 'the former run left cannot be read', count=number)[-1]['MESSAGE'].find(message) > 0, name
        streams.add(stream(published))
        # Only the new ring is there for the next run.
        assert dict(stored(daemon))['ring'] != wrong, name
    assert len(streams) == len(unusable)
    sim.wait(ADDRESS, 'held=1,err_armed=1,frozen=0,locked=0')

    # Nothing of that spoils the present run, nor the next one.
    before = stream(published)
    sim.error(ADDRESS, pec=7)
    published.monitor.wait('ErrorReported', where=lambda s: (s.args[2], s.args[5]) == (7, 1))
    sim.wait(ADDRESS, 'frozen=0')
    restart(daemon)
    told(journald, 'Going on with the records of the former run')
    assert stream(published) == before
    assert [(error.pec, error.sequence) for error in published.records()[3]] == [(7, 1)]


def test_no_memory_for_the_image(image, request, daemon, journald):
    """That it cannot be read now is no reason to begin a new one in its place: the next run may have memory."""
    large = memfd(image)
    os.ftruncate(large, len(image) + (64 << 20))  # a good beginning; it fails before more of it is looked at
    daemon.notify.store = [('ring', large, False)]
    kept = stored(daemon)

    wrapper = shlex.split(request.config.getoption('--daemon-wrapper'))  # which takes more than the image
    daemon.command = ['prlimit', f'--as={64 << 20}', *(word for word in daemon.command if word not in wrapper)]
    daemon.start('--policy=claim', ready=False, **TO_JOURNAL)
    assert daemon.wait_exit() == 1
    told(journald, 'There is no memory for the records that the former run left')
    assert stored(daemon) == kept


def test_good_image(image, daemon, journald, published, bystander):
    """The same that was damaged above, as it was."""
    daemon.notify.store = [('ring', memfd(image), False)]
    restart(daemon)
    told(journald, 'Going on with the records of the former run')
    bystander.check()
    assert published.records()[2] == 2


def test_other_fds(image, sim, daemon, journald, published, bystander):
    """Of another version, or nonsense: closed and taken out of the store, and the ring stays."""
    good = memfd(image)
    daemon.notify.store = [
        ('mystery', os.eventfd(0), False),
        ('ring', good, False),
        ('mystery', memfd(b'x'), False),
        ('Ring', memfd(image), False),
        ('stored', memfd(image), False),
        ('a b=c', os.eventfd(0), False),
    ] + [(f'device-{number}', os.eventfd(0), False) for number in range(100)]
    inode = os.fstat(good).st_ino
    inodes = {os.fstat(fd).st_ino for name, fd, _ in daemon.notify.store
              if stat.S_ISREG(os.fstat(fd).st_mode)} - {inode}  # all eventfds have the same
    restart(daemon)
    told(journald, 'Going on with the records of the former run')
    sim.wait(ADDRESS, 'held=1,err_armed=1,frozen=0,locked=0')
    assert [entry for entry in stored(daemon) if not entry[0].startswith(('function-', 'handover'))] == \
        [('ring', inode)]
    open_here = [os.stat(f'/proc/{daemon.pid}/fd/{fd}').st_ino for fd in os.listdir(f'/proc/{daemon.pid}/fd')]
    assert not inodes & set(open_here)
    assert len(open_here) < 60
    bystander.check()
    restart(daemon)
    bystander.check()
    assert published.records()[2] == 3


def test_what_was_handed_over(image, sim, daemon, journald, published, bystander):
    """Of a newer version, or damaged: said so, and without what it said all goes on. Records and devices stay."""
    restart(daemon)
    bystander.check()
    daemon.kill()
    fd = dict(daemon.notify.fds())['handover']
    good = os.pread(fd, os.fstat(fd).st_size, 0)
    offset, size = struct.unpack_from('=QQ', good, 8)
    text = good[offset:offset + size]
    number = re.search(rb'[0-9]+', text).span()
    newer = b'9' * (number[1] - number[0])
    unusable = [
        ('nothing', b'', 'it is damaged'),
        ('noise', random.Random(3).randbytes(len(good)), 'it is damaged'),
        ('half of it', good[:offset + size // 2], 'it is damaged'),
        ('elsewhere', changed(good, 8, struct.pack('=QQ', 2 ** 63, size)), 'it is damaged'),
        ('the next version', changed(good, offset + number[0], newer), 'a newer version wrote it'),
    ]
    for count, (name, content, why) in enumerate(unusable, 1):
        wrong = memfd(content)
        inode = os.fstat(wrong).st_ino
        os.close(dict(daemon.notify.fds())['handover'])
        daemon.notify.store = [entry for entry in daemon.notify.store if entry[0] != 'handover']
        daemon.notify.store.append(('handover', wrong, False))
        restart(daemon)
        said = told(journald, 'What the former run handed over cannot be read', count=count)[-1]['MESSAGE']
        assert f'({why}): claims, releases and attachments are forgotten' in said, name
        assert dict(stored(daemon))['handover'] != inode, name
        bystander.check()
        daemon.kill()
    restart(daemon)
    bystander.check()
    assert published.records()[2] == len(unusable) + 2
    assert sim.state(ADDRESS)['opens'] == 2  # by the fixture's run, and by these

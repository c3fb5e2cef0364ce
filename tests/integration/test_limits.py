# SPDX-License-Identifier: LGPL-2.1-or-later
"""Want of file descriptors: said of the functions that it keeps from being held; everything else goes on, and
those are held when it is over."""
import itertools
import os
import re
import resource
import signal

import pytest

from bystander import FAST, TO_JOURNAL, Bystander

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'


def limit(daemon, room):
    """Leaves the daemon room for so many more file descriptors; None for all it wants."""
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    taken = {int(fd) for fd in os.listdir(f'/proc/{daemon.pid}/fd')}
    free = (fd for fd in itertools.count() if fd not in taken)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE,
                     (most if room is None else next(itertools.islice(free, room, None)), most))


@pytest.mark.parametrize('room', range(6))
def test_file_descriptors(sim, daemon, journald, published, room):
    """At every step of taking in a function and opening its device."""
    bystander = Bystander(sim, published)
    daemon.start('--policy=claim', **TO_JOURNAL)
    bystander.check()
    limit(daemon, room)
    sim.add(A, fid=0x10, **FAST)
    message = journald.wait('SYSLOG_IDENTIFIER=zpci-errord', where=lambda entry: re.search(
        'cannot be held: |Cannot take in what udev tells', entry['MESSAGE']))[0]['MESSAGE']
    # (What makes the device fd is the simulator, which has its own word for it.)
    assert 'Too many open files' in message or 'VFIO_GROUP_GET_DEVICE_FD' in message
    assert sim.wait(A, 'held=0,group_open=0')['err_armed'] == 0
    bystander.check()

    limit(daemon, None)
    daemon.process.send_signal(signal.SIGHUP)
    published.wait_state(0x10, 'claimed', seconds=20)
    sim.error(A, pec=5)
    assert published.errors(1, 0x10)[0].details['Source'] == 'vfio'
    bystander.check()

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a process has open, as the (real) kernel tells."""
import os


def links(pid):
    """{file descriptor: name}"""
    found = {}
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            found[int(fd)] = os.readlink(f'/proc/{pid}/fd/{fd}')
        except FileNotFoundError:  # closed since
            pass
    return found


def devices(service, sim):
    """The file descriptors of VFIO devices."""
    places = (f'{sim.directory}/sim/device/', f'{sim.directory}/dev/vfio/devices/')
    return [fd for fd, name in links(service.pid).items() if name.startswith(places)]

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user-space driver that has zpci-errord read and publish the error records of its function.

    ./attach.py 0001:00:00.0

The driver keeps its device, its eventfd for VFIO_PCI_REQ_IRQ_INDEX and the duty to recover the function; the daemon
takes the records and the eventfd for VFIO_PCI_ERR_IRQ_INDEX.

Left out: the attachment may end while the driver goes on (zpci-errctl release and inhibit, systemctl stop, a restart of
the bus; not by a restart of the daemon). A driver that wants to know watches the property State of its function,
"delegated" until then, and the owner of the name org.zpci.Errord1. Then it attaches again, or sets an error eventfd of
its own."""
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import time

import dbus  # python3-dbus

# <linux/vfio.h>
VFIO_SET_IOMMU = 0x3b66
VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD = 0x3b67, 0x3b68, 0x3b6a
VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET = 0x3b6e, 0x3b6f
VFIO_GROUP_FLAGS_VIABLE = 1
VFIO_TYPE1v2_IOMMU = 3
VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 2, 1 << 5
VFIO_PCI_REQ_IRQ_INDEX = 4


def say(text):
    print(text, flush=True)


class Device:
    """What every user-space driver does, here through the function's IOMMU group."""

    def __init__(self, address):
        number = os.path.basename(os.readlink(f'/sys/bus/pci/devices/{address}/iommu_group'))
        self.group = os.open(f'/dev/vfio/{number}', os.O_RDWR)
        self.container = os.open('/dev/vfio/vfio', os.O_RDWR)
        status = fcntl.ioctl(self.group, VFIO_GROUP_GET_STATUS, struct.pack('II', 8, 0))
        if not struct.unpack('II', status)[1] & VFIO_GROUP_FLAGS_VIABLE:
            sys.exit(f'/dev/vfio/{number}: not all functions of the group are bound to vfio-pci')
        fcntl.ioctl(self.group, VFIO_GROUP_SET_CONTAINER, struct.pack('i', self.container))
        fcntl.ioctl(self.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)
        self.fd = fcntl.ioctl(self.group, VFIO_GROUP_GET_DEVICE_FD, bytearray(address.encode() + b'\0'))

    def arm_request(self, request):
        """The kernel adds 1 to the eventfd when it wants the device back: the function is being unbound."""
        flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER
        fcntl.ioctl(self.fd, VFIO_DEVICE_SET_IRQS,
                    struct.pack('IIIIIi', 24, flags, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, request))

    def recover(self):
        """Until then the function does nothing. A reset only tries the lock under which the kernel reports an error,
        so it may have to be repeated for some milliseconds. False after an error that no reset recovers."""
        seconds = 0.001
        while True:
            try:
                fcntl.ioctl(self.fd, VFIO_DEVICE_RESET)
                return True
            except OSError as error:
                if error.errno != errno.EAGAIN or seconds > 4:
                    return False
            time.sleep(seconds)
            seconds *= 2

    def close(self):
        """The device is closed when all three are."""
        for fd in self.fd, self.group, self.container:
            os.close(fd)


def attach(manager, device, request, notify):
    """Returns the object of the function. Whoever leaves the bus detaches: the connection stays open."""
    # An UnixFd is a duplicate, which must not outlive the call: an open one keeps the function from being unbound.
    return manager.Attach(dbus.types.UnixFd(device.fd),
                          dbus.Dictionary({'Request': dbus.types.UnixFd(request), 'Notify': dbus.types.UnixFd(notify)},
                                          signature='sv'))


def serve(device, request, notify, signals):
    """The driver's work, as far as errors are concerned. Returns when it has to give up its device: whether it still
    has to detach."""
    poll = select.poll()
    for fd in request, notify, signals:
        poll.register(fd, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]

        # At once: whoever unbinds the function waits for it. The daemon knows by itself.
        if request in ready:
            say('the kernel wants the device back')
            return False

        # The records are published: this is the moment to recover and to start anew.
        if notify in ready:
            os.eventfd_read(notify)
            say('the function reported an error')
            if not device.recover():
                say('no reset recovers it')
                return True
            say('recovered')

        if signals in ready:
            return True


def open_signals():
    """A file descriptor that becomes readable when the program is told to end."""
    signals, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda *_: None)
    return signals


def main():
    if len(sys.argv) != 2:
        sys.exit('Usage: attach.py ADDRESS')
    signals = open_signals()
    device = Device(sys.argv[1])
    request, notify = os.eventfd(0), os.eventfd(0)
    device.arm_request(request)

    bus = dbus.SystemBus()
    manager = dbus.Interface(bus.get_object('org.zpci.Errord1', '/org/zpci/Errord1', introspect=False),
                             'org.zpci.Errord1.Manager')
    function = attach(manager, device, request, notify)
    say(f'attached {function}')

    if serve(device, request, notify, signals):
        manager.Detach(function)
    device.close()


if __name__ == '__main__':
    main()

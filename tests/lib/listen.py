#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""listen.py FD[=NAME],… COMMAND…: runs COMMAND with these file descriptors the way that
sd_listen_fds(3) expects them."""
import fcntl
import os
import sys

FIRST = 3


def command(fds, argv):
    """The command line that does this; fds: list of (name, fd), which the caller passes on."""
    spec = ','.join(f'{fd}={name}' for name, fd in fds)
    return ['/usr/bin/python3', '-I', '-S', __file__, spec, *argv]


def main():
    pairs = [pair.split('=', 1) for pair in sys.argv[1].split(',')]
    # Out of the way first: an old number may be somebody's new one.
    high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, FIRST + 2 * len(pairs)) for fd, _ in pairs]
    for fd, _ in pairs:
        os.close(int(fd))
    for number, fd in enumerate(high, FIRST):
        os.dup2(fd, number)
    os.environ.update(
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDS=str(len(pairs)),
        LISTEN_FDNAMES=':'.join(name for _, name in pairs))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == '__main__':
    main()

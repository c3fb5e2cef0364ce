# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mount namespace with a /run of its own, so that tests never meet the machine's services."""
import os
import subprocess

# The machine id is what journal files are named by; images without one are common.
SETUP = r'''
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/log /run/systemd
if [ ! -s /etc/machine-id ]; then
        systemd-id128 new > /run/machine-id
        mount --bind /run/machine-id /etc/machine-id
fi
echo done
read -r _ || :
'''


class Namespace:
    """Lives as long as its file descriptor or a process inside does."""

    def __init__(self):
        setup = subprocess.Popen(
            ['unshare', '--mount', '--propagation', 'private', 'bash', '-c', SETUP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if setup.stdout.readline() != 'done\n':
            raise RuntimeError(f'cannot set up a mount namespace: exit status {setup.wait()}')
        self.fd = os.open(f'/proc/{setup.pid}/ns/mnt', os.O_RDONLY | os.O_CLOEXEC)
        setup.communicate()

    def command(self, *argv):
        """The command line that runs argv inside; the process keeps its id."""
        # By the id of this process: a launcher between us and nsenter may close what it inherits.
        return ['nsenter', f'--mount=/proc/{os.getpid()}/fd/{self.fd}', '--wdns=' + os.getcwd(), *argv]

    def close(self):
        os.close(self.fd)

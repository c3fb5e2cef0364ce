# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real systemd-journald of one's own."""
import json
import subprocess

from deadline import Deadline, scaled
from service import Service

CONFIG = '''
[Journal]
Storage=volatile
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToConsole=no
ForwardToWall=no
RateLimitIntervalSec=0
RateLimitBurst=0
RuntimeMaxUse=512M
'''

WRITE_CONFIG = '''
mkdir -p /run/log/journal /run/systemd/journal /run/systemd/journald.conf.d
cat > /run/systemd/journald.conf.d/zz-test.conf
'''


class Journald(Service):
    """What is started with namespace.command() logs here. freeze() and thaw() stall it."""

    def __init__(self, directory, namespace, config=CONFIG):
        self.namespace = namespace
        super().__init__(namespace.command('/lib/systemd/systemd-journald'), directory)
        subprocess.run(
            namespace.command('sh', '-euc', WRITE_CONFIG), input=config, text=True, check=True)

    def _journalctl(self, *arguments, seconds=10):
        return subprocess.run(
            self.namespace.command('journalctl', '--no-pager', *arguments),
            stdout=subprocess.PIPE, text=True, check=True, timeout=scaled(seconds)).stdout

    def entries(self, *matches):
        """The entries, each a dict of fields, that match and were sent before this call."""
        self._journalctl('--sync')
        # No -q: that an entry is not there yet is no error.
        lines = self._journalctl('--all', '--output=json', *matches).splitlines()
        return [json.loads(line) for line in lines if line.startswith('{')]

    def wait(self, *matches, count=1, where=lambda entry: True, seconds=10):
        """The first `count` matching entries for which `where` holds; waits for them."""
        found = []
        deadline = Deadline(
            seconds, lambda: f'{count} entries {" ".join(matches)}; have {len(found)}: {found[-3:]}')
        follow = subprocess.Popen(
            self.namespace.command('journalctl', '--follow', '--no-tail', '--all',
                                   '--output=json', *matches),
            stdout=subprocess.PIPE)
        pending = b''
        try:
            while len(found) < count:
                deadline.readable(follow.stdout)
                data = follow.stdout.read1()
                assert data, 'journalctl --follow ended'
                *lines, pending = (pending + data).split(b'\n')
                found += [entry for entry in map(json.loads, lines) if where(entry)]
        finally:
            follow.kill()
            follow.communicate()
        return found[:count]

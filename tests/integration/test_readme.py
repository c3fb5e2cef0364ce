# SPDX-License-Identifier: LGPL-2.1-or-later
"""What README tells people to copy works."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deadline import Deadline

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

README = Path(__file__).parents[2] / 'README.md'
A = '0001:00:00.0'


def block(begin):
    """The indented lines of README from `begin` on."""
    lines = README.read_text().split('\n')
    found = []
    for line in lines[lines.index('    ' + begin):]:
        if not line.startswith('    '):
            break
        found.append(line[4:])
    return '\n'.join(found) + '\n'


def test_subscriber(bus, sim, daemon, published):
    """The Python example prints the error."""
    example = re.search(r'```python\n(.*?)```', README.read_text(), re.S).group(1)
    # Said once the match rule is in force, which add_signal_receiver() waits for.
    example = example.replace('GLib.MainLoop().run()', 'print("ready", flush=True)\nGLib.MainLoop().run()')
    sim.add(A, fid=0x10)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    # Unbuffered: of two lines that come at once the second would wait where no poll sees it.
    subscriber = subprocess.Popen([sys.executable, '-uc', example], stdout=subprocess.PIPE, bufsize=0,
                                  env={**os.environ, **bus.environment})
    try:
        def line():
            Deadline(10, 'the example to print').readable(subscriber.stdout)
            return subscriber.stdout.readline().decode().rstrip('\n')
        assert line() == 'ready'
        sim.error(A, pec=2, faddr=0x12346002)
        assert line() == f'{A} FID 0x00000010: OORANGE (0x0002), recoverable, record 1'
        assert line() == '  at 0x12346002'
    finally:
        subscriber.kill()
        subscriber.communicate()


def test_configuration(sim, daemon, published, configure):
    """The examples of a configuration are one, and say what the defaults are but for the policy."""
    configure(block('[Errord]').replace('SettleSec=5', 'SettleSec=0')
              + block('# All functions of an adapter, but for one.'))
    sim.add(A, fid=0x10)
    sim.add('0002:00:00.0', fid=0x20, pchid=0x1c4)
    sim.add('0003:00:00.0', fid=0x17, pchid=0x1c4)
    daemon.start()
    published.wait_state(0x10, 'claimed')
    published.wait_state(0x17, 'claimed')
    assert published.state(0x20) == ('observed', 'policy')
    assert '/zpci-errord.conf' not in daemon.stderr  # no complaint
    assert daemon.stop() == 0


def test_queries(sim, daemon, published, journald):
    """Each query of the journal finds the error."""
    sim.add(A, fid=0x10, pchid=0x104)
    daemon.start('--policy=claim')
    published.wait_state(0x10, 'claimed')
    sim.error(A, pec=2)
    sim.error(A, pec=0x3b, force=1)
    published.errors(2, 0x10)
    queries = re.findall(r'^    journalctl ((?:-x )?[A-Z_]+=\S+)', README.read_text(), re.M)
    assert len(queries) >= 6
    for query in queries:
        assert journald.entries(*query.split()), query

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What README tells people to copy works."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bystander import FAST, TO_JOURNAL
from deadline import Deadline
from hook import domain

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


def situations():
    """The table of who opens functions: {who: (STATE, REASON)}, of `zpci-errctl list`."""
    section = README.read_text().split('## On a KVM host')[1].split('\n## ')[0]
    rows = re.findall(r'^\| ([^|]+) \| [^|]+ \| `(\w+)`(?: `(\w+)`)? \|$', section, re.M)
    return {who: (state, reason or '-') for who, state, reason in rows}


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


def test_kvm_host(build, sim, bus, daemon, published, journald, errctl, hook, configure):
    """What README says of each who opens functions is what an administrator sees."""
    sim.add(A, fid=0x10, pchid=0x104, **FAST)
    sim.add('00a2:00:00.0', fid=0x20, pchid=0x105, **FAST)
    sim.add('0003:00:00.0', fid=0x30, pchid=0x1c4, **FAST)
    sim.hold('0003:00:00.0')
    # Settling takes long enough to be seen, and ends.
    configure('[Errord]\nPolicy=claim\nSettleSec=300ms\n' + block('[Function pchid:1c4]'))
    daemon.start(**TO_JOURNAL)
    published.wait_state(0x10, 'claimed')
    seen = {}

    def look(who, address=A):
        line, = [line for line in errctl('list').split('\n') if line.startswith(address)]
        who, = [key for key in situations() if key.startswith(who)]
        seen[who] = tuple(line.split()[5:7])

    def told():
        return [entry['MESSAGE'] for entry in journald.entries(f'ZPCI_ADDRESS={A}')]

    before = len(told())
    hook('ledger', 'prepare', 'begin', domain('hostdev'))
    sim.hold(A)
    look('guests of libvirt')
    assert 'Holder: ledger\n' in errctl('show', A)
    sim.error(A, pec=2)
    published.errors(1, 0x10)
    published.wait_property(0x10, 'Recovery', 'left-to-holder')
    sim.unhold(A)
    hook('ledger', 'stopped', 'end', domain('hostdev'))
    hook('ledger', 'release', 'end', domain('hostdev'))
    published.wait_state(0x10, 'claimed')
    example = block(f'{A} (FID 0x00000010, PCHID 0x0104): observed (released): for ledger').splitlines()
    journald.wait(f'ZPCI_ADDRESS={A}', count=before + len(example))
    assert told()[before:] == example
    assert [entry['MESSAGE'] for entry in journald.entries('ZPCI_HOLDER=ledger', f'ZPCI_ADDRESS={A}')] == [
        example[0]]

    errctl('release', A)
    sim.hold(A)
    look('a running guest')
    sim.unhold(A)
    errctl('claim', A)

    qemu = errctl.spawn('inhibit', A, '--who=guest1', '--', 'cat', stdin=subprocess.PIPE)
    published.wait_state(0x10, 'observed', 'inhibited')
    look('plain QEMU')
    assert 'Holder: guest1\n' in errctl('show', A)
    qemu.process.kill()
    published.wait_state(0x10, 'claimed')

    look('device plugins', '0003:00:00.0')

    errctl('release', A)
    driver = subprocess.Popen([build / 'examples' / 'attach', A], stdout=subprocess.PIPE,
                              env={**sim.env(), **bus.environment})
    published.wait_state(0x10, 'delegated')
    look('a user-space driver')
    driver.kill()
    driver.communicate()

    sim.unbind(A)
    published.wait_objects(0x20, 0x30)
    daemon.freeze()
    sim.bind(A)
    sim.hold(A)
    daemon.thaw()
    published.wait_state(0x10, 'observed', 'busy')
    look('anybody before the daemon')
    assert seen == situations()

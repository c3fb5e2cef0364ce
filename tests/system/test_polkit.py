# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may change something, as the real polkitd has it, asked by the installed daemon as its own user."""
import re
import subprocess
from pathlib import Path

import pytest

from bus import Bus
from container import UNIT
from deadline import scaled
from monitor import MANAGER, NAME, Monitor

ADDRESS = '0001:00:00.0'
FID = 0x10
PATH = f'{MANAGER}/function/{FID:08x}'
FUNCTION = f'{NAME}.Function'
# Not busctl, which keeps to itself why access is denied.
CLAIM = ['dbus-send', '--system', '--print-reply', f'--dest={NAME}', PATH, f'{FUNCTION}.Claim']
DENIED = 'Error org.freedesktop.DBus.Error.AccessDenied: No permission for org.zpci.Errord1.claim: '

RULE = '/etc/polkit-1/rules.d/40-zpci-errord.rules'
POLICY = '/usr/share/polkit-1/actions/org.zpci.Errord1.policy'
POLKIT = 'polkit.service'

# Somebody who may read the journal, and so may call.
OPERATOR = ['setpriv', '--reuid=zpci-operator', '--regid=zpci-operator', '--init-groups']

README = Path(__file__).parents[2] / 'README.md'
YES = re.search(r'```js\n(.*?)```', README.read_text(), re.S).group(1)
YES_BY_ADDRESS = '''
polkit.addRule(function(action, subject) {
    if (action.lookup("address") == "0001:00:00.0")
        return polkit.Result.YES;
});
'''
# Says yes as soon as it is told to, and that it was asked.
LATE_YES = '''
polkit.addRule(function(action, subject) {
    if (action.id == "org.zpci.Errord1.claim") {
        polkit.spawn(["/bin/sh", "-c", "echo > /run/asked; read line < /run/answer"]);
        return polkit.Result.YES;
    }
});
'''


@pytest.fixture(params=Bus.KINDS)
def host(request, machine, sim):
    """One function that nobody holds, and an operator."""
    machine.choose_bus(request.param)
    machine.run('useradd', '--groups', 'adm', 'zpci-operator')
    sim.add(ADDRESS, fid=FID)
    machine.systemctl('start', UNIT)
    return machine


@pytest.fixture
def monitor(host):
    """A subscriber; the function is there."""
    monitor = Monitor(host.bus_address)
    monitor.wait_property(PATH, FUNCTION, 'State', 'observed')
    yield monitor
    monitor.close()


def rule(host, text):
    """In force when this returns: polkit starts with the next question."""
    host.systemctl('stop', POLKIT)
    host.write(RULE, text)


def claim(host, *who):
    """The error; empty if it worked."""
    return host.run(*who, *CLAIM, check=False).stderr


def warnings(host):
    return [entry['MESSAGE'] for entry in host.journal('_SYSTEMD_UNIT=' + UNIT, 'PRIORITY=4')]


def test_rule(host, monitor):
    """Root needs none, the operator one; README's will do."""
    assert claim(host, *OPERATOR).startswith('Error org.freedesktop.DBus.Error.InteractiveAuthorizationRequired: ')
    assert monitor.get(PATH, FUNCTION, 'State') == 'observed'

    rule(host, YES)
    assert claim(host, *OPERATOR) == ''
    assert monitor.get(PATH, FUNCTION, 'State') == 'claimed'
    assert claim(host) == ''

    rule(host, YES_BY_ADDRESS)
    assert claim(host, *OPERATOR) == ''
    rule(host, YES.replace('YES', 'NO'))
    assert claim(host, *OPERATOR) == f'{DENIED}polkit says no\n'
    assert warnings(host) == []


def test_absent(host, monitor):
    host.systemctl('mask', '--now', POLKIT)
    assert claim(host, *OPERATOR).startswith(f'{DENIED}only root may, as there is no polkit')
    assert claim(host) == ''
    assert warnings(host) == []


def test_policy_that_names_no_owner(host, monitor):
    """polkit then refuses to be asked, and somebody has to know why."""
    rule(host, YES)
    host.run('sed', '-i', '/policykit.owner/d', POLICY)
    for _ in range(2):
        assert claim(host, *OPERATOR).startswith(f'{DENIED}polkit cannot be asked')
    [warning] = warnings(host)
    assert 'only root may' in warning and 'org.zpci.Errord1.policy' in warning
    assert claim(host) == ''


def test_function_that_vanishes_meanwhile(host, sim, monitor):
    rule(host, LATE_YES)
    host.run('mkfifo', '--mode=666', '/run/asked', '/run/answer')
    with subprocess.Popen(host.command(*OPERATOR, *CLAIM), stderr=subprocess.PIPE, text=True) as asking:
        host.run('cat', '/run/asked')
        sim.unbind(ADDRESS)
        monitor.wait('InterfacesRemoved')
        host.run('sh', '-c', 'echo > /run/answer')
        _, refused = asking.communicate(timeout=scaled(10))
    assert refused.startswith(f'Error {NAME}.Error.NoSuchFunction: ')
    assert host.systemctl('is-active', UNIT) == 'active'
    assert host.show(UNIT, 'NRestarts') == '0'

# SPDX-License-Identifier: LGPL-2.1-or-later
"""zpci-errctl: what its commands print, and how they end."""
import re
import subprocess
from pathlib import Path

import pytest

from errctl import PROGRAM, when

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'
C = 'fffe:00:00.0'
FAST = {'open_ms': 1, 'reset_ms': 1, 'close_ms': 1, 'eagain_ms': 1}

DONE, FAILED, USAGE, NO_DAEMON = range(4)

COMPLETION = Path(__file__).parents[2] / 'shell-completion' / 'bash' / 'zpci-errctl'
RECORD = '00000000 80020000 00000010 b0550103 00000000 12346002 00000000 00000002'


@pytest.fixture
def host(sim, daemon, published):
    """A function that reported an error, one that another process holds, and one of an unknown type."""
    sim.add(A, fid=0x10, uid=1, pchid=0x104, pft=0x0b, pfgid=5, fh=0x80020000, **FAST)
    sim.add(B, fid=0xabcdef01, uid=0x22, pchid=0x1c4, pft=0x02, vfn=3, fh=0x80030000, **FAST)
    sim.add(C, fid=0x30, uid=3, pchid=0x104, pft=0x7f, fh=0x80040000, **FAST)
    sim.hold(B)
    daemon.start('--policy=claim')
    sim.wait(A, 'held=1,err_armed=1')
    sim.wait(C, 'held=1,err_armed=1')
    published.wait_state(0xabcdef01, 'observed', 'busy')
    sim.error(A, pec=2, faddr=0x12346002)
    published.errors(1)
    published.wait_property(0x10, 'Recovery', 'recovered')


def test_list(host, errctl, published):
    time = when(published.get(0x10, 'LastErrorUSec'))
    rows = f'''\
{A} 0x00000010 0x0104 NVMe    vfio-pci claimed  -            1    0 OORANGE {time}
{B} 0xabcdef01 0x01c4 ROCE    vfio-pci observed busy         0    0 -
{C} 0x00000030 0x0104 UNKNOWN vfio-pci claimed  -            0    0 -
'''
    heading = '''\
ADDRESS      FID        PCHID  TYPE    DRIVER   STATE    REASON RECORDS LOST LAST-ERROR
'''
    assert errctl('list') == f'{heading}{rows}\n3 functions listed.\n'
    assert errctl('--no-legend', '--no-pager', 'list') == rows

    functions = errctl.json('list')
    assert [function['address'] for function in functions] == [A, B, C]
    assert functions[1] == {
        'address': B, 'fid': 0xabcdef01, 'uid': 0x22, 'pchid': 0x1c4, 'pfgid': functions[1]['pfgid'], 'vfn': 3,
        'pft': 2, 'pft_name': 'ROCE', 'state': 'observed', 'state_reason': 'busy', 'holder': '', 'error_interface': 'none',
        'recovery': 'none', 'driver': 'vfio-pci', 'function_handle': 0x80030000,
        'records': 0, 'lost': 0, 'last_pec': 0, 'last_error_usec': 0,
    }
    # One line for all, and many.
    assert errctl('list', '--json=short').count('\n') == 1
    assert errctl('list', '--json=pretty').count('\n') > 40
    assert errctl('list', '--json=off', '--no-legend') == rows


def test_show(host, errctl, published):
    time = when(published.get(0x10, 'LastErrorUSec'))
    text = f'''\
        Address: {A}
            FID: 0x00000010
            UID: 0x1
          PCHID: 0x0104
          PFGID: 0x05
            VFN: 0x0000
           Type: NVMe (0x0b)
         Driver: vfio-pci
Function handle: 0x80020000
          State: claimed: the daemon holds its device and takes full records
         Holder: -
       Recovery: recovered
Error interface: ccdf
        Records: 1
           Lost: 0
     Last error: {time}, OORANGE (PEC 0x0002): DMA address outside the registered range
'''
    for address in A, 'fid:0x10', '1:00:00.0':
        assert errctl('show', address) == text
    assert 'State: observed (busy): another process has its device open\n' in errctl('show', 'fid:ABCDEF01')
    assert 'Last error: -\n' in errctl('show', B)
    assert errctl.json('show', A) == errctl.json('list')[0]

    # All functions of an adapter, each once; in JSON, one line each.
    both = errctl('show', 'pchid:104', A)
    assert both.startswith(text + '\n') and both.count('Address:') == 2 and f'Address: {C}' in both
    assert errctl('show', 'pchid:0x104', '--json=short').count('\n') == 2


def test_addresses_that_mean_no_function(host, errctl):
    all_there_are = f'  {A}  fid:10  pchid:104\n  {B}  fid:abcdef01  pchid:1c4\n  {C}  fid:30  pchid:104\n'
    for address in '0003:00:00.0', 'fid:11', 'pchid:10', '77':
        assert errctl.error('show', A, address, status=FAILED) == \
            f"{PROGRAM}: There is no function '{address}'. There are:\n{all_there_are}"
    assert 'There are:' in errctl.error('monitor', A, 'fid:11', status=FAILED)
    assert errctl.error('show', '00:00.0', status=FAILED) == \
        f"{PROGRAM}: '00:00.0' is part of more than one address:\n{all_there_are}"
    for address in 'fid:xyz', 'pchid:10000', 'nvme0', '':
        assert 'is no address' in errctl.error('show', address, status=USAGE)


def test_no_functions(daemon, errctl):
    daemon.start()
    assert errctl('list') == 'No PCI function is bound to a VFIO driver.\n'
    assert errctl('list', '--no-legend') == ''
    assert errctl.json('list') == []
    assert 'none is bound to a VFIO driver' in errctl.error('show', A, status=FAILED)


def test_no_daemon(errctl, bus):
    for arguments in ['list'], ['monitor'], ['monitor', A]:
        message = errctl.error(*arguments, status=NO_DAEMON)
        assert 'zpci-errord does not run' in message and 'systemctl enable --now zpci-errord' in message
    bus.stop()
    for command in 'list', 'monitor':
        assert 'Cannot reach the system bus' in errctl.error(command, status=NO_DAEMON)


def test_permission(daemon, errctl):
    """Who may not ask is told who may."""
    daemon.start()
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    done = subprocess.run(errctl.command('list', wrapper=nobody), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (FAILED, ''), done
    assert 'be root, or a member of the group systemd-journal or adm' in done.stderr


def test_decode(errctl, bus):
    bus.stop()
    assert errctl('decode', '0x0004') == '''\
     PEC: 0x0004
    Name: TPROTE
 Meaning: write denied by the protection bit of the translation anchor
Severity: recoverable
'''
    text = '''\
                PEC: 0x0002
               Name: OORANGE
            Meaning: DMA address outside the registered range
           Severity: recoverable
                FID: 0x00000010
    Function handle: 0x80020000
    Failing address: 0x12346002
  DMA address space: 0x01
         MSI vector: 85
Expected table type: 11
      Qualifier bit: 1
     Read/write bit: 1
'''
    plain = RECORD.replace(' ', '')
    for record in [RECORD], ['0x' + plain], ['0x' + word for word in RECORD.upper().split()]:
        assert errctl('decode', *record) == text
    assert errctl('decode', RECORD, 'ABCD') == text + '      Further bytes: abcd\n'
    assert errctl.json('decode', RECORD) == {
        'pec': 2, 'name': 'OORANGE', 'meaning': 'DMA address outside the registered range', 'severity': 'recoverable',
        'fid': 16, 'function_handle': 0x80020000, 'failing_address': 0x12346002, 'dma_address_space': 1,
        'msi_vector': 85, 'expected_table_type': 11, 'qualifier': True, 'read_write': True, 'raw': plain,
    }
    assert errctl.json('decode', '3b') == {
        'pec': 0x3b, 'name': 'PERMERR', 'meaning': 'permanent error', 'severity': 'permanent'}
    assert errctl.json('decode', 'ffff') == {'pec': 0xffff, 'name': 'UNKNOWN', 'severity': 'recoverable'}
    for wrong in '10000', plain[2:], plain + '0', '', 'OORANGE', '-1':
        errctl.error('decode', '--', wrong, status=USAGE)


def test_usage(errctl, bus):
    bus.stop()
    wrong = [
        ([], 'Say what to do'),
        (['lsit'], "Unknown command 'lsit'"),
        (['list', A], 'Usage: zpci-errctl [OPTION…] list'),
        (['show'], 'Usage: zpci-errctl [OPTION…] show ADDRESS…'),
        (['decode'], 'decode RECORD|PEC'),
        (['--json=yaml', 'list'], "Unknown JSON mode 'yaml'"),
        (['list', '--json=yaml'], "Unknown JSON mode 'yaml'"),
        (['list', '--reverse'], '--reverse'),
        (['--host=-oProxyCommand=true', 'list'], 'is no host'),
        (['-H'], 'requires an argument'),
    ]
    for arguments, said in wrong:
        message = errctl.error(*arguments, status=USAGE)
        assert said in message and message.endswith("Try 'zpci-errctl --help'.\n")


def test_help(errctl):
    help_text = errctl('--help')
    assert errctl('-h') == help_text
    commands = re.findall(r'^  ([a-z][a-z-]*) ', help_text, re.M)
    assert commands == ['list', 'show', 'monitor', 'decode', 'claim', 'release', 'reset', 'inhibit']
    # The second column is one column.
    assert len({re.match(r'  \S+( \S+)*?  +', line).end() for line in help_text.splitlines()
                if re.match('  [a-z]', line)}) == 1
    for command in commands:
        text = errctl(command, '--help')
        assert text.startswith(f'Usage: zpci-errctl [OPTION…] {command}') and '--json=' in text
    assert re.fullmatch(r'zpci-errctl \d+(\.\d+)*\n', errctl('--version'))


def test_terminal(host, errctl):
    """Colours and a pager are for terminals."""
    assert '\033[' not in errctl('list')
    assert '\033[32mclaimed' in errctl.on_terminal('list', '--no-pager')
    assert '\033[' not in errctl.on_terminal('list', '--no-pager', NO_COLOR='1')
    assert '\033[' not in errctl.on_terminal('list', '--json=pretty', '--no-pager')
    paged = errctl.on_terminal('list', SYSTEMD_PAGER='sed "s/^/paged: /"', PAGER='false')
    assert 'paged: ADDRESS' in paged and '\n3 functions' not in paged
    assert 'paged: ' in errctl.on_terminal('show', A, SYSTEMD_PAGER='sed "s/^/paged: /"')
    # Where there is not enough room, the last column gives way.
    wide, narrow = (errctl.on_terminal('list', '--no-pager', '--no-legend', NO_COLOR='1', columns=columns)
                    for columns in (120, 100))
    assert wide == errctl('list', '--no-legend')
    assert max(map(len, narrow.splitlines())) == 100 and all(map(str.startswith, wide.splitlines(), narrow.splitlines()))
    # People leave a pager before the end.
    assert errctl.on_terminal('list', PAGER='true') == ''


def test_full_disk(errctl):
    with open('/dev/full', 'w') as full:
        done = subprocess.run(errctl.command('decode', '2'), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED
    assert 'No space left on device' in done.stderr


def test_host(host, errctl, tmp_path):
    """Another machine, which ssh reaches: one that runs the command here."""
    ssh = tmp_path / 'ssh'
    ssh.write_text('#!/bin/sh\necho "$@" > "${0%/*}/asked"\nexec systemd-stdio-bridge --bus-path="$DBUS_SYSTEM_BUS_ADDRESS"\n')
    ssh.chmod(0o755)
    environment = {'PATH': f'{tmp_path}:/usr/bin:/bin'}
    listed = errctl('list', '-H', 'admin@lpar7', **environment)
    assert listed == errctl('list')
    assert 'admin@lpar7' in (tmp_path / 'asked').read_text()

    ssh.write_text('#!/bin/sh\nexit 255\n')
    message = errctl.error('--host=lpar7', 'list', status=NO_DAEMON, **environment)
    assert 'Cannot reach the system bus of lpar7' in message


# Has bash-completion complete a command line, as it does when Tab is pressed, and prints what there is to choose.
COMPLETE = r'''
source /usr/share/bash-completion/bash_completion
source "$1"
COMP_LINE=$2
COMP_POINT=${#COMP_LINE}
mapfile -t COMP_WORDS < <(grep -oE '[:=]+|[^ :=]+| $' <<< "$COMP_LINE" | sed 's/^ $//')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_zpci_errctl
echo "${COMPREPLY[@]}"
'''


def test_completion(host, errctl, build, bus):
    """What Tab offers is what there is."""
    def offered(line):
        return bus.run('env', f'PATH={build / "ctl"}:/usr/bin:/bin', 'bash', '-c', COMPLETE, 'bash', str(COMPLETION),
                       line).split()

    help_text = errctl('--help')
    assert offered('zpci-errctl ') == sorted(re.findall(r'^  ([a-z][a-z-]*) ', help_text, re.M))
    assert {option.rstrip('=') for option in offered('zpci-errctl --')} == set(re.findall('--[a-z-]+', help_text))
    assert offered('zpci-errctl list --json=') == ['pretty', 'short', 'off']
    assert offered('zpci-errctl mo') == ['monitor']
    assert offered('zpci-errctl show ') == [A, 'fid:10', 'pchid:104', B, 'fid:abcdef01', 'pchid:1c4',
                                            C, 'fid:30', 'pchid:104']
    assert offered('zpci-errctl --no-legend monitor 0002:0') == ['0002:00:00.0'[len('0002:'):]]
    assert offered('zpci-errctl release --w') == ['--who=']
    assert offered('zpci-errctl list --w') == []
    for command in 'claim', 'release', 'reset', 'inhibit':
        assert offered(f'zpci-errctl {command} fid:1') == ['10']
    assert set(offered('zpci-errctl inhibit 0001:00:00.0 -- systemd-inhi')) == {'systemd-inhibit'}
    assert offered('zpci-errctl inhibit 0001:00:00.0 -- zpci-errctl li') == ['list']
    assert offered('zpci-errctl show -- 0') == []
    assert offered('zpci-errctl list 0') == []

# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configuration: what is stronger than what, what a reload changes and what it leaves alone, and the limit of
recoveries."""
import signal

import pytest

from bystander import FAST, TO_JOURNAL, Bystander, told

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
B = '0002:00:00.0'

ETC = '/etc/zpci-errord.conf.d/40-test.conf'
RUN = '/run/zpci-errord.conf.d/60-test.conf'


@pytest.fixture
def reload(daemon):
    """Has the daemon read its configuration again, and returns when everything is as that says."""
    def run():
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_notify('RELOADING', '1')
        daemon.wait_notify('READY', '1')
    return run


def errord(**keys):
    return ''.join(['[Errord]\n', *(f'{key}={value}\n' for key, value in keys.items())])


def function(selector, **keys):
    return ''.join([f'[Function {selector}]\n', *(f'{key}={value}\n' for key, value in keys.items())])


# What each place says of a function, from the weakest to the strongest: None for nothing. [Errord] says observe.
PLACES = [
    # another file, udev, /etc
    (None, None, None),
    ('claim', None, None),
    ('ignore', 'claim', None),
    ('claim', 'observe', None),
    ('ignore', 'ignore', 'claim'),
    ('claim', 'claim', 'observe'),
    (None, 'claim', 'ignore'),
    (None, 'ignore', 'claim'),
    ('claim', None, 'observe'),
]


def test_precedence(sim, daemon, configure, write, published, reload):
    selectors = ['{number:04x}:*', 'fid:{fid:x}', 'fid:{fid:#010x}', 'pchid:{pchid:x}', 'pchid:{pchid:#06x}']
    other, etc, expected = errord(SettleSec=0), '', {}
    for number, places in enumerate(PLACES, 1):
        ids = {'fid': 0x10 + number, 'pchid': 0x100 + number}
        sim.add(f'{number:04x}:00:00.0', **ids, **FAST)
        selector = selectors[number % len(selectors)].format(number=number, **ids)
        if places[0]:
            other += function(selector, Policy=places[0])
        if places[1]:
            sim.property(f'{number:04x}:00:00.0', 'ZPCI_ERRORD_POLICY', places[1])
        if places[2]:
            etc += function(selector, Policy=places[2])
        expected[number] = next((place for place in reversed(places) if place), None)
    configure(other)
    write(ETC, etc)

    def check(of_the_rest):
        policies = {number: policy or of_the_rest for number, policy in expected.items()}
        for number, policy in policies.items():
            if policy == 'claim':
                sim.wait(f'{number:04x}:00:00.0', 'held=1')
        published.wait_objects(*(0x10 + number for number, policy in policies.items() if policy != 'ignore'))
        for number, policy in policies.items():
            if policy == 'observe':
                assert published.state(0x10 + number) == ('observed', 'policy')
                assert sim.state(f'{number:04x}:00:00.0')['held'] == 0

    daemon.start()
    check('observe')
    opens = [sim.state(f'{number:04x}:00:00.0')['opens'] for number in expected]
    configure(other.replace('[Errord]', '[Errord]\nPolicy=claim'))
    reload()
    check('claim')
    assert daemon.stop() == 0
    assert [sim.state(f'{number:04x}:00:00.0')['opens'] for number in expected][1:] == opens[1:]
    daemon.start('--policy=ignore')
    check('ignore')


def test_last_section_wins(sim, daemon, write, published, reload):
    sim.add(A, fid=0x10, **FAST)
    daemon.start()
    write(ETC, function('fid:10', Policy='observe') + function('0001:*', Policy='claim'))
    reload()
    sim.wait(A, 'held=1')
    write(RUN, function('pchid:0', Policy='claim') + function('*', Policy='ignore'))
    reload()
    published.wait_state(0x10, 'claimed')
    write(ETC, function('0001:*', Policy='claim') + function('fid:10', Policy='observe'))
    reload()
    published.wait_state(0x10, 'observed', 'policy')


def test_reload_keeps_what_is_held(sim, daemon, configure, write, published, reload):
    """However much of the configuration changes, and whatever goes on: no record is lost, no device is let go of."""
    addresses = [f'{number:04x}:00:00.0' for number in range(1, 9)]
    for fid, address in enumerate(addresses, 1):
        sim.add(address, fid=fid, **FAST)
    write(ETC, errord(RecoveryLimit='off'))
    daemon.start('--policy=claim')
    for address in addresses:
        sim.wait(address, 'err_armed=1')

    variants = [
        errord(SettleSec=3600),
        errord(SettleSec=0, RecoveryLimit='1/1us', Records=16),
        errord(Recovery='none') + function('*', Recovery='reset'),
        function('*', SettleSec='1d') + 'nonsense\n[',
        errord(Policy='observe') + function('0001:*', Policy='claim'),
        function('fid:2', Policy='claim') * 500,
    ]
    rounds = 12
    for number in range(rounds):
        for address in addresses:
            sim.wait(address, f'frozen=0,locked=0,resets={number}')
            assert sim.error(address, pec=2)['result'] == 'queued'
        configure(variants[number % len(variants)])
        reload()
    assert len(published.errors(rounds * len(addresses))) == rounds * len(addresses)
    for fid, address in enumerate(addresses, 1):
        state = sim.wait(address, f'held=1,frozen=0,resets={rounds}')
        assert (state['opens'], state['read']) == (1, rounds)
        assert published.state(fid) == ('claimed', '')
    assert not published.all_lost()

    # What is not to be held any more is let go of, and nothing else.
    configure(function('0003:*', Policy='ignore') + function('fid:4', Policy='observe'))
    reload()
    published.wait_objects(*(fid for fid in range(1, 9) if fid != 3))
    published.wait_state(4, 'observed', 'policy')
    for address in addresses:
        sim.wait(address, 'held=0' if address in addresses[2:4] else 'held=1,opens=1')


def test_reload_of_what_is_going_on(sim, daemon, configure, published, reload):
    """A settle time, and a recovery that is not wanted, end when they are configured away."""
    configure(errord(SettleSec='1d', Recovery='none') + function('fid:20', SettleSec=0))
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start('--policy=claim')
    sim.wait(B, 'err_armed=1')
    published.wait_state(0x10, 'observed', 'settling')
    sim.error(B, pec=2)
    published.errors(1, 0x20)
    assert sim.wait(B, 'frozen=1,pending=0')['resets'] == 0
    assert published.get(0x20, 'Recovery') == 'none'

    configure(errord(SettleSec='1d') + function('fid:10', SettleSec='0', Recovery='none'))
    reload()
    sim.wait(A, 'err_armed=1')
    assert sim.wait(B, 'frozen=0')['opens'] == 1
    assert published.recoveries(0x20, 2) == ['in-progress', 'recovered']
    sim.error(A, pec=2)
    published.errors(1, 0x10)
    assert sim.wait(A, 'pending=0')['resets'] == 0


def test_complaints(sim, daemon, journald, write, published, reload):
    """What is wrong is told with its place, and the rest counts; after a reload just as at the start."""
    name = '/run/zpci-errord.conf.d/{}.conf'
    write(name.format(10), '[Errord]\nSettleSec=0\n\nPolicy=grab\nRecovery=\nRecoveryLimit=often\nColour=red\n'
          '[Misc]\nKey=1\n[Function eth0]\nPolicy=claim\n[Function fid:10]\nRecords=7\nPolicy=claim\n')
    write(name.format(20), '[Errord\n')
    write(name.format(30), '\x7fELF\0\1\2\n' * 1000)
    write(name.format(40), errord(Policy='observe'))
    sim.add(A, fid=0x10, **FAST)
    sim.add(B, fid=0x20, **FAST)
    daemon.start(**TO_JOURNAL)
    expected = [
        f'{name.format(10)}:4: Policy=grab is not a valid value',
        f'{name.format(10)}:5: Recovery= is not a valid value',
        f'{name.format(10)}:6: RecoveryLimit=often is not a valid value',
        f'{name.format(10)}:7: unknown key Colour',
        f'{name.format(10)}:9: unknown section [Misc]',
        f'{name.format(10)}:11: section [Function eth0] is about no PCI address, fid: or pchid:',
        f'{name.format(10)}:13: unknown key Records',
        f'{name.format(20)}:1: Missing bracket',
        f'{name.format(30)}:1000: ',
    ]
    for text in expected:
        entry, = told(journald, text)
        assert entry['PRIORITY'] == '4'
    sim.wait(A, 'held=1')
    published.wait_state(0x20, 'observed', 'policy')

    reload()
    for text in expected:
        told(journald, text, count=2)
    assert published.state(0x10) == ('claimed', '')
    assert sim.state(A)['opens'] == 1


def test_recovery_limit(sim, daemon, journald, configure, published, reload):
    bystander = Bystander(sim, published)
    configure(errord(SettleSec=0, RecoveryLimit='off') + function('0001:*', RecoveryLimit='2/1d'))
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim', **TO_JOURNAL)

    def exhaust():
        """Errors until it is given up. The last one is published and recovered as well."""
        sim.wait(A, 'err_armed=1,frozen=0,locked=0')
        before = sim.state(A)
        for number in range(1, 4):
            sim.wait(A, f'frozen=0,locked=0,resets={before["resets"] + number - 1}')
            published.wait_state(0x10, 'claimed')
            sim.error(A, pec=2)
        published.wait_state(0x10, 'failed', 'recovery-limit')
        state = sim.wait(A, 'held=0,group_open=0,frozen=0')
        assert (state['read'] - before['read'], state['opens']) == (3, before['opens'])

    exhaust()
    assert len(published.errors(3, 0x10)) == 3
    entry, = told(journald, 'after 2 recoveries within 86400 s', f'ZPCI_ADDRESS={A}')
    assert entry['PRIORITY'] == '4'
    entry, = told(journald, 'failed (recovery-limit)', f'ZPCI_ADDRESS={A}')
    assert entry['ZPCI_STATE'] == 'failed'
    for advice in '--reset-fw', 'service element', '--deconfigure', 'driver_override':
        assert advice in entry['MESSAGE']

    # It is observed now. Looking at it again changes nothing, nor does a higher limit.
    assert sim.error(A, pec=7)['result'] == 'kernel'
    assert published.errors(4, 0x10)[3].details['Source'] == 'kmsg'
    configure(errord(SettleSec=0, RecoveryLimit='off') + function('0001:*', RecoveryLimit='2/1h'))
    reload()
    assert published.state(0x10) == ('failed', 'recovery-limit')
    sim.uevent(A)
    bystander.check()
    assert sim.state(A)['held'] == 0

    # It went and came back.
    sim.unbind(A)
    sim.bind(A)
    sim.wait(A, 'held=1')
    exhaust()

    # So fast that nobody saw it go.
    published.monitor.flush()
    published.monitor.signals.clear()
    daemon.freeze()
    sim.unbind(A)
    sim.bind(A)
    daemon.thaw()
    sim.wait(A, 'held=1')
    assert published.comings_and_goings() == []
    told(journald, 'vfio-pci was bound to it again', f'ZPCI_ADDRESS={A}')
    exhaust()


def test_no_recovery_reaches_no_limit(sim, daemon, configure, published):
    configure(errord(SettleSec=0, Recovery='none', RecoveryLimit='1/1d'))
    sim.add(A, fid=0x10, **FAST)
    daemon.start('--policy=claim')
    sim.wait(A, 'err_armed=1')
    for number in range(1, 6):
        sim.error(A, pec=2, force=1)
        sim.wait(A, f'read={number}')
    published.errors(5, 0x10)
    assert published.state(0x10) == ('claimed', '')
    assert sim.state(A)['resets'] == 0

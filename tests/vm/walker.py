# SPDX-License-Identifier: LGPL-2.1-or-later
"""A random walk over what a VMM, its host and the hardware do to a function that the daemon watches.

A walker knows what it did, and from that what must be true: whether an open has to work at the first try, what state the
daemon has to show, which records it has to publish. Everything random comes from one seed."""

import guest as vm
from daemon import path
from player import Vmm

VENDOR = '1af4'
ERROR = 'org.zpci.Errord1.Error.'


class Walker:
    """One function and its VMM. The attributes are what is true of them by all that was done so far."""

    def __init__(self, walk, number, policy):
        self.walk, self.number, self.policy = walk, number, policy
        self.address, self.object = vm.address(number), path(number)
        self.vmm = Vmm(walk.guest)
        self.open = False       # the VMM has the device
        self.inhibited = False  # the VMM has an inhibitor
        self.faulted = False    # in the error state, and the VMM owes the recovery
        self.frozen = False     # was torn away in the error state, where nobody can reset it: the next open does
        self.errors = []        # PEC and failing address of this round's; where nobody drains, the witness has it
        self.injected = 0       # of these, how many the daemon has to recover
        self.torn_away = set()  # of these, which it lost its function with
        self._bound_anew()

    def _bound_anew(self):
        self.bound = True
        self.attached = False  # the daemon has a duplicate; without `open`, the only one that is left
        self.released = False
        self.claimed = False   # by a call, whatever the policy says
        self.backing_off = False  # the daemon may have found it busy

    # What follows from what was done

    def ours(self):
        """Whether the function is for the daemon to hold, as far as policy and calls go."""
        return self.policy == 'claim' or self.claimed

    def wanted(self):
        """Whether the daemon would take the function, were it free."""
        return self.ours() and not self.inhibited and not self.released

    def may_be_claimed(self):
        """Whether the daemon has the function, or soon will."""
        return self.bound and self.wanted() and not (self.open or self.attached or self.backing_off)

    def states(self):
        """What the daemon may show; None is no object."""
        if not self.bound:
            return [None]
        if self.attached:
            return [('delegated', '-')]
        if not self.ours():
            return [('observed', 'policy')]
        if self.released or self.inhibited:
            return [('observed', 'released' if self.released else 'inhibited')]
        if self.open:
            return [('observed', 'settling'), ('observed', 'busy')]
        return [('claimed', '-'), ('observed', 'settling')] + [('observed', 'busy')] * self.backing_off

    def wait_state(self, states):
        self.walk.daemon.wait_seen(self.walk.hand, self.number, states)

    def check(self):
        self.wait_state(self.states())

    # Steps. Each is possible only if what follows its name in STEPS holds.

    def step_open(self):
        answer = self.vmm.attempt('open', self.address)
        self.walk.figures['opens'] += 1
        if answer.ok:
            self.open = True
            self.frozen = False
            self.backing_off = self.wanted()
            self.walk.slowest['open'] = max(self.walk.slowest['open'], answer.usec)
        else:
            assert answer.name == 'EBUSY' and (self.wanted() or self.attached), answer
            self.walk.figures['met the daemon'] += 1

    def step_close(self):
        if self.faulted:
            self.step_reset()
        if self.attached and self.walk.dice.random() < 0.5:
            self.step_detach()
        self.vmm.do('close')
        self.open = False

    def step_attach(self):
        answer = self.vmm.attempt('attach', self.walk.dice.choice(['notify', 'quiet']))
        if self.inhibited:
            assert answer.name == ERROR + 'Inhibited', answer
        else:
            assert answer.ok, answer
            self.attached = True
            self.walk.figures['attachments'] += 1

    step_attach_in_vain = step_attach

    def step_detach(self):
        self.vmm.do('detach', self.object)
        self.attached = False
        if self.open:
            self.vmm.do('arm')

    def step_inhibit(self):
        self.vmm.do('inhibit', self.address, f'vmm-{self.number}')
        self.inhibited = True
        self.attached = False
        self.walk.figures['inhibitors'] += 1

    def step_uninhibit(self):
        self.vmm.do('uninhibit')
        self.inhibited = False
        self.backing_off = self.open

    def step_release(self):
        self.vmm.do('release', self.object, 0, f'vmm-{self.number}')
        self.released = True
        self.attached = False

    def step_claim(self):
        answer = self.vmm.attempt('claim', self.object)
        if self.inhibited:
            assert answer.name == ERROR + 'Inhibited', answer
        elif self.open:
            assert answer.name == ERROR + 'Busy', answer
        else:
            assert answer.ok, answer
            self.claimed = True
            self.released = self.backing_off = False
            self.wait_state([('claimed', '-')])

    def step_fault(self):
        pec = self.walk.dice.choice([2, 4])
        failing = int(self.vmm.do('fault', pec).words[0], 16)
        self.errors.append((pec, failing))
        self.faulted = True
        self.walk.figures['errors'] += 1
        if not self.attached:
            record, = self.vmm.do('read').words
            assert bytes.fromhex(record)[16:24] == failing.to_bytes(8, 'big'), record

    def step_reset(self):
        self.vmm.do('reset')
        self.faulted = False

    def wait_recovered(self):
        """Until the daemon is done with the errors of what it holds. While a function is unbound it cannot be reset."""
        if not self.injected:
            return
        ends = self.walk.daemon.wait_signals(self.number, 'RecoveryChanged', self.injected,
                                             lambda _address, _fid, recovery: recovery in ('recovered', 'failed'))
        for n, (_, _, recovery) in enumerate(ends):
            assert recovery == 'recovered' or n in self.torn_away, ends
        self.frozen |= ends[-1][2] == 'failed'

    def start_inject(self):
        """An error of a function that the daemon holds. Not on the heels of another: that would be none."""
        self.wait_recovered()
        self.wait_state([('claimed', '-')])
        pec = self.walk.dice.choice([2, 4])
        self.walk.hand.send('inject', self.walk.daemon.pid, self.address, pec, 1)
        self.walk.hand.wait_said('borrowed')
        self.walk.figures['errors'] += 1
        self.injected += 1
        return pec

    def end_inject(self, pec):
        self.errors.append((pec, int(self.walk.hand.answer('an error').words[0], 16)))

    def step_inject(self):
        self.end_inject(self.start_inject())

    def step_inject_and_inhibit(self):
        """The VMM wants the function while the daemon recovers it."""
        pec = self.start_inject()
        self.vmm.send('inhibit', self.address, f'vmm-{self.number}')
        self.end_inject(pec)
        answer = self.vmm.answer('an inhibitor')
        assert answer.ok, answer
        self.inhibited = True
        self.step_open()

    def step_kill(self):
        """Whoever is killed has nothing any more, and nobody keeps the function for it."""
        held = self.open or self.attached
        self.vmm.kill()
        self.vmm = Vmm(self.walk.guest)
        self.frozen |= self.faulted
        self.open = self.attached = self.inhibited = self.faulted = False
        self.backing_off = held
        self.walk.figures['kills'] += 1
        if not self.wanted():
            free = self.walk.hand.do('free', self.address, 2000)
            self.walk.took('free after a kill', free.usec)

    def _unbound(self, answer):
        assert answer.ok, answer
        self.walk.took('unbind', answer.usec)
        self.walk.figures['unbinds'] += 1
        if self.open:
            self.vmm.wait_said('request')
        self._gone()

    def _gone(self):
        self.frozen |= self.faulted
        self.bound = self.open = self.attached = self.faulted = False
        self.torn_away.add(self.injected - 1)

    def step_unbind(self):
        self.walk.hand.start_unbind(self.number)
        self._unbound(self.walk.hand.answer('the end of an unbind'))

    def step_unbind_and(self):
        """The VMM does something at the very moment at which its function is taken away. What that gives is left open."""
        steps = [('inhibit', self.address, 'late')]
        if self.open:
            steps += [('attach', 'quiet'), ('close',)]
        else:
            steps += [('open', self.address), ('claim', self.object), ('release', self.object, 0, 'late')]
        if self.attached:
            steps += [('detach', self.object)]
        step = self.walk.dice.choice(steps)
        self.walk.trace.append(f'    and {step[0]}')
        self.vmm.send(*step)
        self.walk.hand.start_unbind(self.number)
        self.open = False  # whether it is asked to let go depends on who was first
        self._unbound(self.walk.hand.answer('the end of an unbind'))
        answer = self.vmm.answer(f'the answer to {step}')
        self.inhibited |= step[0] == 'inhibit' and answer.ok
        assert answer.ok or step[0] != 'inhibit', answer

    def step_bind(self):
        self.walk.hand.bind(self.number)
        self._bound_anew()

    def step_bind_and_inhibit(self):
        """The VMM is announced while the daemon may be taking the function."""
        self.walk.hand.start_bind(self.number)
        self.vmm.send('inhibit', self.address, f'vmm-{self.number}')
        for player in (self.walk.hand, self.vmm):
            answer = player.answer('bind and inhibit')
            assert answer.ok, answer
        self._bound_anew()
        self.inhibited = True
        self.step_open()

    def step_replug(self):
        self.walk.guest.unplug(self.number)
        if self.open:
            self.vmm.wait_said('request')
        self._gone()
        self.check()
        self.walk.guest.plug(self.number)
        self.walk.guest.bind(self.number)
        self._bound_anew()
        self.walk.figures['unplugs'] += 1

    # name: (weight, what has to hold)
    STEPS = {
        'open': (8, lambda w: w.bound and not w.open),
        'close': (4, lambda w: w.open),
        'attach': (12, lambda w: w.open and not w.attached and not w.inhibited),
        'attach_in_vain': (1, lambda w: w.open and not w.attached and w.inhibited),
        'detach': (3, lambda w: w.attached),
        'inhibit': (5, lambda w: not w.inhibited),
        'uninhibit': (5, lambda w: w.inhibited),
        'release': (2, lambda w: w.bound and not w.faulted),
        'claim': (3, lambda w: w.bound and not w.attached),
        'fault': (8, lambda w: w.open and not w.faulted),
        'reset': (6, lambda w: w.open and w.faulted),
        'inject': (6, lambda w: w.may_be_claimed()),
        'inject_and_inhibit': (4, lambda w: w.may_be_claimed()),
        'kill': (2, lambda w: w.bound and (w.open or w.inhibited)),
        'unbind': (3, lambda w: w.bound),
        'unbind_and': (3, lambda w: w.bound and not w.faulted),
        'bind': (6, lambda w: not w.bound),
        'bind_and_inhibit': (4, lambda w: not w.bound and not w.inhibited),
        'replug': (0.2, lambda w: w.bound and not w.faulted),
    }

    def step(self, name):
        self.walk.trace.append(f'{self.address} {name}')
        getattr(self, f'step_{name}')()
        self.check()

    def round(self, steps):
        self.errors.clear()
        self.injected = 0
        self.torn_away.clear()
        self.walk.daemon.signals.forget()
        for _ in range(steps):
            possible = {name: weight for name, (weight, holds) in self.STEPS.items() if holds(self)}
            self.step(*self.walk.dice.choices(list(possible), list(possible.values())))
        self.end_round()

    def end_round(self):
        """Whatever happened: the function works, whoever says so gets it at the first try, and no record is missing."""
        self.walk.trace.append(f'{self.address} end of the round')
        if self.open:
            self.step_close()
        if self.attached:
            self.step_detach()
        if not self.bound:
            self.step_bind()
        self.wait_recovered()
        vendor, = self.walk.hand.do('config', self.address).words
        assert vendor == VENDOR or self.frozen, f'{self.address} is frozen: {vendor}'
        if self.wanted():
            self.step_inhibit()
        self.step_open()
        assert self.vmm.do('check').words == [VENDOR, '1']
        if self.walk.dice.random() < 0.5:
            self.step_close()
        if self.inhibited:
            self.step_uninhibit()
        if self.released and self.walk.dice.random() < 0.7:
            self.step_claim()
        self.check()
        self.check_records()
        self.walk.figures['rounds'] += 1

    def leave(self):
        """Nothing of the walk is left for who comes next: bound anew, a function is as its policy has it."""
        if self.bound:
            self.walk.hand.unbind(self.number)
        self.walk.hand.bind(self.number)
        self._bound_anew()
        self.open = self.inhibited = False
        self.wait_state([('claimed', '-')] if self.wanted() else self.states())

    def check_records(self):
        if not self.errors:
            return
        told = self.walk.daemon.wait_signals(self.number, 'ErrorReported', len(self.errors))
        assert ([(pec, details.get('FailingAddress')) for _, _, pec, _, _, _, _, details in told]
                == self.errors), (told, self.errors)
        self.walk.figures['records'] += len(told)

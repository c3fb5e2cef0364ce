# SPDX-License-Identifier: LGPL-2.1-or-later
"""Players in the guest: a VMM with device nodes of its own, and the host's hand, which binds and unbinds."""

import dataclasses

import guest as vm


@dataclasses.dataclass
class Answer:
    """What a player answers. `name` is that of an error, '' if it worked; `usec` is how long it took, but for the time
    for which this machine had no CPU for the guest."""
    name: str
    usec: int
    words: list

    @property
    def ok(self):
        return not self.name


class Player:
    """A process that does one thing after the other, as it is told. See vmm/main.c for the verbs."""

    def __init__(self, guest, options=''):
        self.command = guest.start_background(f'exec {vm.VMM} {options}')
        self._starved = {}  # of the guest, when it was told what to do
        self._answers = []
        self._said = []
        self._taken = 0

    def _sort(self):
        for line in self.command.lines[self._taken:]:
            words = line.split()
            if words[0] == '!':
                self._said.append(words[1])
            elif words[0] == 'ok':
                self._answers.append(Answer('', int(words[1]), words[2:]))
            else:
                self._answers.append(Answer(words[2], int(words[1]), words[3:]))
        self._taken = len(self.command.lines)

    def send(self, *words):
        """Tells it what to do; `answer` is owed."""
        self._starved = self.command.guest.starved()
        self.command.write(' '.join(map(str, words)) + '\n')

    def answer(self, what='an answer', timeout=30):
        def first():
            self._sort()
            return self._answers[:1]
        answer, = self.command.wait_until(first, what, timeout)
        self._answers.clear()
        starved = max(usec - self._starved.get(thread, 0) for thread, usec in self.command.guest.starved().items())
        answer.usec = max(0, answer.usec - starved)
        return answer

    def attempt(self, *words):
        """The answer, whatever it is."""
        self.send(*words)
        return self.answer(f'the answer to {words}')

    def do(self, *words):
        """What it answers; a failure is an error."""
        answer = self.attempt(*words)
        assert answer.ok, f'{words}: {answer.name} {" ".join(answer.words)}'
        return answer

    def wait_said(self, name):
        """Until it has said that this eventfd was signalled, since the last time that this was asked."""
        def said():
            self._sort()
            return name in self._said
        self.command.wait_until(said, f'"! {name}"')
        self._said.clear()

    def kill(self):
        """SIGKILL; returns when all that it had open is closed by the kernel."""
        self.command.stop('KILL')


class Vmm(Player):
    def __init__(self, guest):
        super().__init__(guest, '--private')


class Hand(Player):
    """The host's administrator."""

    def start_unbind(self, number):
        address = vm.address(number)
        self.send('write', f'/sys/bus/pci/devices/{address}/driver/unbind', address)

    def unbind(self, number):
        """Returns the microseconds that it took."""
        self.start_unbind(number)
        answer = self.answer(f'the end of an unbind of {vm.address(number)}')
        assert answer.ok, answer
        return answer.usec

    def start_bind(self, number):
        """Of a function that was bound before, and so has its driver_override."""
        self.send('write', '/sys/bus/pci/drivers_probe', vm.address(number))

    def bind(self, number):
        self.start_bind(number)
        answer = self.answer(f'the end of a bind of {vm.address(number)}')
        assert answer.ok, answer

"""Tests against mutants: in one process that has all imported, and a fork of it for each mutant.

A plugin of pytest. The tests run once as they are; coverage.py notes which lines each of them runs. Then, for each
mutant, a forked process puts the changed code into the function that is already there (with whatever decorators and
type checks surround it) and runs the tests that come by, the quickest first, until one fails. Nothing is imported or
collected again: that is what makes a mutant cost tenths of a second.
"""

import ast
import gc
import os
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import NoReturn

import coverage
import pytest

from robustness.operators import Mutant

SURVIVED, KILLED, TOO_LONG, UNSEEN = "survived", "killed", "too long", "unseen"
"""What may come of a mutant; one is unseen if no test runs its lines, and survives so."""

_PATIENCE = 5.0  # how many times its usual time a test may take, in seconds of computing
_GRACE = 5.0  # seconds more
_MEMORY = 2 * 2**30  # bytes more than the tests have so far
_KILLED, _BROKEN = 1, 3  # exit statuses; 0 is a survivor


@dataclass(frozen=True)
class _Test:
    """One test, as it ran undisturbed: what it ran and its seconds of computing."""

    item: pytest.Item
    lines: frozenset[tuple[str, int]]
    seconds: float


class Killing:
    """Run the tests on mutants in the place of pytest's own loop.

    Parameters
    ----------
    mutants : sequence of Mutant
        Those to try.
    workers : int
        Processes at a time.
    tell : function of (str, str)
        It is called with the name and the outcome of each mutant, as soon as that is known.
    """

    def __init__(
        self, mutants: Sequence[Mutant], *, workers: int, tell: Callable[[str, str], object]
    ) -> None:
        self.mutants, self.workers = mutants, workers
        self._tell = tell
        self.outcomes: dict[str, str] = {}
        self.seconds = 0.0  # of computing, all mutants together
        self.failed: list[str] = []

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which tests fail."""
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once, and then those that a mutant needs, mutant by mutant."""
        tests = self._undisturbed(session.items)
        if self.failed or session.testsfailed or not session.items:
            raise pytest.UsageError(f"the tests must pass before anything is changed: {self.failed}")
        functions = _functions({str(mutant.path) for mutant in self.mutants})
        gc.collect()
        gc.freeze()  # a fork that collects garbage would copy the memory it shares
        running: dict[int, Mutant] = {}
        self._control(tests)
        for mutant in self.mutants:
            needed = _that_see(mutant, tests)
            if not needed:
                self._note(mutant, UNSEEN)
                continue
            if len(running) == self.workers:
                self._wait(running)
            running[self._start(mutant, needed, functions)] = mutant
        while running:
            self._wait(running)
        return True

    def _undisturbed(self, items: Sequence[pytest.Item]) -> list[_Test]:
        files = sorted({str(mutant.path) for mutant in self.mutants})
        watch = coverage.Coverage(data_file=None, config_file=False, include=files)
        seconds = []
        watch.start()
        for number, item in enumerate(items):
            watch.switch_context(str(number))
            begun = time.process_time()
            _run(item, items[number + 1] if number + 1 < len(items) else None)
            seconds.append(time.process_time() - begun)
        watch.stop()
        lines = defaultdict(set)
        for path in files:
            for line, numbers in watch.get_data().contexts_by_lineno(path).items():
                for number in filter(None, numbers):
                    lines[int(number)].add((path, line))
        return [_Test(item, frozenset(lines[i]), seconds[i]) for i, item in enumerate(items)]

    def _start(
        self, mutant: Mutant, tests: list[_Test], functions: dict[tuple[str, str], list[FunctionType]]
    ) -> int:
        child = os.fork()
        if not child:
            self._finish(tests, partial(put_in, mutant, functions[str(mutant.path), mutant.function]))
        return child

    def _control(self, tests: list[_Test]) -> None:
        """Make sure that the tests pass in a fork if nothing is changed, or all mutants would seem to be killed."""
        child = os.fork()
        if not child:
            self._finish(tests, lambda: None)
        if os.waitpid(child, 0)[1]:
            raise pytest.UsageError("tests fail in a forked process though nothing was changed.")

    def _finish(self, tests: list[_Test], change: Callable[[], None]) -> NoReturn:
        """Change something, run tests until one fails, and end this forked process."""
        status = _BROKEN
        try:
            _limit(_PATIENCE * sum(test.seconds for test in tests) + _GRACE)
            change()
            status = int(any(self._fails(test, after) for test, after in _with_next(tests)))
        finally:
            os._exit(status)

    def _fails(self, test: _Test, after: _Test | None) -> bool:
        _run(test.item, after.item if after else None)
        return bool(self.failed)

    def _wait(self, running: dict[int, Mutant]) -> None:
        child, status, usage = os.wait4(-1, 0)
        mutant = running.pop(child)
        self.seconds += usage.ru_utime + usage.ru_stime
        if os.WIFSIGNALED(status):  # the limits end it so; a crash is a failure as well
            late = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL)
            self._note(mutant, TOO_LONG if late else KILLED)
        elif os.WEXITSTATUS(status) == _BROKEN:
            raise RuntimeError(f"this mutant could not be tried: {mutant.name}")
        else:
            self._note(mutant, KILLED if os.WEXITSTATUS(status) == _KILLED else SURVIVED)

    def _note(self, mutant: Mutant, outcome: str) -> None:
        self.outcomes[mutant.name] = outcome
        self._tell(mutant.name, outcome)


def put_in(mutant: Mutant, functions: Sequence[FunctionType]) -> None:
    """Give functions the code and the literal defaults that a mutant has.

    Parameters
    ----------
    mutant : Mutant
        The mistake to make.
    functions : sequence of function
        All that were made of the definition it changes.

    Raises
    ------
    LookupError
        If there is no function, or the mutant's code has none of its name.
    """
    if not functions:
        raise LookupError(f"no function {mutant.function} of {mutant.path.name} was imported.")
    module = mutant.mutated()
    codes = [
        code
        for code in _codes(compile(module, str(mutant.path), "exec", dont_inherit=True))
        if code.co_qualname == mutant.function
    ]
    if not codes:
        raise LookupError(f"the code of {mutant.function} is not found again.")
    for function in functions:
        function.__code__ = _fitting(codes[-1], function.__code__.co_freevars)
        if isinstance(mutant.holder, ast.arguments) and isinstance(mutant.replacement, ast.Constant):
            _set_default(function, mutant)


def _fitting(code: CodeType, enclosing: tuple[str, ...]) -> CodeType:
    """Let code that no longer asks for enclosing names, such as that of super's class, fit where others asked."""
    return code if code.co_freevars else code.replace(co_freevars=enclosing)


def _set_default(function: FunctionType, mutant: Mutant) -> None:
    value = mutant.replacement.value  # type: ignore[attr-defined]
    if mutant.field == "defaults":
        defaults = list(function.__defaults__ or ())
        defaults[mutant.index] = value  # type: ignore[index]
        function.__defaults__ = tuple(defaults)
    else:
        keyword = mutant.holder.kwonlyargs[mutant.index].arg  # type: ignore[attr-defined]
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), keyword: value}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield all code within some code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(files: set[str]) -> dict[tuple[str, str], list[FunctionType]]:
    """Find the functions that files define, wherever they are kept: in modules, classes or wrappers."""
    found = defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            found[thing.__code__.co_filename, thing.__code__.co_qualname].append(thing)
    return found


def _that_see(mutant: Mutant, tests: Sequence[_Test]) -> list[_Test]:
    """Return the tests that run a mutant's lines, the quickest first."""
    lines = {(str(mutant.path), line) for line in mutant.lines}
    return sorted((test for test in tests if test.lines & lines), key=lambda test: test.seconds)


def _with_next(tests: Sequence[_Test]) -> Iterator[tuple[_Test, _Test | None]]:
    return zip(tests, [*tests[1:], None], strict=True)


def _run(item: pytest.Item, after: pytest.Item | None) -> None:
    names = dict(item.dtest.globs) if isinstance(item, pytest.DoctestItem) else {}
    item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
    if isinstance(item, pytest.DoctestItem):
        item.dtest.globs.update(names)  # doctest forgets them, and an example is to run again


def _limit(seconds: float) -> None:
    """Let this process end when it computes for too long, waits for ever or takes too much memory; print nothing."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 3))
    signal.alarm(int(60 + 20 * seconds))  # other work may slow it down
    with open("/proc/self/statm", encoding="ascii") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)

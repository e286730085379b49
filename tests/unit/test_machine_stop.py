"""Signals that ask a race to stop."""

from __future__ import annotations

import os
import signal

import pytest

from velodrome.machine.processes.stop import Stop, stopped_by_signals


def test_once_to_stop_twice_to_hurry_and_then_at_once() -> None:
    stop = Stop()
    assert not stop.requested
    stop.request(signal.SIGTERM)
    assert (stop.requested, stop.number, stop.urgent) == (True, signal.SIGTERM, False)
    stop.request(signal.SIGINT)
    assert (stop.number, stop.urgent) == (signal.SIGTERM, True)
    with pytest.raises(KeyboardInterrupt):
        stop.request(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_of_these_signals_asks(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.number == number
    assert signal.getsignal(number) is before

"""What accept(2) says of one connection ends no worker."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from issuer.patient_worker import PatientWorker


class Refusing:
    """A listener whose every accept fails; the kernel cannot be made to say these on demand."""

    def __init__(self, number: int) -> None:
        self.number = number

    def accept(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    "name", ["EAGAIN", "ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "EHOSTUNREACH"]
)
def test_a_connection_that_failed_meanwhile_is_passed_over(name: str) -> None:
    """The manual asks servers to go on as after EAGAIN."""
    worker = SimpleNamespace(nr_conns=0, worker_connections=10)
    PatientWorker.accept(worker, Refusing(getattr(errno, name)))
    assert worker.nr_conns == 0


def test_a_listener_that_is_none_is_told() -> None:
    """What no later accept can make good is not hidden."""
    worker = SimpleNamespace(nr_conns=0, worker_connections=10)
    with pytest.raises(OSError, match="Bad file"):
        PatientWorker.accept(worker, Refusing(errno.EBADF))

"""Client processes that refresh at the moment when a gate opens; the standard library alone.

Each argument is the descriptor of a socket, and gets a process of its own: a fork, since to start
it anew takes more CPU than all that it does. Each line that comes is `PORT GATE TOKEN`. GATE is a
file that somebody holds locked until all clients have said `ready`. Each answer is one line of
JSON.
"""

import fcntl
import http.client
import json
import os
import socket
import sys
import time

ATTEMPTS = 4
"""Of a client that is told to come back later (503), as on a machine that stood still."""


def main() -> None:
    children = [each for each in map(int, sys.argv[1:]) if fork(each)]
    for _ in children:
        os.wait()


def fork(descriptor: int) -> bool:
    """A process that answers on this socket until its other end is closed."""
    if os.fork():
        return True
    with socket.socket(fileno=descriptor) as line, line.makefile("rw") as stream:
        answer(stream)
    os._exit(0)


def answer(stream) -> None:  # type: ignore[no-untyped-def]  # to load `typing` takes a while
    for line in stream:
        port, gate, token = line.split()
        body = json.dumps({"refresh_token": token})
        with open(gate) as file:  # noqa: PTH123 - pathlib takes a while to load
            print("ready", file=stream, flush=True)
            fcntl.flock(file, fcntl.LOCK_SH)
        for _ in range(ATTEMPTS):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request("POST", "/refresh", body, {"Content-Type": "application/json"})
            got = connection.getresponse()
            content = json.loads(got.read())
            connection.close()
            later = got.getheader("Retry-After")
            if got.status != 503 or later is None:
                break
            time.sleep(int(later))
        print(json.dumps({"status": got.status, "body": content}), file=stream, flush=True)


if __name__ == "__main__":
    main()

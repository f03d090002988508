"""A client process that refreshes at the moment when a gate opens; the standard library alone.

Each line of standard input is `PORT GATE TOKEN`. GATE is a file that somebody holds locked until
all clients have said `ready`. Each answer is one line of JSON.
"""

import fcntl
import http.client
import json
import sys


def main() -> None:
    for line in sys.stdin:
        port, gate, token = line.split()
        body = json.dumps({"refresh_token": token})
        with open(gate) as file:  # noqa: PTH123 - pathlib takes a while to load, a hundred times
            print("ready", flush=True)
            fcntl.flock(file, fcntl.LOCK_SH)
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        connection.request("POST", "/refresh", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        print(json.dumps({"status": answer.status, "body": content}), flush=True)


if __name__ == "__main__":
    main()

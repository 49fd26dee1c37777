"""One attack for each way of the tool `attack`. What comes back tells how far it got."""

import asyncio
import os
import sys
import time

from aih_plugin import http, log, mcp, secrets, state, tool

COUNTED = 0


def endless_loop(_: str) -> str:
    while True:
        pass


def endless_host_calls(_: str) -> str:
    while True:
        log.info("loop")


def never(_: str) -> str:
    return asyncio.Future()  # type: ignore[return-value]


def sleep(_: str) -> str:
    time.sleep(1e9)
    return "awake"


def memory_bomb(_: str) -> str:
    kept = []
    while True:
        kept.append(bytearray(4 << 20))


def number_bomb(_: str) -> str:
    return str(9**9**9)


def deep_recursion(_: str) -> str:
    return deep_recursion(_)


def deeper_recursion(_: str) -> str:
    sys.setrecursionlimit(1 << 30)
    return deep_recursion(_)


def output_1gb(_: str) -> str:
    return "x" * (1 << 30)


def output_4mb(_: str) -> str:
    return "x" * (4 << 20)


def log_flood(_: str) -> str:
    line = "flood " * 1_700
    for _n in range(1_000):
        print(line)
        print(line, file=sys.stderr)
        log.error(line)
    return "logged"


def state_flood(_: str) -> str:
    n = 0
    while True:
        state.set(f"flood/{n}", bytes(1 << 20))
        n += 1


def throw_base(_: str) -> str:
    raise BaseException("below all")


def throw_trap(_: str) -> str:
    class Trap(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    raise Trap


def sys_exit(_: str) -> str:
    sys.exit(3)


def os_exit(_: str) -> str:
    os._exit(3)


def abort(_: str) -> str:
    os.abort()


def interrupt(_: str) -> str:
    raise KeyboardInterrupt


def fetch(url: str) -> str:
    return http.get(url).text


def sockets(address: str) -> str:
    import socket

    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(100).decode()


def urllib_fetch(url: str) -> str:
    from urllib.request import urlopen

    with urlopen(url) as response:
        return response.read().decode()


def process(_: str) -> str:
    import subprocess

    return subprocess.run(["/bin/sh", "-c", "id"], capture_output=True, check=True).stdout.decode()


def system(_: str) -> str:
    status = os.system("id")
    if status != 0:
        raise OSError(f"status {status}")
    return "ran"


def thread(_: str) -> str:
    import threading

    started = threading.Thread(target=endless_loop, args=("",))
    started.start()
    return "started"


def secret(name: str) -> str:
    return secrets.get(name)


def environment(_: str) -> str:
    return repr(dict(os.environ)) + repr(sys.argv)


def read_path(path: str) -> str:
    with open(path) as file:
        return file.read()


def list_path(path: str) -> str:
    return repr(os.listdir(path))


def write_path(path: str) -> str:
    with open(path, "w") as file:
        file.write("written")
    return "written"


def symlink(target: str) -> str:
    os.symlink(target, "/files/escape")
    with open("/files/escape") as file:
        return file.read()


def rename(target: str) -> str:
    os.rename("/files/note.txt", target)
    return "renamed"


def self_call(server: str) -> str:
    return "below: " + mcp.call(server, "attack", how="self_call", arg=server).text


def reenter(server: str) -> str:
    return f"{mcp.call(server, 'attack', how='count').text} {count('')}"


def count(_: str) -> str:
    global COUNTED
    COUNTED += 1
    return str(COUNTED)


@tool
async def attack(how: str, arg: str = "") -> str:
    """Attacks."""
    result = globals()[how](arg)
    return await result if asyncio.isfuture(result) else result

"""What attacks are aimed at, outside of every environment: files, sockets and a process with a secret.

Run as `python -c SOURCE MARKER SECRET HOME RUNTIME`. Says as JSON where everything is, and takes it away when its standard
input ends. Not for what is ptest's: its environments and its store are added by who runs this.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile

marker, secret, home, runtime = sys.argv[1:5]
signal.signal(signal.SIGINT, signal.SIG_IGN)
libc = ctypes.CDLL(None, use_errno=True)
place = tempfile.mkdtemp(prefix="ptest-prove-", dir="/tmp")
made, kept, identifier = [place], [], -1


def file(path):
    with open(path, "w") as opened:
        opened.write(secret)
    made.append(path)
    made.append(path + ".written")
    return path


def optional(make, *arguments):
    try:
        return make(*arguments)
    except OSError:
        return None


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    kept.append(listener)
    if not path.startswith("\0"):
        made.append(path)
    return path


def device():
    for name in sorted(os.listdir("/sys/block")):
        path = "/dev/" + name
        if not name.startswith(("loop", "ram", "zram", "sr")) and os.path.exists(path):
            if stat.S_ISBLK(os.stat(path).st_mode):
                return path
    return None


def set_user_id_program(project):
    source = shutil.which("id")
    if os.getuid() != 0 or source is None:
        return None
    path = shutil.copy(os.path.realpath(source), os.path.join(project, "ptest-prove-id"))
    os.chown(path, 65534, 65534)
    os.chmod(path, 0o4755)
    return path


def shared_segment():
    global identifier
    key = 0x70740000 | os.getpid() & 0xFFFF
    identifier = libc.shmget(key, 4096, 0o1600)
    if identifier < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(identifier, None, 0)
    ctypes.memmove(address, secret.encode(), len(secret))
    return key


project = os.path.join(place, "project")
os.mkdir(project)
tcp = socket.create_server(("127.0.0.1", 0))
kept.append(tcp)
try:
    print(
        json.dumps(
            {
                "secret": secret,
                "marker": marker,
                "left_marker": marker + "-left",
                "victim": os.getpid(),
                "place": place,
                "project": project,
                "temporary_file": file(os.path.join(place, "secret")),
                "handle_place": os.path.join(place, "secret"),
                "home_file": optional(file, os.path.join(home, ".ptest-prove-" + marker)) if home else None,
                "shared_memory": optional(file, "/dev/shm/ptest-prove-" + marker),
                "agent_socket": listen(os.path.join(place, "agent")),
                "daemon_socket": optional(listen, os.path.join(runtime, "ptest-prove-" + marker)) if runtime else None,
                "abstract_socket": listen("\0ptest-prove-" + marker)[1:],
                "port": tcp.getsockname()[1],
                "shm_key": optional(shared_segment),
                "block_device": optional(device),
                "setuid_program": optional(set_user_id_program, project),
            }
        ),
        flush=True,
    )
    while os.read(0, 4096):
        pass
finally:
    if identifier >= 0:
        libc.shmctl(identifier, 0, None)
    for path in reversed(made):
        try:
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        except FileNotFoundError:
            pass

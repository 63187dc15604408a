"""What code that nobody trusts would try. Each function is one attack: it returns what it got, or raises.

Run as `python -c SOURCE NAME`, with what to attack as JSON in the variable PTEST_PROVE. Not for finding out what stops an
attack: that is for who runs it, outside and inside.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import time

FIELD = json.loads(os.environ.get("PTEST_PROVE", "{}"))
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
CALLS = {
    # name: (x86_64, aarch64)
    "add_key": (248, 217),
    "bpf": (321, 280),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "setns": (308, 268),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def call(name, *arguments):
    number = CALLS[name][0 if X86 else 1]
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def read(path):
    with open(path, "rb") as file:
        return file.read(4096)


def write(path, data=b"ptest"):
    with open(path, "ab") as file:
        file.write(data)


def expect(condition, words):
    if not condition:
        raise AssertionError(words)


def target(name):
    expect(FIELD[name] is not None, "this user can make no such target")
    return FIELD[name]


def expect_secret(data):
    expect(FIELD["secret"].encode() in data, "it is not the secret")
    return "the secret"


# --- files of others


def read_environment():
    return expect_secret(read(FIELD["environment"]))


def write_environment():
    write(FIELD["environment"] + ".written")
    return FIELD["environment"] + ".written"


def read_store():
    return f"{len(os.listdir(FIELD['layers']))} layers"


def write_store():
    place = os.path.join(FIELD["layers"], ".ptest-prove")
    write(place)
    os.unlink(place)
    return place


def connect_to_init():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(FIELD["init_socket"])
    return FIELD["init_socket"]


def read_home():
    return expect_secret(read(target("home_file")))


def write_home():
    write(target("home_file") + ".written")
    return target("home_file") + ".written"


def write_system():
    place = "/usr/.ptest-prove"
    write(place)
    os.unlink(place)
    return place


def read_passwords():
    expect(len(read("/etc/shadow")) > 0, "it is empty")
    return "/etc/shadow"


def read_temporary():
    return expect_secret(read(FIELD["temporary_file"]))


def write_temporary():
    write(FIELD["temporary_file"] + ".written")
    return FIELD["temporary_file"] + ".written"


def read_shared_memory():
    return expect_secret(read(target("shared_memory")))


def follow_link_out():
    # A link in what can be written, to what cannot be seen.
    link = os.path.join(FIELD["project"], ".ptest-prove-link")
    try:
        os.symlink(FIELD["temporary_file"], link)
    except FileExistsError:
        pass
    try:
        return expect_secret(read(link))
    finally:
        os.unlink(link)


def use_leaked_descriptor():
    for number in range(3, 256):
        try:
            if FIELD["secret"].encode() in os.pread(number, 4096, 0):
                return f"descriptor {number}"
        except OSError:
            pass
    raise AssertionError("no descriptor leads to the secret")


def read_secret_variable():
    return expect_secret(os.environ["PTEST_PROVE_TOKEN"].encode())


# --- sockets of others


def connect_to_agent():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(FIELD["agent_socket"])
    return FIELD["agent_socket"]


def connect_to_daemon():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(target("daemon_socket"))
    return target("daemon_socket")


def connect_to_abstract_socket():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + FIELD["abstract_socket"])
    return "@" + FIELD["abstract_socket"]


def connect_to_host_loopback():
    with socket.create_connection(("127.0.0.1", FIELD["port"]), timeout=5):
        return f"127.0.0.1:{FIELD['port']}"


def leave_by_any_interface():
    # Nothing is sent: a route is enough.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
        expect(not address.startswith("127."), "only the loopback")
        return f"a route from {address}"


def open_raw_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return "a raw socket"


def open_packet_socket():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
        return "a socket that sees every packet"


def open_cipher_socket():
    with socket.socket(38, socket.SOCK_SEQPACKET):  # AF_ALG
        return "a socket of the kernel's ciphers"


def read_system_v_memory():
    shmat = LIBC.shmat
    shmat.restype = ctypes.c_void_p
    identifier = LIBC.shmget(target("shm_key"), 0, 0)
    expect(identifier >= 0, os.strerror(ctypes.get_errno()))
    place = shmat(identifier, None, 0o10000)
    expect(place not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno()))
    return expect_secret(ctypes.string_at(place, 64))


# --- processes of others


def see_process():
    expect(FIELD["marker"].encode() in read(f"/proc/{FIELD['victim']}/cmdline"), "another process")
    return f"process {FIELD['victim']}"


def read_process_variables():
    return expect_secret(read(f"/proc/{FIELD['victim']}/environ"))


def signal_process():
    expect(FIELD["marker"].encode() in read(f"/proc/{FIELD['victim']}/cmdline"), "another process")
    os.kill(FIELD["victim"], 18)  # SIGCONT
    return f"process {FIELD['victim']}"


def signal_by_descriptor():
    descriptor = call("pidfd_open", FIELD["victim"], 0)
    expect(FIELD["marker"].encode() in read(f"/proc/{FIELD['victim']}/cmdline"), "another process")
    os.close(descriptor)
    return f"process {FIELD['victim']}"


def trace_process():
    victim = FIELD["victim"]
    expect(FIELD["marker"].encode() in read(f"/proc/{victim}/cmdline"), "another process")
    call("ptrace", 0x4206, victim, None, None)  # PTRACE_SEIZE
    return f"process {victim}"


def read_process_memory():
    victim = FIELD["victim"]
    with open(f"/proc/{victim}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{victim}/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        expect(memory.read(4) == b"\x7fELF", "not a program")
    return f"process {victim}"


def copy_process_memory():
    victim = FIELD["victim"]
    with open(f"/proc/{victim}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    buffer = ctypes.create_string_buffer(4)
    local = struct.pack("QQ", ctypes.addressof(buffer), 4)
    remote = struct.pack("QQ", start, 4)
    call("process_vm_readv", victim, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0))
    return f"process {victim}"


def enter_by_root_of_process():
    return expect_secret(read(f"/proc/{FIELD['victim']}/root{FIELD['temporary_file']}"))


def enter_by_root_of_any_process():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                return expect_secret(read(f"/proc/{name}/root{FIELD['temporary_file']}"))
            except (OSError, AssertionError):
                pass
    raise AssertionError("no process shows the secret")


def join_namespaces_of_process():
    descriptor = os.open(f"/proc/{FIELD['victim']}/ns/mnt", os.O_RDONLY)
    call("setns", descriptor, CLONE_NEWNS)
    return "its mounts"


# --- the machine


def unchanged(path):
    value = read(path)
    with open(path, "wb") as file:
        file.write(value)
    return path


def write_setting():
    return unchanged("/proc/sys/vm/swappiness")


def write_core_pattern():
    return unchanged("/proc/sys/kernel/core_pattern")


def press_system_request():
    with open("/proc/sysrq-trigger", "wb") as file:
        file.write(b"h")  # Shows its help in the log.
    return "/proc/sysrq-trigger"


def read_kernel_memory():
    with open("/proc/kcore", "rb") as file:
        expect(file.read(4) == b"\x7fELF", "not the kernel's memory")
    return "/proc/kcore"


def read_kernel_log():
    expect(call("syslog", 3, ctypes.create_string_buffer(64), 64) >= 0, "nothing")
    return "the kernel's log"


def write_kernel_log():
    with open("/dev/kmsg", "wb", buffering=0) as file:
        file.write(b"<7>ptest doctor --prove\n")
    return "/dev/kmsg"


def read_disk():
    with open(target("block_device"), "rb") as file:
        expect(len(file.read(512)) == 512, "nothing")
    return target("block_device")


def make_device():
    place = os.path.join(FIELD["project"], ".ptest-prove-device")
    try:
        os.mknod(place, 0o20600, os.makedev(1, 5))  # /dev/zero
        try:
            expect(len(read(place)) > 0, "nothing")
        finally:
            os.unlink(place)
    except FileExistsError:
        os.unlink(place)
        raise
    return "a device of its own"


def leave_control_group():
    with open("/proc/self/cgroup") as groups:
        for line in groups:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            for root in (f"/sys/fs/cgroup/{controllers}", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                procs = f"{root}{path}/cgroup.procs"
                if os.path.exists(procs):
                    with open(procs, "w") as file:
                        file.write(str(os.getpid()))
                    return procs
    raise AssertionError("no control group is to be seen")


def use_keyring():
    key = call("add_key", b"user", b"ptest-prove", b"x", ctypes.c_ulong(1), ctypes.c_int(-2))
    call("keyctl", 21, ctypes.c_int(key), 0, 0, 0)  # KEYCTL_INVALIDATE
    return "a key"


def load_program_into_kernel():
    # A map of one element is the least that the call makes.
    attributes = struct.pack("IIII", 2, 4, 4, 1) + bytes(112)
    os.close(call("bpf", 0, attributes, len(attributes)))
    return "a map in the kernel"


def count_events_of_the_machine():
    attributes = struct.pack("IIQ", 1, 112, 0) + bytes(96)  # PERF_TYPE_SOFTWARE, the clock
    os.close(call("perf_event_open", attributes, ctypes.c_int(-1), 0, ctypes.c_int(-1), ctypes.c_ulong(0)))
    return "the events of a processor"


def handle_page_faults():
    os.close(call("userfaultfd", 0o2000000))
    return "page faults"


def load_module():
    try:
        call("finit_module", ctypes.c_int(-1), b"", 0)
    except OSError as error:
        # Past the check of privileges: the descriptor is looked at.
        if error.errno == errno.EBADF:
            return "kernel modules"
        raise
    return "kernel modules"


def load_kernel():
    try:
        call("kexec_load", 0, ctypes.c_ulong(1 << 20), None, ctypes.c_ulong(0))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return "another kernel"
        raise
    return "another kernel"


def open_by_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    place = FIELD["handle_place"].encode()
    call("name_to_handle_at", -100, place, handle, ctypes.byref(mount), 0)
    directory = os.open(os.path.dirname(FIELD["handle_place"]), os.O_RDONLY)
    os.close(call("open_by_handle_at", directory, handle, os.O_RDONLY))
    return "a file by its number"


def mount_file_system():
    place = os.path.join(FIELD["project"], ".ptest-prove-mount")
    os.makedirs(place, exist_ok=True)
    try:
        call("mount", b"ptest", place.encode(), b"tmpfs", ctypes.c_ulong(0), None)
        call("umount2", place.encode(), 2)
    finally:
        os.rmdir(place)
    return place


def mount_in_new_namespaces():
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    call("mount", b"ptest", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None)
    return "a file system in a user namespace"


def make_user_namespace():
    call("unshare", CLONE_NEWUSER)
    return "a user namespace"


def use_io_uring():
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120)))
    return "a ring"


def change_host_name():
    socket.sethostname(socket.gethostname())
    return "the host's name"


def change_clock():
    buffer = ctypes.create_string_buffer(256)
    buffer[0:4] = struct.pack("I", 0x10)  # ADJ_STATUS, to what it is
    current = ctypes.create_string_buffer(256)
    expect(LIBC.adjtimex(current) >= 0, "it cannot be read")
    status = struct.unpack_from("i", current, 40)[0]
    struct.pack_into("i", buffer, 40, status)
    expect(LIBC.adjtimex(buffer) >= 0, os.strerror(ctypes.get_errno()))
    return "the clock"


def raise_priority():
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
    return "a higher priority"


def escape_chroot():
    place = os.path.join(FIELD["project"], ".ptest-prove-root")
    os.makedirs(place, exist_ok=True)
    try:
        outside = os.open("/", os.O_RDONLY)
        os.chroot(place)
        os.fchdir(outside)
        os.chroot(".")
        data = read(FIELD["temporary_file"])
    finally:
        try:
            os.rmdir(place)
        except OSError:
            pass
    return expect_secret(data)


def gain_by_set_user_id():
    if not FIELD["setuid_program"]:
        return gain_by_a_program_of_the_system()
    output = subprocess.run([FIELD["setuid_program"], "-u"], stdout=subprocess.PIPE, check=True).stdout
    expect(int(output) != os.getuid(), "the same user")
    return f"user {int(output)}"


def gain_by_a_program_of_the_system():
    # It asks for a password, and is root meanwhile.
    program = next(path for path in ("/usr/bin/su", "/bin/su") if os.path.exists(path))
    silent = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([program], **silent) as started:
        try:
            end = time.monotonic() + 5
            while time.monotonic() < end and started.poll() is None:
                status = read(f"/proc/{started.pid}/status").decode()
                user = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2]
                if user == "0":
                    return "root"
                if os.readlink(f"/proc/{started.pid}/exe").endswith("/su"):
                    break
        except PermissionError:
            # What is root's cannot be looked at.
            return "root"
        finally:
            started.kill()
    raise AssertionError("the same user")


def type_into_terminal():
    import fcntl
    import pty
    import termios

    # In a child, whose terminal it becomes.
    pid, controller = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, termios.TIOCSTI, b"x")
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else (
        os.waitpid(pid, 0)[1] >> 8
    )
    os.close(controller)
    if code:
        raise OSError(code, os.strerror(code))
    return "input of a terminal"


# --- more than its share


def start_many_processes():
    started = []
    try:
        for _ in range(300):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            started.append(pid)
    finally:
        for pid in started:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return "300 processes"


def take_memory():
    taken = bytearray(400 << 20)
    for place in range(0, len(taken), 4096):
        taken[place] = 1
    return "400 MiB"


def fill_disk():
    place = os.path.join(FIELD.get("prefix") or os.environ["VIRTUAL_ENV"], ".ptest-prove-file")
    try:
        with open(place, "wb") as file:
            for _ in range(200):
                file.write(b"x" * (1 << 20))
                file.flush()
                time.sleep(0.005)
        time.sleep(0.5)
    finally:
        os.unlink(place)
    return "200 MiB"


def open_many_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1000)]
    for descriptor in opened:
        os.close(descriptor)
    return "1000 files"


def compute_without_end():
    end = time.process_time() + 3
    while time.process_time() < end:
        pass
    return "3 seconds of a processor"


def stay_behind():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.execv("/bin/sh", ["sh", "-c", f"sleep 60; : {FIELD['left_marker']}"])
    os.waitpid(pid, 0)
    return "a process in a session of its own"


if __name__ == "__main__":
    try:
        print(json.dumps({"done": True, "detail": globals()[sys.argv[1]]()}))
    except BaseException as error:
        print(json.dumps({"done": False, "detail": f"{type(error).__name__}: {error}"}))

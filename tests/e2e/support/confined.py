"""Runs a program under what a systemd unit forbids, where no systemd runs.

    confined.py UNIT USER WRITABLE|- PROGRAM ARGUMENT...

As root: a mount namespace in which WRITABLE alone can be written ("-": `data` beside the file that the last argument
names), the unit's limits, capabilities and user, then its filters of system calls, address families, name spaces and
memory, built with libseccomp from what `systemd-analyze syscall-filter` says is in each set.
"""

import ctypes
import errno
import os
import pwd
import re
import resource
import subprocess
import sys

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQ, MASKED_EQ = 4, 7
PROT_WRITE, PROT_EXEC = 2, 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
NAMESPACES = 0x7E020080  # every CLONE_NEW…


def read_unit(path):
    """Every setting with all its values, in order."""
    found = {}
    for line in open(path):
        match = re.match(r"([A-Za-z]+)=(.*)", line.strip())
        if match:
            found.setdefault(match.group(1), []).append(match.group(2))
    return found


def read_sets():
    """The sets of system calls, by name, with what stands in each."""
    line = ["systemd-analyze", "--no-pager", "syscall-filter"]
    text = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    sets, name = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            sets[name] = []
        elif line.startswith(" ") and not word.startswith("#"):
            sets[name].append(word)
    return sets


def members(name, sets={}):
    """The system calls of a set, sets within it included."""
    if not name.startswith("@"):
        return {name}
    if not sets:
        sets.update(read_sets())
    return set().union(*(members(word) for word in sets[name]))


def system_calls(lines):
    """What several SystemCallFilter= lines leave: the first says that it is a list of what is allowed."""
    allowed = members("@default")
    for line in lines:
        out = line.startswith("~")
        for name in line.lstrip("~").split():
            # A list that begins with what is allowed always keeps the default set.
            allowed = allowed - (members(name) - members("@default")) if out else allowed | members(name)
    return allowed


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    def __init__(self, default):
        self.library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action, name, compares=()):
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return  # a name of another architecture
        array = (Compare * max(1, len(compares)))(*compares)
        result = self.library.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(compares)), array
        )
        # EACCES: what the filter does anyway.
        if result not in (0, -errno.EACCES):
            raise OSError(-result, name)

    def load(self):
        result = self.library.seccomp_load(self.context)
        if result != 0:
            raise OSError(-result, "seccomp_load")


def has_bits(argument, mask):
    return Compare(argument, MASKED_EQ, mask, mask)


def filters(unit):
    """As systemd: a filter for each setting; the strictest of them counts."""
    calls = Filter(ERRNO | errno.EPERM)
    for name in sorted(system_calls(unit["SystemCallFilter"])):
        calls.rule(ALLOW, name)
    families = Filter(ALLOW)
    known = [FAMILIES[name] for name in unit["RestrictAddressFamilies"][0].split()]
    for family in range(0, 64):
        if family not in known:
            families.rule(ERRNO | errno.EAFNOSUPPORT, "socket", [Compare(0, EQ, family, 0)])
    memory = Filter(ALLOW)
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        memory.rule(ERRNO | errno.EPERM, "mmap", [has_bits(2, PROT_WRITE | PROT_EXEC)])
        for name in ("mprotect", "pkey_mprotect"):
            memory.rule(ERRNO | errno.EPERM, name, [has_bits(2, PROT_EXEC)])
    spaces = Filter(ALLOW)
    if unit["RestrictNamespaces"] == ["yes"]:
        for bit in range(0, 32):
            if NAMESPACES & (1 << bit):
                for name in ("unshare", "clone"):
                    spaces.rule(ERRNO | errno.EPERM, name, [has_bits(0, 1 << bit)])
        spaces.rule(ERRNO | errno.EPERM, "setns")
        spaces.rule(ERRNO | errno.ENOSYS, "clone3")
    # The one that forbids loading others comes last.
    return [families, memory, spaces, calls]


def seal_disk(writable):
    """In a mount namespace of its own: nothing but `writable` can be written."""
    subprocess.run(["mount", "--bind", writable, writable], check=True)
    for line in open("/proc/self/mounts").read().splitlines():
        point = line.split()[1].encode().decode("unicode_escape")
        if point != writable and not point.startswith(("/proc", "/sys", "/dev")):
            subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)


def hide_processes(unit):
    """What is left of /proc: processes, and of those the user's own."""
    assert unit["ProcSubset"] == ["pid"] and unit["ProtectProc"] == ["invisible"]
    subprocess.run(["mount", "-t", "proc", "-o", "subset=pid,hidepid=invisible", "proc", "/proc"], check=True)


def limits(unit):
    # LimitMEMLOCK=infinity needs a privilege that containers may lack; what there is stays then.
    for name, kind in (("LimitMEMLOCK", resource.RLIMIT_MEMLOCK), ("LimitCORE", resource.RLIMIT_CORE),
                       ("LimitNOFILE", resource.RLIMIT_NOFILE)):
        value = unit[name][0]
        number = resource.RLIM_INFINITY if value == "infinity" else int(value)
        try:
            resource.setrlimit(kind, (number, number))
        except (ValueError, PermissionError):
            print(f"confined.py: {name}={value} could not be set", file=sys.stderr)


def main():
    if sys.argv[1] == "--inside":
        inside(sys.argv[2], sys.argv[3:])
    unit_file, user, writable, *program = sys.argv[1:]
    if "--in-namespace" not in os.environ.get("CONFINED", ""):
        os.environ["CONFINED"] = "--in-namespace"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    unit = read_unit(unit_file)
    assert unit["ProtectSystem"] == ["strict"] and unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    if writable == "-":
        folder = os.path.dirname(os.path.abspath(program[-1]))
        os.chmod(folder, 0o711)
        writable = os.path.join(folder, "data")
    account = pwd.getpwnam(user)
    subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", writable], check=True)
    seal_disk(writable)
    hide_processes(unit)
    limits(unit)
    os.umask(int(unit["UMask"][0], 8))
    for assignment in unit.get("Environment", []):
        name, value = assignment.split("=", 1)
        os.environ[name] = value
    del os.environ["CONFINED"]
    capability = "-all,+net_bind_service"
    os.execvp("setpriv", [
        "setpriv", "--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups", "--no-new-privs",
        "--inh-caps", capability, "--ambient-caps", capability, "--bounding-set", capability,
        sys.executable, __file__, "--inside", unit_file, *program,
    ])


def inside(unit_file, program):
    for one in filters(read_unit(unit_file)):
        one.load()
    os.execvp(program[0], program)


main()

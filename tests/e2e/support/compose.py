"""Does by hand what `docker compose up` would do with a file, and sends a mail through what runs then.

    compose.py FILE PROGRAM FOLDER

As root, in a mount, network and process namespace of its own (it makes them itself). Each service gets a network
namespace with the addresses that the file gives it, and a root: for the gateway's image what packaging/rootfs puts
together, for a stand-in this machine's own system under an overlay, with the files that its Dockerfile copies. Volumes
are folders in FOLDER/volumes. What the file says about users, privileges and mounts is done; what is not known here is
an error, so that nothing in the file goes untried.
"""

import ctypes
import glob
import json
import os
import subprocess
import sys
import time

import yaml

KNOWN = {"build", "command", "depends_on", "networks", "network_mode", "volumes", "read_only", "tmpfs", "cap_drop",
         "security_opt", "sysctls", "ulimits", "stop_grace_period", "restart"}


def run(*line, **more):
    return subprocess.run([str(word) for word in line], check=True, **more)


def dockerfile(path):
    """The last stage's instructions, continued lines joined."""
    text = open(path).read().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for word, _ in lines:
        assert word in {"FROM", "RUN", "COPY", "WORKDIR", "LABEL", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL",
                        "HEALTHCHECK", "ENTRYPOINT", "CMD"}, word
    last = max(at for at, (word, _) in enumerate(lines) if word == "FROM")
    return lines[last:]


def value(stage, word, default=None):
    found = [rest for name, rest in stage if name == word]
    return found[-1] if found else default


class Service:
    def __init__(self, name, said, base, folder, program):
        unknown = set(said) - KNOWN
        assert not unknown, f"{name}: {unknown}"
        self.name, self.said = name, said
        self.root = f"{folder}/roots/{name}"
        context = os.path.join(base, said["build"])
        stage = dockerfile(os.path.join(context, "Dockerfile"))
        self.entry = json.loads(value(stage, "ENTRYPOINT"))
        self.health = value(stage, "HEALTHCHECK")
        user = value(stage, "USER", "0:0")
        self.user = [int(part) for part in user.split(":")]
        os.makedirs(self.root)
        if value(stage, "FROM").split()[0] == "scratch":
            run(os.path.join(base, "packaging/rootfs"), program, self.root)
            run("mount", "--bind", self.root, self.root)
        else:
            upper, work = f"{folder}/upper/{name}", f"{folder}/work/{name}"
            os.makedirs(upper), os.makedirs(work)
            run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", self.root)
            for word, rest in stage:
                if word == "COPY":
                    source, target = rest.split()
                    run("install", "-D", "-m", "0755", os.path.join(context, source), self.root + target)
        for point in ("proc", "dev"):
            os.makedirs(f"{self.root}/{point}", exist_ok=True)
            run("mount", "--rbind", f"/{point}", f"{self.root}/{point}")

    def mounts(self, folder):
        for volume in self.said.get("volumes", []):
            source, target, *mode = volume.split(":")
            place = f"{folder}/volumes/{source}"
            inside = self.root + target
            os.makedirs(inside, exist_ok=True)
            if not os.path.isdir(place):
                # As Docker: a new volume begins as what is in the image at that place.
                run("cp", "-a", inside, place)
            run("mount", "--bind", place, inside)
            if mode == ["ro"]:
                run("mount", "-o", "remount,bind,ro", inside)
        for point in self.said.get("tmpfs", []):
            run("mount", "-t", "tmpfs", "tmpfs", self.root + point)
        if self.said.get("read_only"):
            run("mount", "-o", "remount,bind,ro", self.root)

    def network(self):
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        for number, (network, how) in enumerate(self.said.get("networks", {}).items()):
            near, far = f"{self.name[:8]}{number}", f"eth{number}"
            run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
            run("ip", "link", "set", near, "master", f"br-{network}", "up")
            run("ip", "-n", self.name, "addr", "add", how["ipv4_address"] + "/24", "dev", far)
            run("ip", "-n", self.name, "link", "set", far, "up")
        for name, number in self.said.get("sysctls", {}).items():
            path = "/proc/sys/" + name.replace(".", "/")
            run("ip", "netns", "exec", self.name, "sh", "-c", f"echo {number} > {path}")

    def line(self, command):
        """What runs `command` in the service, as `docker exec` does."""
        strict = "no-new-privileges:true" in self.said.get("security_opt", []) and self.said.get("cap_drop") == ["ALL"]
        inside = [sys.executable, __file__, "--inside", self.root, *map(str, self.user), str(int(strict))]
        return ["ip", "netns", "exec", self.name, *inside, *command]

    def start(self):
        return subprocess.Popen(self.line([*self.entry, *self.said["command"]]), stdin=subprocess.DEVNULL)


def inside(root, user, group, strict, *command):
    """In the service's root, as its user, without privileges where the file says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.chroot(root)
    os.chdir("/")
    if strict == "1":
        for capability in range(64):
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    os.setgroups([])
    os.setresgid(int(group), int(group), int(group))
    os.setresuid(int(user), int(user), int(user))
    if strict == "1":
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    os.execve(command[0] if command[0].startswith("/") else "/usr/bin/env", command if command[0].startswith("/") else ["env", *command],
              {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})


def wait(what, question):
    for _ in range(600):
        if found := question():
            return found
        time.sleep(0.1)
    sys.exit(f"{what}: not in time")


def send(service, sender, recipient, subject):
    mail = f"From: {sender}\nTo: {recipient}\nSubject: {subject}\n\nSalam.\n"
    run(*service.line(["sendmail", "-C", "/etc/stand-in", "-f", sender, recipient]), input=mail.encode())


def arrived(folder, volume, subject):
    for name in glob.glob(f"{folder}/volumes/{volume}/all/new/*"):
        if f"Subject: {subject}" in open(name, errors="replace").read():
            return name


def main(file, program, folder):
    said = yaml.safe_load(open(file))
    base = os.path.dirname(os.path.abspath(file))
    os.makedirs(f"{folder}/volumes")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for network in said["networks"]:
        run("ip", "link", "add", f"br-{network}", "type", "bridge")
        run("ip", "link", "set", f"br-{network}", "up")
    services = {name: Service(name, how, base, folder, program) for name, how in said["services"].items()}
    running = {}
    for name, service in services.items():
        for before, how in service.said.get("depends_on", {}).items():
            assert how == {"condition": "service_completed_successfully"} and running[before].wait() == 0, before
        service.mounts(folder)
        service.network()
        running[name] = service.start()
    gateway = services["gateway"]
    wait("the gateway", lambda: os.path.exists(f"{folder}/volumes/data/control.sock"))
    status = open(f"/proc/{gateway_process(gateway)}/status").read()
    for line in ("Uid:\t10025", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status, (line, status)
    segel = gateway.entry
    run(*gateway.line([*segel, "key", "import", "--address", "siti@kabupaten.go.id", "--password-file",
                       "/etc/segel/password", "/etc/segel/siti.p12"]))
    if b"health" in subprocess.run(gateway.line([*segel, "--help"]), stdout=subprocess.PIPE).stdout:
        run(*gateway.line(json.loads(gateway.health.split("CMD ")[1])))
    wait("the mail servers", lambda: all(
        os.path.exists(f"{services[name].root}/var/spool/stand-in/pid/master.pid") for name in ("mailserver", "internet")))
    send(services["mailserver"], "siti@kabupaten.go.id", "rina@mitra.example", "out")
    print("signed", wait("the signed mail", lambda: arrived(folder, "internet", "out")))
    send(services["internet"], "rina@mitra.example", "siti@kabupaten.go.id", "back")
    print("judged", wait("the judged mail", lambda: arrived(folder, "mailserver", "back")))
    running["gateway"].terminate()
    print("stopped", running["gateway"].wait())


def gateway_process(gateway):
    """The program itself: what was started became it."""
    for status in glob.glob("/proc/[0-9]*/root"):
        try:
            if os.readlink(status) == gateway.root and "segel" in open(os.path.dirname(status) + "/comm").read():
                return status.split("/")[2]
        except OSError:
            pass
    sys.exit("the gateway does not run")


if sys.argv[1] == "--inside":
    inside(*sys.argv[2:])
elif os.environ.get("COMPOSE") != "inside":
    os.environ["COMPOSE"] = "inside"
    os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
                          sys.executable, *sys.argv])
else:
    main(*sys.argv[1:])

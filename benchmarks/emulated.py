"""Benchmarks of guests: the same case in the same emulated PC, under Bulkhead and on Linux with KVM.

One processor and instruction counting: one instruction of anybody (guest, hypervisor, Linux, monitor) is one nanosecond
of every clock inside, and two runs are equal.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.environ["BENCH_WORK"]
os.environ.setdefault("MACHINE_WORK", WORK)
sys.path.insert(0, os.path.join(ROOT, "tests/machine"))
import guests  # noqa: E402
import pc as machine  # noqa: E402
import quick  # noqa: E402
import session as sessions  # noqa: E402

HOW = {"ours": "multiboot", "kvm": "bare-multiboot"}


def build(*targets):
    """The products, and targets that are not built by default. Returns Meson's folder."""
    folder = quick.build_folder()
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, ROOT], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, CC="gcc"))
    subprocess.run(["ninja", "-C", folder, "--quiet", "all", *targets], check=True, stdout=sys.stderr)
    return folder


def run_case(side, case, files, modules=(), extra=()):
    """Boots one side and runs one case, a file of the building machine. `files`: more of them, {path inside: file};
    `modules` of its Linux; `extra` arguments of QEMU. Returns the values that the case reported, {key: text}."""
    name = os.path.basename(os.path.dirname(case))
    print(f"running: {side}", file=sys.stderr, flush=True)
    folder = os.path.join(WORK, side)
    os.makedirs(folder, exist_ok=True)
    initrd = quick.initrd(os.path.join(folder, "initrd"), modules=("kvm_amd", *modules),
                          extra=dict(files, **{f"cases/{name}": case}))
    boot = quick.boot(HOW[side], folder, [name], initrd_path=initrd, more="loglevel=2")
    with machine.Pc(f"{side}-pc", boot, cpus=1, icount=machine.ICOUNT, network=False, scratch_mib=0,
                    extra=extra) as pc:
        pc.start()
        session = sessions.Session(pc).run(3600)
    if session.up["bulkhead"] != ("yes" if side == "ours" else "no"):
        raise SystemExit(f"{name}: the {side} run says bulkhead={session.up['bulkhead']}")
    verdict, reason = session.results.get(name, ("not ok", "it did not finish"))
    if verdict != "ok":
        raise SystemExit(f"{name}: {side}: {reason}; serial log: {pc.log}")
    return session.values


def write(rows):
    with open(os.environ["BENCH_ROWS"], "a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")

#!/usr/bin/env python3
"""Runs boots of suite machine and prints TAP. Usage: tests/machine/run.py BOOT...   (--list prints all names)

With --in-turns, rows that take turns (share.py) are skipped when it is not theirs."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boots  # noqa: E402
import pc as machine  # noqa: E402
import quick  # noqa: E402
import share  # noqa: E402
import session as sessions  # noqa: E402

# Linux tells a soft lockup by a clock that it sets by the host's: on a busy host it has told of some where none was. What
# really hangs meets the row's limit.
NO_WATCH = "nosoftlockup"


def run(boot, tap):
    """Boots once and reports each case, each check, and that the PC ended by itself."""
    print(f"# {boot.name}: {boot.how}, serial log out/machine/{boot.name}/serial.log", flush=True)
    folder = os.path.join(machine.WORK, f"{boot.name}.files")
    ram = None
    if boot.files or boot.modules:
        ram = quick.initrd(os.path.join(folder, "initrd"), series=boot.series, modules=boot.modules,
                           extra=boot.files() if boot.files else None)
    # What a case does not come back from starts the others anew; see tests/machine/inside/cases/kexec.
    how = quick.boot(boot.how, folder, boot.first or boot.cases, more=f"{NO_WATCH} {boot.more}", after=boot.after,
                     series=boot.series, configuration=boot.configuration, initrd_path=ram, timer=boot.timer)
    sources = {"kernel": os.path.join(quick.kernel_folder(boot.series), "vmlinuz"),
               "initrd": ram or os.path.join(folder, "initrd")}
    for place, name in boot.esp.items():
        how.files[place] = sources[name]
    extra = boot.drives() if boot.drives else ()
    with machine.Pc(boot.name, how, extra=extra, **boot.pc) as pc:
        pc.start()
        session = sessions.Session(pc, boot.buttons)
        problem = ""
        try:
            if boot.until:
                session.run_until(boot.until)
            else:
                session.run(boot.seconds or machine.SECONDS)
                pc.wait_end()
        except machine.MachineError as error:
            problem = str(error)
        for case in boot.cases:
            verdict, reason = session.results.get(case, ("not ok", "the case did not finish"))
            tap.report(verdict, f"{boot.name}.{case}", f"{reason}; serial log: {pc.log}" if reason else "")
        for check in boot.checks:
            reason = check(session, pc) if not problem else "the boot failed"
            tap.report("not ok" if reason else "ok", f"{boot.name}.{check.__name__}", reason)
        tap.report("not ok" if problem else "ok", f"{boot.name}.ran_to_its_end", problem)


def main():
    rows = {boot.name: boot for boot in boots.BOOTS}
    if sys.argv[1:] == ["--list"]:
        print("\n".join(rows))
        return 0
    names = [name for name in sys.argv[1:] if name != "--in-turns"]
    unknown = [name for name in names if name not in rows]
    if unknown or not names:
        print(f"run.py: no boot '{' '.join(unknown)}'; there are: {' '.join(rows)}", file=sys.stderr)
        return 2
    tap = sessions.Tap()
    # Named by Meson, a row that takes turns runs only on its own.
    in_turns = [boot.name for boot in boots.BOOTS if boot.in_turns]
    chosen = share.of(in_turns, boots.SHARE) if "--in-turns" in sys.argv else in_turns
    for name in names:
        if rows[name].in_turns and name not in chosen:
            tap.report("skip", name, "not this turn's; CHECK_TURN=all runs every row")
        else:
            run(rows[name], tap)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())

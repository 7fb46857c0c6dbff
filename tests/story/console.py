"""The person's console on a real terminal (a pty): guests of two agents, one key brings one to the front, keys reach the
guest that the last line names, and a guest's escape sequences change nothing of that line.

The agents are real protocol ends played here, so that their guests can be as hostile as a test wants; what the screen
shows is read back through tmux, as a person's terminal emulator would show it.
"""
import json
import os
import re
import socket
import subprocess
import threading
import time

from company import Failure, Process, program, run, tell, wait_for

ROWS, COLUMNS = 24, 90
SPOOF = b"\x1b[24;1H\x1b[2K\x1b[7mIN FRONT: personal (yours)\x1b[99;99H\n\n\n\x1b[?1049h\x1b[24;1HIN FRONT: personal\x1b[8;99;99t"

QUESTIONS = b"\x1b[c\x1b[>c\x1b[5n\x1b[21t\x1b[18t\x1b]11;?\x07\x1bP$qm\x1b\\\x05"  # who it is, how it is, its title, size, colour


class Agent:
    """Answers what the console asks, and owns its guests' console sockets."""

    def __init__(self, path, state, guests):
        self.path, self.state, self.guests = path, state, {guest["name"]: guest for guest in guests}
        self.typed, self.asked, self.phrases, self.requests, self.consoles = {}, [], [], [], {}
        self.slow, self.refuses = None, {}  # a call that is not answered yet; what is said to others
        self.guests_read = threading.Event()
        self.guests_read.set()
        for name in self.guests:
            os.makedirs(f"{path}.guests/{name}")
            self.listen(f"{path}.guests/{name}/console", lambda connection, name=name: self.console(name, connection))
        self.listen(path, self.answer)

    def requests_of(self, call):
        return [request for request in self.requests if request["call"] == call]

    @staticmethod
    def listen(path, serve):
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()

        def accept():
            while True:
                connection, _ = server.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()

    def answer(self, connection):
        request = json.loads(connection.makefile().readline())
        call = request["call"]
        self.asked.append((call, request.get("guest")))
        self.requests.append(request)
        while call == self.slow:
            time.sleep(0.05)
        self.phrases += [request["phrase"]] if "phrase" in request else []
        if call == "start":
            self.guests[request["guest"]]["state"] = "running"
        reply = {"status": self.state, "list": list(self.guests.values())}.get(call)
        reply = {"error": self.refuses[call]} if call in self.refuses else {"result": reply}
        connection.sendall(json.dumps(reply).encode() + b"\n")
        connection.close()

    def console(self, name, connection):
        self.consoles[name] = connection
        self.typed.setdefault(name, b"")
        connection.sendall(f"this is {name}\r\nlogin: ".encode())
        self.guests_read.wait()
        while data := connection.recv(4096):
            self.typed[name] += data
            connection.sendall(data)


class Screen:
    """A terminal that a program runs in."""

    def __init__(self, directory, words):
        self.words = ["tmux", "-S", os.path.join(directory, "tmux"), "-f", "/dev/null"]
        run(*self.words, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-s", "s", *words)
        run(*self.words, "set-option", "-g", "status", "off")

    def lines(self):
        text = subprocess.run([*self.words, "capture-pane", "-p", "-t", "s"], capture_output=True, text=True, check=False)
        return (text.stdout.split("\n") + [""] * ROWS)[:ROWS]

    def press(self, *keys):
        run(*self.words, "send-keys", "-t", "s", *keys)

    def wait(self, what, true):
        try:
            return wait_for(what, lambda: true(self.lines()))
        except Failure as failure:
            raise Failure(f"{failure}; the screen:\n" + "\n".join(self.lines())) from failure

    def stop(self):
        subprocess.run([*self.words, "kill-server"], check=False, capture_output=True)


def played(directory, keep):
    lease = {"serial": 3, "not_after": 4070908800, "powered_seconds_left": 360000, "starts_left": 40}
    company = Agent(os.path.join(directory, "company"),
                    {"enrolled": True, "status": "active", "vault": {"enforcement": "tpm", "open": True, "lease": lease},
                     "policy": {"usb": {"value": ["storage"], "from": "default",
                                        "enforced_by": "not enforced by this version"}}},
                    [{"name": "work", "state": "running", "release": 2, "last_backup": 1767225600}])
    personal = Agent(os.path.join(directory, "personal"), {"personal": True, "enrolled": False, "vault": {}},
                     [{"name": "personal", "state": "stopped", "release": 0}])
    screen = Screen(directory, [program("bulkhead"), "console", "--socket", company.path, "--personal-socket", personal.path])
    keep(screen)
    return company, personal, screen


def overview_shows_guests_lease_policy_and_what_the_company_sees(directory, keep):
    _, _, screen = played(directory, keep)
    lines = screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1] and lines)
    text = "\n".join(lines)
    for words in ("work", "company's", "personal", "yours", "enforced by the TPM", "usb [\"storage\"] (default, not enforced)",
                  "40 starts", "2026-01-01", "What the company sees", "What it cannot see"):
        assert words in text, f"no '{words}' on the screen:\n{text}"
    print("# " + "\n# ".join(lines))


def what_is_typed_waits_for_a_guest_that_is_slow(directory, keep):
    company, _, screen = played(directory, keep)
    company.guests_read.clear()
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("1")
    screen.wait("work in front", lambda lines: "IN FRONT: work" in lines[-1])
    pasted = "".join(f"{i:04} " for i in range(600))
    screen.press("-l", pasted)
    screen.press("F12")
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    company.guests_read.set()
    wait_for("all of it at the guest", lambda: company.typed["work"] == pasted.encode())


def one_key_brings_a_guest_to_the_front_and_keys_reach_only_it(directory, keep):
    company, personal, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("1")
    screen.wait("work in front", lambda lines: "IN FRONT: work" in lines[-1] and "this is work" in lines[0])
    screen.press("h", "i", "Up")
    wait_for("keys at the guest", lambda: company.typed["work"] == b"hi\x1b[A" or company.typed["work"] == b"hi\x1bOA")
    screen.press("F12")
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("Down", "s")
    screen.wait("the start", lambda lines: "personal: started" in lines[-1])
    assert ("start", "personal") in personal.asked
    screen.press("M-2")
    screen.wait("personal in front", lambda lines: "IN FRONT: personal (yours)" in lines[-1] and "this is personal" in lines[0])
    screen.press("x")
    wait_for("the key at the guest", lambda: personal.typed["personal"] == b"x")
    assert company.typed["work"].startswith(b"hi") and b"x" not in company.typed["work"]


def a_person_goes_back_and_gets_their_words_without_a_shell(directory, keep):
    company, _, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("r")
    screen.wait("the question", lambda lines: "back to the release before?" in lines[-1])
    screen.press("Up")
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("r")
    screen.wait("the question", lambda lines: "back to the release before?" in lines[-1])
    assert ("revert", "work") not in company.asked
    screen.press("r")
    screen.wait("the answer", lambda lines: "is used from the next start on" in lines[-1])
    assert ("revert", "work") in company.asked
    screen.press("w")
    lines = screen.wait("the words", lambda lines: "nine words" in lines[1] and lines)
    print("# " + "\n# ".join(lines[:8]))
    assert len(company.phrases) == 1 and len(company.phrases[0].split()) == 9 and lines[3].strip() == company.phrases[0], lines[3]
    screen.press("s")
    screen.wait("no words", lambda lines: "IN FRONT: Bulkhead" in lines[-1] and company.phrases[0] not in "\n".join(lines))
    assert ("start", "work") not in company.asked, "the key that ends the words did something else"


def a_person_enrols_by_a_token_that_they_type(directory, keep):
    company, _, screen = played(directory, keep)
    company.state["enrolled"] = False
    company.refuses["enrol"] = "this is no enrolment token; it begins with bh1- and is one word " + "and much " * 5 + "more"
    lines = screen.wait("the hint", lambda lines: "n does it, with a token" in "\n".join(lines) and lines)
    screen.press("n")
    screen.wait("the form", lambda lines: "device of your company" in lines[1] and "Esc gives up" in lines[-1])
    screen.press("bh1-wrong", "Enter", "C-u", "mine", "Enter")
    screen.wait("why not, whole", lambda lines: "this PC: this is no enrolment token" in lines[-1] and "and much more" in
                " ".join(line.strip() for line in lines))
    company.refuses.clear()
    screen.press("n")
    screen.press("bh1-eyXX", "BSpace", "BSpace", "Jj", "Enter", "C-u", "laptop")
    lines = screen.wait("the name", lambda lines: "laptop" in "\n".join(lines) and lines)
    print("# " + "\n# ".join(lines[:14]))
    screen.press("Enter")
    screen.wait("that it is done", lambda lines: "this PC: enrolled" in lines[-1])
    assert company.requests_of("enrol")[-1] == {"call": "enrol", "token": "bh1-eyJj", "name": "laptop"}, company.requests


def a_form_is_given_up_by_escape_and_by_a_guest_in_front(directory, keep):
    company, personal, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    for leave, seen in (("Escape", "IN FRONT: Bulkhead | 1-9"), ("M-1", "IN FRONT: work"), ("F12", "IN FRONT: Bulkhead | 1-9")):
        screen.press("g")
        screen.wait("the form", lambda lines: "the data of work, from your company's server" in "\n".join(lines))
        screen.press("1", "lusab")
        screen.wait("the words", lambda lines: "lusab" in "\n".join(lines))
        screen.press(leave)
        screen.wait("that it is gone", lambda lines: seen in lines[-1] and "lusab" not in "\n".join(lines))
        screen.press("F12")
        screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead | 1-9" in lines[-1])
    assert not company.requests_of("restore") and not personal.requests_of("personal")
    wait_for("the guest's console", lambda: "work" in company.typed)
    assert b"lusab" not in company.typed["work"]


def a_person_gets_their_data_back_and_uses_a_guest_meanwhile(directory, keep):
    company, _, screen = played(directory, keep)
    company.slow = "restore"
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("g", "1", "lusab babab", "Enter")
    screen.wait("what is wrong", lambda lines: "word 1 is none" in "\n".join(lines) or "nine words of one" in "\n".join(lines))
    screen.press("C-u", "rinul gohab puvaz bolot gihoj pusor suzat mihul varab", "Enter")
    screen.wait("that it goes on", lambda lines: "work: under way" in lines[-1])
    screen.press("b")
    screen.wait("that it waits", lambda lines: "wait until work is done" in lines[-1])
    screen.press("M-1")
    screen.wait("work in front", lambda lines: "IN FRONT: work" in lines[-1] and "this is work" in lines[0])
    company.slow = None
    screen.press("F12")
    screen.wait("that it is done", lambda lines: "work: restored" in lines[-1])
    assert company.requests_of("restore") == [{"call": "restore", "guest": "work", "phrase":
                                               "rinul gohab puvaz bolot gihoj pusor suzat mihul varab"}]
    assert not company.requests_of("backup")


def a_person_removes_only_a_guest_of_their_own_and_says_so_twice(directory, keep):
    company, personal, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("x")
    screen.wait("the refusal", lambda lines: "work is your company's" in lines[-1])
    screen.press("Down", "x")
    screen.wait("the question", lambda lines: "personal: gone for good" in lines[-1])
    screen.press("d")
    screen.wait("the description", lambda lines: "described anew" in lines[-1])
    screen.press("x", "x")
    screen.wait("the end", lambda lines: "personal: removed" in lines[-1])
    assert [request["do"] for request in personal.requests_of("personal")] == ["describe", "remove"]
    screen.press("h")
    lines = screen.wait("the keys", lambda lines: "Keys" in lines[1] and lines)
    print("# " + "\n# ".join(lines))
    screen.press("q")
    screen.wait("the overview", lambda lines: "WHOSE" in "\n".join(lines))


def escapes_of_a_guest_do_not_paint_over_the_line_that_says_who_is_in_front(directory, keep):
    company, _, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("M-1")
    screen.wait("work in front", lambda lines: "this is work" in lines[0])
    company.consoles["work"].sendall(SPOOF + b"\x1b[1;1Hdone with it")
    lines = screen.wait("the guest's output", lambda lines: "done with it" in lines[0] and lines)
    assert lines[-1].startswith(" IN FRONT: work (company's), running"), lines[-1]
    print("# " + lines[-1])


def without_the_console_between_the_same_escapes_succeed(directory, keep):
    """The control: the same bytes straight on the terminal."""
    path = os.path.join(directory, "bytes")
    with open(path, "wb") as file:
        file.write(SPOOF)
    screen = Screen(directory, ["sh", "-c", f"cat {path}; sleep 100"])
    keep(screen)
    screen.wait("the forged line", lambda lines: lines[-1].startswith("IN FRONT: personal"))


def the_persons_terminal_answers_no_question_of_a_guest(directory, keep):
    """What a terminal answers arrives as if it had been typed: in whatever is in front by then. The terminal in memory knows
    one question, where its own cursor stands, and its answer goes to the guest that asked."""
    company, personal, screen = played(directory, keep)
    screen.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    screen.press("Down", "s")
    screen.wait("the start", lambda lines: "personal: started" in lines[-1])
    screen.press("M-2")
    screen.wait("personal in front", lambda lines: "IN FRONT: personal" in lines[-1] and "this is personal" in lines[0])
    company.consoles["work"].sendall(QUESTIONS + b"\x1b[6n")
    wait_for("the one answer", lambda: company.typed["work"].endswith(b"R"))
    screen.press("x")
    wait_for("the key at the guest", lambda: personal.typed["personal"].endswith(b"x"))
    assert personal.typed["personal"] == b"x", personal.typed
    assert re.fullmatch(rb"\x1b\[\d+;\d+R", company.typed["work"]), company.typed


def without_the_console_between_the_terminal_answers(directory, keep):
    """The control: the terminal types an answer into the program that runs in it."""
    path = os.path.join(directory, "answers")
    with open(path + ".asked", "wb") as file:
        file.write(QUESTIONS)
    keep(Screen(directory, ["sh", "-c", f"stty raw -echo; cat {path}.asked; dd bs=1 count=3 of={path}; sleep 100"]))
    wait_for("an answer", lambda: os.path.exists(path) and open(path, "rb").read() == b"\x1b[?")


def two_consoles_of_one_guest_tell_each_other(directory, keep):
    """The backend's own console socket; whoever came last has it, the other one says so and leaves it alone."""
    company, personal, first = played(directory, keep)
    path = f"{company.path}.guests/work/console"
    wait_for("the played console", lambda: "work" in company.consoles)
    os.unlink(path)
    keep(Process("console", [program("bulkhead-console"), "--socket", os.path.join(directory, "vhost"), "--console", path],
                 os.path.join(directory, "backend.log")))
    wait_for("the backend", lambda: os.path.exists(path))
    company.consoles["work"].shutdown(socket.SHUT_RDWR)
    first.wait("the overview", lambda lines: "IN FRONT: Bulkhead" in lines[-1])
    first.press("1")
    first.wait("work in front", lambda lines: "IN FRONT: work (company's), running" in lines[-1])
    os.mkdir(os.path.join(directory, "second"))
    second = Screen(os.path.join(directory, "second"), [program("bulkhead"), "console", "--socket", company.path,
                                                        "--personal-socket", personal.path])
    keep(second)
    lines = first.wait("that it was taken", lambda lines: "work: another console has taken it; Alt-1 takes it back" in lines[-1] and lines)
    print("# " + lines[-1])
    second.press("1")
    second.wait("work in front", lambda lines: "IN FRONT: work (company's), running" in lines[-1])
    # It stays where it is while both ask their agents anew, until a person wants it back.
    asked = len(company.asked)
    wait_for("both to ask", lambda: len(company.asked) > asked + 8)
    assert "another console" in first.lines()[-1] and "running" in second.lines()[-1], (first.lines()[-1], second.lines()[-1])
    first.press("M-1")
    first.wait("it is back", lambda lines: "IN FRONT: work (company's), running" in lines[-1])
    second.wait("that it was taken", lambda lines: "another console has taken it" in lines[-1])


if __name__ == "__main__":
    tell([overview_shows_guests_lease_policy_and_what_the_company_sees,
          one_key_brings_a_guest_to_the_front_and_keys_reach_only_it,
          two_consoles_of_one_guest_tell_each_other,
          what_is_typed_waits_for_a_guest_that_is_slow,
          a_person_goes_back_and_gets_their_words_without_a_shell,
          a_person_enrols_by_a_token_that_they_type,
          a_form_is_given_up_by_escape_and_by_a_guest_in_front,
          a_person_gets_their_data_back_and_uses_a_guest_meanwhile,
          a_person_removes_only_a_guest_of_their_own_and_says_so_twice,
          escapes_of_a_guest_do_not_paint_over_the_line_that_says_who_is_in_front,
          without_the_console_between_the_same_escapes_succeed,
          the_persons_terminal_answers_no_question_of_a_guest,
          without_the_console_between_the_terminal_answers])

"""What a company puts beside the server: its own directory of people (a real slapd), a cache in front of packs (a real
nginx with the example's configuration)."""
import getpass
import json
import os
import socket
import subprocess

from company import PC, Company, Failure, Process, run, tell, wait_for

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/examples/nginx-packs.conf")
SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
TLSCertificateFile {place}/cert.pem
TLSCertificateKeyFile {place}/key.pem
database mdb
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
rootpw secret
directory {place}/db
access to * by users read by anonymous auth
"""
PEOPLE = """dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def same(found, expected):
    if found != expected:
        raise Failure(f"{str(found)[:200]} is not {str(expected)[:200]}")


def person(name, full_name):
    escaped = name.replace("+", "\\+")
    return (f"dn: uid={escaped},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: {name}\n"
            f"cn: {full_name}\nsn: {full_name}\nmail: {name}@example.com\n\n")


def certificate(place, host="localhost"):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host},IP:127.0.0.1", "-keyout", f"{place}/key.pem", "-out",
        f"{place}/cert.pem")


class Directory:
    def __init__(self, place):
        self.place, self.port, self.tls_port = place, free_port(), free_port()
        os.makedirs(f"{place}/db")
        certificate(place)
        with open(f"{place}/slapd.conf", "w") as file:
            file.write(SLAPD.format(place=place))
        self.url, self.tls_url = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.process = Process("slapd", ["/usr/sbin/slapd", "-d", "0", "-f", f"{place}/slapd.conf", "-h",
                                         f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"],
                               f"{place}.log")
        wait_for("slapd", lambda: subprocess.run(["ldapwhoami", "-x", "-H", self.url], capture_output=True,
                                                 check=False).returncode == 0)

    def change(self, text, tool="ldapadd"):
        run(tool, "-x", "-H", self.url, "-D", "cn=root,dc=example,dc=com", "-w", "secret", stdin=text)

    def stop(self):
        self.process.stop()


def directory_of_people_is_imported_over_tls(directory, keep):
    company = Company(directory)
    keep(company)
    people = Directory(os.path.join(directory, "ldap"))
    keep(people)
    # More than a page of them, and one whose name no server takes.
    people.change(PEOPLE + "\n" + person("alice", "Alice \"Al\" Liddell, née X") + person("Bob", "Bob") +
                  person("weird+name", "Weird") +
                  "".join(person(f"u{i}", f"User {i}") for i in range(1200)) +
                  "dn: cn=Sales North,ou=groups,dc=example,dc=com\nobjectClass: groupOfNames\ncn: Sales North\n"
                  "member: uid=alice,ou=people,dc=example,dc=com\nmember: uid=u7,ou=people,dc=example,dc=com\n\n"
                  "dn: cn=staff,ou=groups,dc=example,dc=com\nobjectClass: groupOfUniqueNames\ncn: staff\n"
                  "uniqueMember: uid=Bob,ou=people,dc=example,dc=com\n"
                  "uniqueMember: uid=alice,ou=people,dc=example,dc=com\n")
    secret = os.path.join(directory, "ldap-password")
    with open(secret, "w") as file:
        file.write("secret\n")
    words = ["--base", "dc=example,dc=com", "--bind", "cn=root,dc=example,dc=com", "--password-file", secret]
    tls = ["--tls-ca", f"{people.place}/cert.pem"]

    def refused(expected, *more):
        status, text = company.admin("user", "import-ldap", *more, ok=False)
        if status == 0 or expected not in text or len(text.strip().splitlines()) != 1:
            raise Failure(f"expected one line with \"{expected}\", got: {text}")
        print("#", text.strip().replace(directory, "..."))

    refused("--start-tls", people.url, *words)
    refused("--tls-ca", people.tls_url, *words)
    with open(secret + ".wrong", "w") as file:
        file.write("guess\n")
    refused("Invalid credentials", people.tls_url, *words[:-1], secret + ".wrong", *tls)
    refused("No such object", people.tls_url, "--base", "dc=elsewhere", *words[2:], *tls)
    refused("no user", people.tls_url, *words, *tls, "--filter", "(uid=nobody)")
    refused("cannot log in", f"ldaps://localhost:{free_port()}", *words, *tls)

    csv = company.admin("user", "import-ldap", people.tls_url, *words, *tls, "--dry-run")
    if "alice,\"Alice \"\"Al\"\" Liddell, née X\",\"alice@example.com\",sales-north staff" not in csv:
        raise Failure("the dry run lacks alice: " + "\n".join(csv.splitlines()[:5]))
    if "u7" in company.admin("user", "list", "--json"):
        raise Failure("a dry run sent users")
    company.admin("user", "import-ldap", people.url, *words, *tls, "--start-tls")

    def groups(name):
        return sorted(json_user(company, name)["groups"])
    same([groups("alice"), groups("bob"), groups("u1199"), groups("u7")],
         [["sales-north", "staff"], ["staff"], [], ["sales-north"]])
    # Whoever left a group in the directory leaves it here; everybody else stays as they are.
    people.change("dn: cn=Sales North,ou=groups,dc=example,dc=com\nchangetype: modify\ndelete: member\n"
                  "member: uid=alice,ou=people,dc=example,dc=com\n", tool="ldapmodify")
    company.admin("user", "import-ldap", people.tls_url, *words, *tls)
    same([groups("alice"), groups("u7")], [["staff"], ["sales-north"]])


def json_user(company, name):
    return next(user for user in json.loads(company.admin("user", "list", "--json")) if user["name"] == name)


def nginx(place, upstream):
    """nginx with the example as it stands, but for ports, paths and names."""
    os.makedirs(place)
    certificate(place)
    port = free_port()
    with open(EXAMPLE) as file:
        text = file.read()
    for old, new in (("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("http://127.0.0.1:8081", upstream),
                     ("/var/cache/nginx/packs", f"{place}/cache"), ("packs.example;", "localhost;"),
                     ("/etc/ssl/packs.example.pem", f"{place}/cert.pem"),
                     ("/etc/ssl/packs.example.key", f"{place}/key.pem")):
        if old not in text:
            raise Failure(f"the example lacks \"{old}\"")
        text = text.replace(old, new)
    with open(f"{place}/nginx.conf", "w") as file:
        file.write(f"user {getpass.getuser()}; daemon off; pid {place}/pid; error_log {place}/error.log; events {{}}\nhttp {{\n"
                   f"access_log {place}/access.log; client_body_temp_path {place}/t1; proxy_temp_path {place}/t2;\n"
                   f"fastcgi_temp_path {place}/t3; uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;\n{text}\n}}\n")
    process = Process("nginx", ["nginx", "-e", f"{place}/error.log", "-p", place, "-c", f"{place}/nginx.conf"],
                      f"{place}.log")

    def answers():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False
    wait_for("nginx", answers)
    return process, port


def cache_in_front_serves_packs_without_the_server(directory, keep):
    company = Company(directory)
    keep(company)
    company.publish("work", "1", os.urandom(3 << 20))
    # Started again as the example's comment says, with packs in plain for the cache.
    packs_port = free_port()
    company.server.command += ["--packs-listen", f"127.0.0.1:{packs_port}"]
    company.restart_server()
    cache, port = nginx(os.path.join(directory, "nginx"), f"http://127.0.0.1:{packs_port}")
    keep(cache)
    objects = os.path.join(directory, "server/objects/packs")
    pack = next(os.path.join(place, name) for place, _, names in os.walk(objects) for name in names)
    with open(pack, "rb") as file:
        content = file.read()

    def fetch(path, *words):
        out = os.path.join(directory, "fetched")
        code = run("curl", "--silent", "--cacert", f"{directory}/nginx/cert.pem", "--output", out, "--write-out",
                   "%{http_code}", *words, f"https://localhost:{port}{path}")
        with open(out, "rb") as file:
            return code, file.read()
    path = f"/packs/{os.path.basename(pack)}"
    same(fetch(path), ("200", content))
    same(fetch(path, "--range", "100-199"), ("206", content[100:200]))
    for path_of_server in ("/api/v1/server", "/metrics", "/api/v1/device/state"):
        same(fetch(path_of_server)[0], "404")
    assert fetch(path, "--request", "PUT", "--data", "x")[0] in ("403", "405")
    with socket.create_connection(("127.0.0.1", packs_port)) as plain:
        plain.sendall(b"GET /api/v1/server HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert plain.recv(64).startswith(b"HTTP/1.1 404"), "the plain port serves more than packs"
    company.kill_server()
    same(fetch(path), ("200", content))
    company.server.start()
    wait_for("the server", company.answers)


def fetched(pc):
    """What the PC's log says of the release that arrived: all bytes, and those from the cache."""
    line = wait_for("the release", lambda: next((json.loads(line) for line in pc.agent.output().splitlines()
                                                 if '"release.fetched"' in line), None))
    return line["fetched_bytes"], line["from_cache_bytes"]


def pcs_take_packs_from_the_cache_and_never_its_word(directory, keep):
    """A PC fetches everything from the cache; with a cache that lies, or is not there, from the server."""
    company = Company(directory)
    keep(company)
    content = os.urandom(5 << 20)
    company.publish("work", "1", content)
    packs_port = free_port()
    cache, port = nginx(os.path.join(directory, "nginx"), f"http://127.0.0.1:{packs_port}")
    keep(cache)
    company.server.command += ["--packs-listen", f"127.0.0.1:{packs_port}", "--packs-url", f"https://localhost:{port}/"]
    company.restart_server()
    company.admin("user", "add", "alice")
    company.admin("assign", "work", "--user", "alice")
    trust = {"packs_ca": f"{directory}/nginx/cert.pem"}

    def deliver(name):
        pc = PC(directory, name, extra=trust)
        keep(pc)
        pc.enrol(company, "alice")
        wait_for("the guest", lambda: os.path.exists(f"{pc.data}/images/work/1/complete"))
        pc.start("work")
        same(pc.read("work", 1 << 20, len(content), "system"), content)
        return pc
    pc = deliver("pc-cache")
    everything, from_cache = fetched(pc)
    same(everything, from_cache)
    # Whoever runs the cache changes one byte of every frame it holds: the server's are taken.
    cache.stop()
    held = [os.path.join(place, file) for place, _, files in os.walk(f"{directory}/nginx/cache") for file in files]
    assert held, "the cache holds nothing"
    for path in held:
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            start = data.index(b"\r\n\r\n") + 4
            data[start:] = bytes(byte ^ 1 for byte in data[start:])
            file.seek(0)
            file.write(data)
    cache.start()
    wait_for("nginx", lambda: run("curl", "--silent", "--cacert", f"{directory}/nginx/cert.pem",
                                  f"https://localhost:{port}/", ok=False) == (0, ""))
    pc = deliver("pc-lied-to")
    assert "cache.refused" in pc.agent.output(), "nobody noticed"
    assert fetched(pc)[1] < fetched(pc)[0]
    # No cache at all: the server's, with one line in the log.
    cache.stop()
    pc = deliver("pc-without")
    same([fetched(pc)[1], pc.agent.output().count("cache.failed")], [0, 1])


if __name__ == "__main__":
    tell([directory_of_people_is_imported_over_tls, cache_in_front_serves_packs_without_the_server,
          pcs_take_packs_from_the_cache_and_never_its_word])
